package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNoHTTP: what starts with each container does not link Go's HTTP, which costs each start
// a third more. Only minirun-pull does.
func TestNoHTTP(t *testing.T) {
	for _, c := range []struct {
		program string
		want    bool
	}{{"minirun", false}, {"minirunc", false}, {"minirun-pull", true}} {
		out, err := exec.Command("go", "list", "-deps", "../"+c.program).Output()
		if err != nil && (os.Geteuid() != 0 || errors.Is(err, exec.ErrNotFound)) {
			t.Skipf("go list: %v: needs the Go command, and a cache that this user can read", err)
		} else if err != nil {
			t.Fatalf("go list -deps ../%s: %v", c.program, err)
		}
		if got := strings.Contains("\n"+string(out), "\nnet/http\n"); got != c.want {
			t.Errorf("%s links net/http: %v, want %v", c.program, got, c.want)
		}
	}
}
