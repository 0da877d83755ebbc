package processes

import (
	"fmt"
	"testing"

	"minirun/container/procfs"
)

// TestByDescent: descent, whatever the order of the ids; and no stranger.
func TestByDescent(t *testing.T) {
	all := []*procfs.Process{
		{Pid: 1, PIDNamespace: "host"}, {Pid: 3, Parent: 9, PIDNamespace: "own"}, {Pid: 5, Parent: 1, PIDNamespace: "own"},
		{Pid: 7, Parent: 1, PIDNamespace: "host"}, {Pid: 8, Parent: 1, PIDNamespace: "own"}, {Pid: 9, Parent: 5}, {Pid: 11, Parent: 2},
	}
	for own, want := range map[bool]string{true: "[3 5 8 9]", false: "[3 5 9]"} {
		if got := fmt.Sprint(byDescent(5, own, all)); got != want {
			t.Errorf("byDescent() with a pid namespace of its own %v = %s, want %s", own, got, want)
		}
	}
}
