package cgroups_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"minirun/cgroups"
)

// TestDestroyGrows: twice as many groups of the container's are twice as many system
// calls to remove them, and no more.
func TestDestroyGrows(t *testing.T) {
	if dir := os.Getenv("DESTROY"); dir != "" { // behind strace
		check(t, "Destroy", cgroups.Open(dir).Destroy())
		return
	}
	g := real(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("no strace, to count system calls: install the package strace")
	}
	of := func(shape string, n int) int {
		check(t, "mkdir", os.MkdirAll(g.Dir, 0o755))
		at := g.Dir
		for i := range n {
			switch shape {
			case "wide":
				at = filepath.Join(g.Dir, fmt.Sprint(i))
			case "deep":
				at = filepath.Join(at, "d")
			}
			check(t, "mkdir", os.Mkdir(at, 0o755))
		}
		log := filepath.Join(t.TempDir(), "calls")
		cmd := exec.Command("strace", "-f", "-qq", "-e", "trace=openat,getdents64,unlinkat,rmdir,write", "-o", log, os.Args[0], "-test.run", "^TestDestroyGrows$")
		cmd.Env = append(os.Environ(), "DESTROY="+g.Dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text, err := os.ReadFile(log)
		check(t, "read", err)
		return strings.Count(string(text), "\n")
	}
	for _, shape := range []string{"wide", "deep"} {
		few, many := of(shape, 200), of(shape, 400)
		t.Logf("%s: %d and %d calls", shape, few, many)
		if many > 2*few {
			t.Errorf("%s: %d calls for 200 groups, %d for 400", shape, few, many)
		}
	}
}
