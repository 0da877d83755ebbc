package container

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestRootOfStranger: without a mount namespace exec takes the container's root by its
// process id, and looks afterwards whether the process still has that id.
func TestRootOfStranger(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	b.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}}
	b.Mounts, b.Linux.MaskedPaths, b.Linux.ReadonlyPaths = nil, nil, nil
	c, _, err := b.start(Options{})
	must(t, err)
	p, err := c.joinPlan("")
	must(t, err)
	root := slices.IndexFunc(p.Steps, func(s *plan.Step) bool {
		return s.Call == "openat" && strings.HasSuffix(fmt.Sprint(s.Args[1]), fmt.Sprint(c.Pid, "/root"))
	})
	asks := slices.IndexFunc(p.Steps, func(s *plan.Step) bool { return s.Call == "pidfd_send_signal" })
	if root < 0 || asks < root || p.Steps[asks].Side != plan.Runtime {
		t.Errorf("steps %d and %d: want the root opened, then a look at the process", root, asks)
	}
	b.commands("exit 7")
	r, err := c.Exec(b.Process, nil, Options{})
	must(t, err)
	if status, err := r.Wait(); status.ExitStatus() != 7 {
		t.Errorf("exec = %v, %v, want 7", status, err)
	}
}
