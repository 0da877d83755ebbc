package main

import (
	"path/filepath"
	"testing"

	"minirun/cmd/testbed"
)

// TestInterrupted: no signal is lost, whenever it comes, and nothing is left. These are
// minirun, and the minirunc whose entry is in assembly.
func TestInterrupted(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	b := filepath.Join(t.TempDir(), "b")
	testbed.Must(t, testbed.WriteBundle(b, []string{"sleep", "100"}))
	testbed.WithoutPID(t, b)
	for _, c := range [][]string{
		{"false", "minirun", "run", "--rm", "--without", "pid", "box", "sleep", "100"},
		{"minirun rm -f ID", "minirun", "run", "-d", "--name", "ID", "--without", "pid", "box", "sleep", "100"},
		{"false", "minirunc", "run", "--bundle", b, "ID"},
		{"minirunc delete --force ID", "minirunc", "run", "-d", "--bundle", b, "ID"},
	} {
		testbed.Interrupted(t, c[0], c[1:]...)
	}
}
