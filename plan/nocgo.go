//go:build !cgo

package plan

// hides: without a C library, there is nothing that the child must have.
const hides = true
