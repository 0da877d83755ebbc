package report

import (
	"errors"
	"fmt"
	"testing"
)

// TestOneLine: an error is one line, and does nothing to a terminal.
func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"open ä: denied": "open ä: denied", "a\nb": "a; b", "\x1b]0;owned\a\r": `\x1b]0;owned\a\r`, "x\x00y\u009b31m": `x\x00y\u009b31m`,
	} {
		if got := OneLine(errors.New(text)); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestCode: an exit counts more than a failure, also among several errors.
func TestCode(t *testing.T) {
	plain := errors.New("x")
	for want, err := range map[int]error{
		0: nil, 1: fmt.Errorf("y: %w", plain), 3: fmt.Errorf("y: %w", Failure{plain, 3}), 7: Failure{errors.Join(Exit(7), plain), 125},
	} {
		if got := Code(err); got != want {
			t.Errorf("Code(%v) = %d, want %d", err, got, want)
		}
	}
}
