//go:build cgo

package plan

// hides: the C library has registered memory with the kernel that the child must
// have, too (rseq(2)), and does not say where. So with one, nothing is hidden.
var hides = false
