//go:build !cgo

package plan

// hides: without a C library, the runtime's memory can be hidden from the child.
// It is a variable because tests that measure coverage count in variables, also
// in the child, and so must not hide them.
var hides = true
