//go:build !cgo

package plan

// hides: without a C library, there is nothing that the child must have. A
// variable, since tests that count what is covered do so in variables.
var hides = true
