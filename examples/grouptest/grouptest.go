// Package grouptest makes groups for the tests of package cgroups and of the
// packages below it: plain directories that look like groups, and real groups with
// processes in them.
package grouptest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/plan/print"
)

// Main runs the tests of a package and fails it if it leaves something behind. As
// "eat" the test binary is a process that uses up memory.
func Main(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "eat" {
		eat()
	}
	os.Exit(leftovers.Guard(m.Run))
}

// eat uses 256 MiB at most, in case nobody stops it.
func eat() {
	var all [][]byte
	for range 256 {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
	}
	os.Exit(0)
}

// A World is a fake cgroup2: plain directories below the directory of its name.
// Nothing is enforced, but what is read and what would be written is the same.
type World string

// NewWorld makes the files of a tree, "path: content".
func NewWorld(t testing.TB, files ...string) World {
	t.Helper()
	w := World(t.TempDir())
	for _, f := range files {
		path, content, _ := strings.Cut(f, ": ")
		path = filepath.Join(string(w), path)
		Check(t, "write", errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content+"\n"), 0o644)))
	}
	return w
}

// Group is the group at a path of the world.
func (w World) Group(t testing.TB, path string) *cgroups.Group {
	t.Helper()
	g, err := (&cgroups.Hierarchy{Mount: string(w), Own: "/own"}).Group(path)
	Check(t, "Group", err)
	return g
}

// Plain hides where the world is: it is printed as /cgroup.
func (w World) Plain(s string) string { return strings.ReplaceAll(s, string(w), "/cgroup") }

// Root is the files of the top, which enables some of its controllers.
func Root(controllers, enabled string) []string {
	return []string{"cgroup.controllers: " + controllers, "cgroup.subtree_control: " + enabled, "cgroup.procs: 1\n2"}
}

// Inner is the files of a group below the top that has no processes.
func Inner(path, controllers, enabled string) []string {
	return []string{path + "/cgroup.controllers: " + controllers, path + "/cgroup.subtree_control: " + enabled, path + "/cgroup.procs: ",
		path + "/cgroup.type: domain", path + "/cgroup.events: populated 0\nfrozen 0"}
}

// Real returns a group that does not exist yet, on a kernel that has these
// controllers in v2. It is removed when the test ends.
func Real(t testing.TB, controllers ...string) *cgroups.Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes groups")
	}
	h, err := cgroups.Find()
	if errors.Is(err, cgroups.ErrNotMounted) && os.Getenv("MINIRUN_KERNEL") != "own" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(h.Mount, "cgroup.controllers"))
	Check(t, "read", err)
	available := strings.Fields(string(text))
	for _, c := range controllers {
		if slices.Contains(available, c) {
			continue
		}
		if os.Getenv("MINIRUN_KERNEL") == "own" && slices.Contains([]string{"memory", "cpu", "pids", "io"}, c) {
			t.Fatalf("needs the %s controller, which our own kernel should have", c)
		}
		t.Skipf("needs the %s controller in cgroup v2 (examples/kernel/run has cpu, io, memory, pids)", c)
	}
	name := leftovers.Group() + "-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	g, err := h.Group("/" + name + "/a/group")
	Check(t, "Group", err)
	t.Cleanup(func() {
		if err := cgroups.Open(filepath.Join(h.Mount, name)).Destroy(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// Born records a process that is born in the group.
func Born(t testing.TB, g *cgroups.Group, limits []cgroups.Write, stdout plan.FD, argv ...string) *plan.Plan {
	t.Helper()
	p := &plan.Plan{}
	fd, err := g.Add(p, limits)
	Check(t, "Add", err)
	p.Clone3(plan.Clone{Cgroup: fd, PidFD: true, Flags: unix.CLONE_NEWCGROUP})
	p.Close(fd)
	p.On(plan.Child)
	if stdout != nil {
		p.Dup3(stdout, 1, 0)
	}
	p.RtSigprocmask() // a child is born with all signals blocked
	p.Ready()
	p.Execve(argv[0], argv, []string{"PATH=/usr/bin:/bin", "GOMEMLIMIT=off"})
	return p
}

// Start starts a process in the group; it is ended with the test.
func Start(t testing.TB, g *cgroups.Group, limits []cgroups.Write, argv ...string) *plan.Process {
	t.Helper()
	p, err := Born(t, g, limits, nil, argv...).Start(plan.Options{})
	Check(t, "Start", err)
	t.Cleanup(func() {
		unix.Kill(p.Pid, unix.SIGKILL)
		p.Wait()
	})
	return p
}

// Update changes the limits of a group, and returns why it does not.
func Update(g *cgroups.Group, limits []cgroups.Write) error {
	p := &plan.Plan{}
	if err := g.Update(p, limits); err != nil {
		return err
	}
	_, err := p.Start(plan.Options{Notation: print.Step})
	return err
}

// Check fails the test after an error.
func Check(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Content compares a control file.
func Content(t testing.TB, g *cgroups.Group, file, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(g.Dir, file))
	if strings.TrimSpace(string(got)) != want {
		t.Errorf("%s = %q, %v, want %q", file, got, err, want)
	}
}
