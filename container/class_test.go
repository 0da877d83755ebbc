package container

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// make is start on a machine where resctrl is mounted at a directory.
func (b *box) startShared(mount string) (*Container, *plan.Process, error) {
	b.t.Helper()
	b.save()
	c, err := b.root.make(b.id)
	must(b.t, err)
	defer c.Unlock()
	builder := newBuilder(c, b.bundle, b.Spec, Options{})
	builder.host.Resctrl = func() (string, error) { return mount, nil }
	b.t.Cleanup(b.remove)
	p, err := builder.make()
	return c, p, err
}

// TestClass: the container process, and one that joins it, put themselves into
// the class that linux.intelRdt names. No machine of ours has such a processor:
// the class is a directory with the kernel's file in it.
func TestClass(t *testing.T) {
	needRoot(t)
	mount := t.TempDir()
	tasks := filepath.Join(mount, "gold/tasks")
	must(t, os.Mkdir(filepath.Dir(tasks), 0o755))
	must(t, os.WriteFile(filepath.Join(mount, "gold/schemata"), []byte("    L3:0=07ff\n"), 0o644))
	must(t, os.WriteFile(tasks, nil, 0o644))
	joined := func(who string) {
		t.Helper()
		if got, err := os.ReadFile(tasks); err != nil || string(got) != "0" {
			t.Errorf("%s: tasks = %q, %v; want 0, who writes it", who, got, err)
		}
		must(t, os.Truncate(tasks, 0))
	}
	b := newBox(t, "sleep")
	b.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=7ff"}
	c, p, err := b.startShared(mount)
	must(t, err)
	joined("create")
	x, err := c.Exec(&specs.Process{Args: []string{"/bin/program", "exit 0"}, Cwd: "/"}, nil, Options{})
	must(t, err)
	x.Wait()
	joined("exec")
	must(t, c.Delete(true))
	p.Wait()
	if _, err := os.Stat(tasks); err != nil {
		t.Errorf("delete removed a class that it has not made: %v", err)
	}
}

// TestClassFails: a class that was made goes when what comes after it fails;
// and without resctrl the error says so.
func TestClassFails(t *testing.T) {
	needRoot(t)
	mount := t.TempDir()
	b := newBox(t, "exit 0")
	b.Linux.IntelRdt = &specs.LinuxIntelRdt{}
	if _, _, err := b.startShared(mount); !errors.Is(err, unix.ENOENT) { // a plain directory has no tasks in it
		t.Errorf("err = %v, want ENOENT", err)
	}
	if left, _ := os.ReadDir(mount); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	b.remove()
	if _, _, err := b.start(Options{}); err == nil || err.Error() != "linux.intelRdt: resctrl is not mounted (no Intel RDT or AMD QoS here, or nobody has mounted it)" {
		t.Errorf("without resctrl: %v", err)
	}
}
