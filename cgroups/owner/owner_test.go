package owner_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cgroups/owner"
	"minirun/examples/grouptest"
	"minirun/plan"
	"minirun/plan/print"
)

func TestMain(m *testing.M) { grouptest.Main(m) }

// TestNew: no two marks are the same, and each is as long as the one that is printed.
func TestNew(t *testing.T) {
	a, b := owner.New(), owner.New()
	if a == b || len(a) != len(owner.Printed) || a == owner.Printed {
		t.Errorf("New() = %q, %q", a, b)
	}
}

// marked marks a directory as a container of root's or of a user's does, and runs on until
// the plan fails, if it is to fail.
func marked(t *testing.T, dir string, mark owner.Mark, uid int, fails bool) {
	t.Helper()
	p := &plan.Plan{}
	p.On(plan.Runtime)
	p.Call("setxattr", unix.SYS_SETXATTR, mark.Set(dir, uid == 0)...).Undo(mark.Restore(dir, uid == 0))
	failed := errors.New("failed")
	p.Do("the next step", func(*plan.Process) error {
		if is, err := mark.On(dir); !is || err != nil {
			t.Errorf("%s.On() after setxattr = %t, %v", mark, is, err)
		}
		if fails {
			return failed
		}
		return nil
	})
	if _, err := p.Start(plan.Options{Notation: print.Step}); errors.Is(err, failed) != fails {
		t.Fatalf("Start() = %v", err)
	}
}

func is(t *testing.T, dir string, mark owner.Mark) {
	t.Helper()
	for _, m := range []owner.Mark{"", "first", "second"} {
		if is, err := m.On(dir); err != nil || is != (m == mark) {
			t.Errorf("%q.On() = %t, %v; the mark is %q", m, is, err, mark)
		}
	}
}

// TestMark: the last container in a group is its owner; but one that failed gives it back.
func TestMark(t *testing.T) {
	for name, uid := range map[string]int{"root": 0, "a user": 1000} {
		t.Run(name, func(t *testing.T) {
			g := grouptest.Real(t)
			if err := os.MkdirAll(g.Dir, 0o755); err != nil {
				t.Fatal(err)
			}
			is(t, g.Dir, "")
			marked(t, g.Dir, "first", uid, true)
			is(t, g.Dir, "")
			marked(t, g.Dir, "first", uid, false)
			is(t, g.Dir, "first")
			marked(t, g.Dir, "second", uid, true)
			is(t, g.Dir, "first")
			marked(t, g.Dir, "second", uid, false)
			is(t, g.Dir, "second")
			if err := owner.New().Sweep(g.Dir); err != nil {
				t.Error(err)
			}
			is(t, g.Dir, "second")
			// Another group with the same path is nobody's.
			if err := errors.Join(unix.Rmdir(g.Dir), unix.Mkdir(g.Dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			is(t, g.Dir, "")
			for range 2 { // the second time there is nothing to remove
				if err := owner.New().Sweep(g.Dir); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(g.Dir); !errors.Is(err, unix.ENOENT) {
					t.Errorf("after Sweep(): %v, want %v", err, unix.ENOENT)
				}
				if is, err := owner.Mark("").On(g.Dir); is || err != nil {
					t.Errorf("On() of a group that is gone = %t, %v", is, err)
				}
			}
		})
	}
}

// TestSweepUsed: a group with processes is somebody's.
func TestSweepUsed(t *testing.T) {
	g := grouptest.Real(t)
	grouptest.Start(t, g, nil, "/bin/sleep", "60")
	if err := owner.New().Sweep(g.Dir); err != nil {
		t.Error(err)
	}
	if pids, err := g.Procs(); err != nil || len(pids) != 1 {
		t.Errorf("Procs() after Sweep() = %v, %v", pids, err)
	}
}
