package plan

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStart runs /bin/true, and fails in the ways a plan can fail.
func TestStart(t *testing.T) {
	build := func() *Plan {
		p := &Plan{}
		p.Clone3(Clone{PidFD: true})
		p.On(Child)
		p.Prctl(unix.PR_SET_DUMPABLE, 0)
		p.Chdir("/")
		p.Ready()
		p.RtSigprocmask()
		p.Alternatives([]unix.Errno{unix.ENOENT, unix.EACCES}, func() {
			p.Execve("/nowhere/sh", []string{"sh", "-c", "exit 3"}, nil)
			p.Execve("/bin/sh", []string{"sh", "-c", "exit 3"}, nil)
		})
		return p
	}
	p := build()
	p.Text(os.Stderr)
	r, err := p.Start(Options{Trace: func(e Event) { t.Log(e.Start, e.Duration, e.Step, e.Returned, e.Errno) }})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := r.Wait(); err != nil || status.ExitStatus() != 3 {
		t.Errorf("Wait() = %v, %v, want exit status 3", status.ExitStatus(), err)
	}
	for i := range p.Steps {
		_, err := build().Start(Options{Fault: Fault{Step: i + 1, Errno: unix.ENOMEM}})
		t.Log(err)
		_, err = build().Start(Options{Fault: Fault{Step: i + 1}})
		if i > 0 {
			t.Log(err)
		}
		if i == 0 {
			break
		}
	}
}
