// Package testbed is what the tests of both programs stand on: a world in which all
// that a test leaves behind can be seen, an image with small programs, scripts, and
// helpers for the fields of faults and races. No program links it.
package testbed
