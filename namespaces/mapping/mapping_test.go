package mapping

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/examples/nstest"
	"minirun/plan"
)

// TestOpen: the descriptor is one of a user namespace that is not ours, and no
// process is left in it.
func TestOpen(t *testing.T) {
	nstest.NeedRoot(t)
	p := &plan.Plan{}
	step := Open(p, nstest.MapTo(100000, 65536), nstest.MapTo(200000, 65536)).(*plan.Step)
	var kind int
	var own, s unix.Stat_t
	p.Do("look", func(r *plan.Process) (err error) {
		fd := r.Result(step)
		if kind, err = unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil {
			return err
		}
		if err := unix.Stat("/proc/self/ns/user", &own); err != nil {
			return err
		}
		return unix.Fstat(fd, &s)
	})
	p.Clone3(plan.Clone{})
	p.On(plan.Child)
	p.Ready()
	p.ExitGroup(0)
	r, err := p.Start(plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Wait()
	if kind != unix.CLONE_NEWUSER || s.Ino == own.Ino {
		t.Errorf("the descriptor is of kind %#x and inode %d; want a user namespace other than ours, %d", kind, s.Ino, own.Ino)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
