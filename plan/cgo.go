//go:build cgo

package plan

// hides: with a C library, nothing is hidden from the child. The library has
// registered memory with the kernel (rseq(2)) without which the child would be
// killed, and it does not say where that memory is.
var hides = false
