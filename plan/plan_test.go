package plan

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
)

// TestNUL: a string that the kernel would see only the beginning of is refused.
func TestNUL(t *testing.T) {
	p := &Plan{}
	p.Chdir("/tmp\x00/../etc")
	if _, err := p.Start(Options{}); err == nil || err.Error() != `chdir "/tmp\x00/../etc": contains a NUL byte` {
		t.Errorf("Start() = %v, want a refusal", err)
	}
}

// TestNotGiven: a descriptor that the caller forgot is an error, not fd 0.
func TestNotGiven(t *testing.T) {
	p := &Plan{}
	p.Fchdir(Inherited("root"))
	if _, err := p.Start(Options{}); err == nil || err.Error() != "step 1: descriptor <root> was not given" {
		t.Errorf("Start() = %v, want a refusal", err)
	}
}

// TestRuntimeOnly: a plan without a child is carried out like any other. The first
// alternative that succeeds counts, what has no input is skipped, and after a
// failure the steps before it are undone.
func TestRuntimeOnly(t *testing.T) {
	dir := t.TempDir()
	record := func(last string) *Plan {
		p := &Plan{}
		p.Mkdirat(CWD, dir+"/made", 0o755).Undo("rmdir", func() error { return os.Remove(dir + "/made") })
		var a, b, c *Step
		p.Alternatives([]unix.Errno{unix.ENOENT}, func() {
			a = p.Openat(CWD, "/nowhere", unix.O_PATH|unix.O_CLOEXEC, 0)
			b = p.Openat(CWD, dir, unix.O_PATH|unix.O_CLOEXEC, 0)
			c = p.Openat(CWD, "/proc", unix.O_PATH|unix.O_CLOEXEC, 0)
		})
		for i, fd := range []*Step{a, b, c} {
			p.Mkdirat(fd, fmt.Sprint("made/", i), 0o755).Undo("rmdir", func() error { return os.Remove(fmt.Sprint(dir, "/made/", i)) })
			p.Close(fd)
		}
		p.Openat(CWD, last, unix.O_PATH|unix.O_CLOEXEC, 0)
		return p
	}
	var skipped []int
	r, err := record(dir).Start(Options{Trace: func(e Event) {
		if e.Skipped {
			skipped = append(skipped, e.Index)
		}
	}})
	entries, _ := os.ReadDir(dir + "/made")
	if err != nil || r.Pid != 0 || fmt.Sprint(skipped) != "[5 6 9 10]" || len(entries) != 1 || entries[0].Name() != "1" {
		t.Errorf("Start() = %+v, %v, skipped %v, made %v", r, err, skipped, entries)
	}
	os.RemoveAll(dir + "/made")
	var failed *StepError
	if _, err := record("/nowhere").Start(Options{}); !errors.As(err, &failed) || failed.Step.Index != 11 || !errors.Is(err, unix.ENOENT) {
		t.Errorf("Start() = %v, want ENOENT of step 11", err)
	}
	if _, err := os.Stat(dir + "/made"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("stat of what was undone = %v, want %v", err, unix.ENOENT)
	}
	p := &Plan{}
	p.Fchdir(p.Openat(CWD, dir, unix.O_PATH|unix.O_CLOEXEC, 0)).Needs(p.Steps[0])
	if _, err := p.Start(Options{}); err == nil || !strings.Contains(err.Error(), "are for the child") {
		t.Errorf("Start() with a condition of the runtime = %v, want a refusal", err)
	}
}

// TestNothingLast: a block of no bytes at the end of the arena.
func TestNothingLast(t *testing.T) {
	p := &Plan{}
	p.On(Runtime)
	p.Write(Num(1), "")
	c, err := p.compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.release()
}

// shell is a plan that ends in sh -c script, after the steps that record adds.
func shell(script string, record func(p *Plan)) *Plan {
	p := &Plan{}
	p.Clone3(Clone{PidFD: true})
	p.On(Child)
	if record != nil {
		record(p)
	}
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/sh", []string{"sh", "-c", script}, nil)
	return p
}

// run starts a plan and returns the exit status of its program.
func run(t *testing.T, p *Plan, o Options) int {
	t.Helper()
	r, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	status, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return status.ExitStatus()
}

// TestStart: the child becomes the program.
func TestStart(t *testing.T) {
	if got := run(t, shell("exit 3", nil), Options{}); got != 3 {
		t.Errorf("exit status %d, want 3", got)
	}
}

// TestAlternatives: the first that succeeds counts, and what needs the result
// of another one is skipped.
func TestAlternatives(t *testing.T) {
	p := shell(`test "$(pwd)" = /proc`, func(p *Plan) {
		var a, b, c *Step
		p.Alternatives([]unix.Errno{unix.ENOENT}, func() {
			a = p.Openat(CWD, "/nowhere", unix.O_PATH, 0)
			b = p.Openat(CWD, "/proc", unix.O_PATH, 0)
			c = p.Openat(CWD, "/sys", unix.O_PATH, 0)
		})
		p.Fchdir(a)
		p.Fchdir(b)
		p.Fchdir(c)
	})
	var skipped []int
	trace := func(e Event) {
		if e.Skipped {
			skipped = append(skipped, e.Index)
		}
	}
	if got := run(t, p, Options{Trace: trace}); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
	if len(skipped) != 2 || skipped[0] != 6 || skipped[1] != 8 {
		t.Errorf("skipped %v, want [6 8]", skipped)
	}
}

// TestAlternativesErrno: of several failures, the one that says most is told.
func TestAlternativesErrno(t *testing.T) {
	p := shell("exit 0", func(p *Plan) {
		p.Alternatives([]unix.Errno{unix.ENOENT, unix.EACCES}, func() {
			p.Execve("/nowhere", nil, nil)
			p.Execve("/proc/self/status", nil, nil) // no right to execute it
			p.Execve("/nowhere", nil, nil)
		})
	})
	if _, err := p.Start(Options{}); !errors.Is(err, unix.EACCES) {
		t.Errorf("Start() = %v, want EACCES", err)
	}
}

// TestFailure: the error names the step, the call and its arguments.
func TestFailure(t *testing.T) {
	p := shell("exit 0", func(p *Plan) { p.Chdir("/nowhere") })
	_, err := p.Start(Options{})
	if want := `step 3 (child): chdir "/nowhere": no such file or directory`; err == nil || err.Error() != want {
		t.Errorf("Start() = %v, want %s", err, want)
	}
	if !errors.Is(err, unix.ENOENT) {
		t.Error("errors.Is(err, ENOENT) = false")
	}
	p = shell("exit 0", func(p *Plan) {
		p.Chdir("/nowhere").Explain(unix.EPERM, "forbidden").Explain(unix.ENOENT, "the moon is not up")
	})
	_, err = p.Start(Options{})
	if want := `step 3 (child): chdir "/nowhere": no such file or directory (the moon is not up)`; err == nil || err.Error() != want {
		t.Errorf("Start() = %v, want %s", err, want)
	}
}

// TestUndo: what the runtime did is taken back in reverse order; what it only
// tolerated is not.
func TestUndo(t *testing.T) {
	dir := t.TempDir()
	p := &Plan{}
	for _, name := range []string{"a", "a/b", "a"} {
		path := filepath.Join(dir, name)
		p.Mkdirat(CWD, path, 0o755).Tolerate(unix.EEXIST).Undo("rmdir "+path, func() error { return unix.Rmdir(path) })
	}
	p.Clone3(Clone{})
	p.On(Child)
	p.Chdir("/nowhere")
	if _, err := p.Start(Options{}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Start() = %v, want ENOENT", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// TestUndoBeforeClosing: what a step has opened is open when it is undone, and
// closed afterwards.
func TestUndoBeforeClosing(t *testing.T) {
	var fd int
	p := &Plan{}
	dir := p.Open("open a directory", func(*Process) (int, error) { return unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	p.Do("mkdir in it", func(r *Process) error {
		fd = r.Result(dir)
		return unix.Mkdirat(fd, "a", 0o755)
	}).Undo("rmdir", func() error { return unix.Unlinkat(fd, "a", unix.AT_REMOVEDIR) })
	p.Clone3(Clone{})
	p.On(Child)
	p.Chdir("/nowhere")
	if _, err := p.Start(Options{}); !errors.Is(err, unix.ENOENT) || strings.Contains(err.Error(), "undo") {
		t.Errorf("Start() = %v, want ENOENT alone", err)
	}
	if err := unix.Fstat(fd, &unix.Stat_t{}); err != unix.EBADF {
		t.Errorf("fstat afterwards = %v, want EBADF", err)
	}
}

// TestGate: the runtime's steps at a gate happen while the child waits.
func TestGate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	var seen int
	p := shell("test -e "+file, func(p *Plan) {
		p.Gate("file", func() {
			p.Do("make the file", func(r *Process) error {
				seen = r.Pid
				return os.WriteFile(file, nil, 0o600)
			})
		})
	})
	if got := run(t, p, Options{}); got != 0 || seen == 0 {
		t.Errorf("exit status %d, pid at the gate %d; want 0 and a pid", got, seen)
	}
	failing := shell("exit 0", func(p *Plan) {
		p.Gate("broken", func() { p.Do("fail", func(*Process) error { return unix.EIO }) })
	})
	if _, err := failing.Start(Options{}); !errors.Is(err, unix.EIO) {
		t.Errorf("Start() = %v, want EIO", err)
	}
}

// TestAtOnce: several plans at the same time, each of which hides from its
// child what is the others'.
func TestAtOnce(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 20 {
				if got := run(t, shell("exit 3", nil), Options{}); got != 3 {
					t.Errorf("exit status %d, want 3", got)
				}
			}
		})
	}
}

var known = [6]byte{'s', 'e', 'c', 'r', 'e', 't'}

// TestHidden: the child has nothing of the runtime's variables and heap.
func TestHidden(t *testing.T) {
	loaded, err := interpreted()
	if err != nil {
		t.Fatal(err)
	}
	if !hides || loaded {
		t.Skip("built with cgo, as a PIE or to count what is covered: nothing is hidden")
	}
	secret := bytes.Repeat(known[:], 10000)
	static := "what the program's file holds, the child has"
	p := shell("exit 0", func(p *Plan) {
		p.Gate("alive", func() {
			p.Do("look into it", func(r *Process) error {
				if got, err := peek(r.Pid, unsafe.StringData(static), len(static)); got != static || err != nil {
					t.Errorf("the file's memory: %q, %v", got, err)
				}
				for _, at := range []*byte{&known[0], &secret[30000]} {
					if got, err := peek(r.Pid, at, 6); err != unix.EFAULT {
						t.Errorf("memory of ours: %q, %v; want EFAULT", got, err)
					}
				}
				return nil
			})
		})
	})
	if got := run(t, p, Options{}); got != 0 {
		t.Errorf("exit status %d", got)
	}
}

// peek reads n bytes of another process's memory. process_vm_readv(2).
func peek(pid int, at *byte, n int) (string, error) {
	b := make([]byte, n)
	read, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: uint64(n)}},
		[]unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(at)), Len: n}}, 0)
	return string(b[:max(read, 0)]), err
}

// monitored is a plan with a monitor that waits, and writes what it saw to out.
func monitored(out *os.File, script string) (*Plan, Options) {
	p := &Plan{}
	p.Clone3(Clone{})
	p.On(Monitor)
	child := p.Clone3(Clone{}).Reported()
	p.Dup3(Inherited("out"), 3, 0).Tolerate(unix.EINVAL) // it may be descriptor 3
	p.CloseRange(Num(4), 0, nil)
	info := &Memory{Bytes: make([]byte, 128)}
	p.Call("waitid", unix.SYS_WAITID, Num(unix.P_PID), child, info, Num(unix.WEXITED), Null)
	p.Call("write", unix.SYS_WRITE, Num(3), info, Num(128)).MustReturn(128)
	p.ExitGroup(0)
	p.On(Child)
	p.Gate("known", func() { p.Do("nothing", func(*Process) error { return nil }) })
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/sh", []string{"sh", "-c", script}, nil)
	return p, Options{Inherited: map[Inherited]int{"out": int(out.Fd())}}
}

// TestMonitor: a process between us and the child waits for it.
func TestMonitor(t *testing.T) {
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, o := monitored(out, "exit 9")
	r, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Pid == 0 || r.Pid == r.cloned {
		t.Errorf("child %d, monitor %d: want two processes", r.Pid, r.cloned)
	}
	waitFor(r.cloned)
	info := make([]byte, 128)
	if n, err := out.ReadAt(info, 0); n != 128 || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	if info[8] != 1 || info[24] != 9 {
		t.Errorf("si_code %d, si_status %d; want CLD_EXITED, 9", info[8], info[24])
	}
}

// TestMonitorStranger: the monitor's child has ended and is waited for, and its number
// is a stranger's by the time that the runtime gives up.
func TestMonitorStranger(t *testing.T) {
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	stranger, monitor := start(), start()
	p, _ := monitored(os.Stdout, "")
	r := &Process{plan: p, Pid: stranger.Process.Pid, PidFD: -1, cloned: monitor.Process.Pid}
	r.hold()
	if err := r.undo(); err != nil || r.PidFD != -1 {
		t.Errorf("undo() = %v, with pidfd %d", err, r.PidFD)
	}
	stranger.Process.Signal(unix.SIGTERM) // the first signal counts
	stranger.Wait()
	if status := stranger.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGTERM {
		t.Errorf("the stranger was ended by %v", status.Signal())
	}
	monitor.Wait() // ECHILD
}

// TestMonitorHeld: the monitor's child is held by a pidfd, and ends with the run.
func TestMonitorHeld(t *testing.T) {
	p, o := monitored(os.Stdout, "sleep 1000")
	gate := slices.IndexFunc(p.Steps, func(s *Step) bool { return s.Call == "nothing" })
	child := 0
	p.Steps[gate].do = func(r *Process) error {
		child = r.Pid
		if r.PidFD < 0 || unix.PidfdSendSignal(r.PidFD, 0, nil, 0) != nil {
			t.Errorf("PidFD = %d, want one of process %d", r.PidFD, r.Pid)
		}
		return unix.EIO
	}
	if _, err := p.Start(o); !errors.Is(err, unix.EIO) {
		t.Errorf("Start() = %v, want %v", err, unix.EIO)
	}
	for end := time.Now().Add(10 * time.Second); unix.Kill(child, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is still there", child)
		}
	}
}

// joining is a plan with an intermediate process, as for a user namespace.
func joining(script string) *Plan {
	p := &Plan{}
	p.Clone3(Clone{})
	p.On(Intermediate)
	p.Prctl(unix.PR_SET_DUMPABLE, 0)
	p.Clone3(Clone{Flags: unix.CLONE_PARENT}).Reported()
	p.ExitGroup(0)
	p.On(Child)
	p.Gate("known", func() { p.Do("nothing", func(*Process) error { return nil }) })
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/sh", []string{"sh", "-c", script}, nil)
	return p
}

// TestIntermediate: a process between us and the child ends; the child is ours.
func TestIntermediate(t *testing.T) {
	p := joining("exit 7")
	if got := run(t, p, Options{}); got != 7 {
		t.Errorf("exit status %d, want 7", got)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("wait4 = %v, want %v: the intermediate process is left", err, unix.ECHILD)
	}
	p.On(Monitor)
	if _, err := p.Start(Options{}); err == nil || !strings.Contains(err.Error(), "not both") {
		t.Errorf("Start() with a monitor, too = %v", err)
	}
}

// TestFaults lets every step fail, and kills at every step, of plans with a
// monitor and with an intermediate process: always an error, never a process
// that stays.
func TestFaults(t *testing.T) {
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // what a killed monitor leaves comes to us
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	for name, build := range map[string]func() (*Plan, Options){
		"monitor":      func() (*Plan, Options) { return monitored(out, "exit 0") },
		"intermediate": func() (*Plan, Options) { return joining("exit 0"), Options{} },
	} {
		steps, _ := build()
		cloned := slices.IndexFunc(steps.Steps, func(s *Step) bool { return s.report })
		for _, s := range steps.Steps {
			if s.Side == steps.Steps[cloned].Side && s.Index > cloned+1 {
				continue // this process has let go of us, or is about to
			}
			for _, errno := range []unix.Errno{unix.ENOMEM, 0} {
				if errno == 0 && (s.Side == Runtime || s.quiet) {
					continue // it would be us; or nobody is asked before, so nobody can be killed
				}
				p, o := build()
				o.Fault = Fault{Step: s.Index, Errno: errno}
				fails(t, name, s, errno, p, o)
			}
		}
	}
	reapAll(t)
}

// fails carries out a plan with a fault at a step.
func fails(t *testing.T, name string, s *Step, errno unix.Errno, p *Plan, o Options) {
	r, err := p.Start(o)
	if err == nil {
		defer r.Close()
		waitFor(r.cloned) // killed between ready and execve: told by the exit status
		return
	}
	var failed *StepError
	if errno != 0 && (!errors.As(err, &failed) || failed.Step.Index != s.Index || !errors.Is(err, unix.ENOMEM)) {
		t.Errorf("%s, fault at %v: %v, want an error that names the step", name, s, err)
	}
	if errno == 0 && !errors.Is(err, ErrKilled) {
		t.Errorf("%s, kill at %v: %v, want %v", name, s, err, ErrKilled)
	}
}

// TestLastWord: a child that has failed ended without reading that it may go on.
// The kernel tells of that first (ECONNRESET), and only then what the child said.
func TestLastWord(t *testing.T) {
	r, theirs := conversation(t, shell("exit 0", nil))
	if err := proceed(r.channels[0].fd); err != nil {
		t.Fatal(err)
	}
	last := uint32(len(r.plan.Steps) - 1)
	say(theirs, message{kind: kindFailed, step: last, value: uint64(unix.ENOMEM)})
	unix.Close(theirs)
	var err error
	for err == nil && len(r.channels) > 0 {
		err = r.serve()
	}
	if !errors.Is(err, unix.ENOMEM) {
		t.Errorf("the child failed with ENOMEM, and the runtime was told: %v", err)
	}
}

// conversation is a process of which we play the child, and its end of the channel.
func conversation(t testing.TB, p *Plan) (r *Process, theirs int) {
	t.Helper()
	r = &Process{Pid: os.Getpid(), plan: p, options: Options{}}
	fds := map[Inherited]int{}
	ends, err := r.connect(fds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.disconnect)
	return r, ends[0]
}

func say(fd int, m message) {
	unix.Write(fd, unsafe.Slice((*byte)(unsafe.Pointer(&m)), messageSize))
}

// TestForged: who takes the child's end of the channel away from it (as a
// container can that may ptrace) is not believed: not who the child is, which we
// would kill, and not that a step has ended which is none.
func TestForged(t *testing.T) {
	plan := shell("exit 0", func(p *Plan) { p.Gate("gate", func() {}) })
	gate := uint32(slices.IndexFunc(plan.Steps, func(s *Step) bool { return s.gate == "gate" }))
	last := uint32(len(plan.Steps) - 1)
	for name, m := range map[string]message{
		"another pid":     {kind: kindResult, step: last, value: 1},
		"no such step":    {kind: kindFailed, step: 4000000000},
		"one too many":    {kind: kindTrace, step: last + 1},
		"the runtime's":   {kind: kindTrace, step: 0},
		"gate of no gate": {kind: kindGate, step: last},
	} {
		r, theirs := conversation(t, plan)
		say(theirs, m)
		if err := r.receive(0); !errors.Is(err, errForged) || r.Pid != os.Getpid() {
			t.Errorf("%s: %v, the child is %d; want %v and the child that it was", name, err, r.Pid, errForged)
		}
		unix.Close(theirs)
	}
	r, theirs := conversation(t, plan)
	r.Pid = 1 // so the messages are not of the child's
	say(theirs, message{kind: kindFailed, step: last, value: uint64(unix.ENOENT)})
	if err := r.receive(0); !errors.Is(err, errForged) || !strings.Contains(fmt.Sprint(err), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("a stranger says that the child has failed: %v, want %v", err, errForged)
	}
	r.Pid = os.Getpid()
	for i, want := range []error{nil, errForged} {
		say(theirs, message{kind: kindGate, step: gate})
		if err := r.receive(0); !errors.Is(err, want) {
			t.Errorf("at the gate, time %d: %v, want %v", i+1, err, want)
		}
	}
	unix.Close(theirs)
}

// FuzzMessage: whatever comes out of the channel, the child stays who it is.
func FuzzMessage(f *testing.F) {
	plan := shell("exit 0", func(p *Plan) { p.Gate("gate", func() {}) })
	f.Add(uint32(kindResult), uint32(3), uint64(1), []byte{})
	f.Add(uint32(kindFailed), uint32(1<<31), uint64(1<<63), []byte{1})
	f.Fuzz(func(t *testing.T, kind, step uint32, value uint64, short []byte) {
		r, theirs := conversation(t, plan)
		defer unix.Close(theirs)
		say(theirs, message{kind: kind, step: step, value: value, errno: value})
		if len(short) > 0 {
			unix.Write(theirs, short[:min(len(short), 1000)])
		}
		for err := error(nil); err == nil; {
			var n int
			if n, err = unix.IoctlGetInt(r.channels[0].fd, unix.TIOCINQ); err != nil || n == 0 {
				break
			}
			err = r.receive(0)
		}
		if r.Pid != os.Getpid() {
			t.Errorf("the child is %d", r.Pid)
		}
	})
}

// TestRuntimeGone: a child at a gate ends when the runtime's end of the channel
// does; it has none itself.
func TestRuntimeGone(t *testing.T) {
	gone := errors.New("gone")
	p := shell("exit 0", func(p *Plan) {
		p.Gate("gate", func() {
			p.Do("lose the channel", func(r *Process) error {
				null, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
				if err != nil {
					return err
				}
				defer unix.Close(null)
				if err := unix.Dup3(null, r.channels[0].fd, unix.O_CLOEXEC); err != nil {
					return err
				}
				for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
					info := unix.Siginfo{}
					if unix.Waitid(unix.P_PID, r.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil && info.Signo != 0 {
						return gone
					}
				}
				return errors.New("the child waits on")
			})
		})
	})
	if _, err := p.Start(Options{}); !errors.Is(err, gone) {
		t.Errorf("Start() = %v, want %v", err, gone)
	}
}

// TestDevice: the child goes on with the device that it was to have, and with no
// other, nor with what is none.
func TestDevice(t *testing.T) {
	for _, c := range []struct {
		path               string
		kind, major, minor uint32
		ok                 bool
	}{
		{"/dev/null", unix.S_IFCHR, 1, 3, true}, {"/dev/zero", unix.S_IFCHR, 1, 5, true},
		{"/dev/null", unix.S_IFCHR, 1, 5, false}, {"/dev/null", unix.S_IFCHR, 0, 3, false}, {"/dev/null", unix.S_IFBLK, 1, 3, false},
		{"/dev", unix.S_IFCHR, 1, 3, false}, {"/proc/self/exe", unix.S_IFCHR, 1, 3, false},
	} {
		p := shell("exit 0", func(p *Plan) {
			p.Device(p.Openat(CWD, c.path, unix.O_PATH|unix.O_CLOEXEC, 0), c.kind, c.major, c.minor)
		})
		if c.ok {
			run(t, p, Options{})
			continue
		}
		_, err := p.Start(Options{})
		if want := fmt.Sprintf("%d:%d)", c.major, c.minor); !errors.Is(err, unix.ENODEV) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v: %v, want ENODEV and %s", c, err, want)
		}
	}
}

// reapAll waits until no child is left, the orphans of monitors among them.
func reapAll(t *testing.T) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err == unix.ECHILD {
			return
		}
	}
	t.Error("a process is left, five seconds after the last plan")
}

// TestBefore: an error of the caller's before a step ends the run.
func TestBefore(t *testing.T) {
	stop := errors.New("stop")
	before := func(s *Step) error {
		if s.Call == "chdir" {
			return stop
		}
		return nil
	}
	p := shell("exit 0", func(p *Plan) { p.Chdir("/") })
	if _, err := p.Start(Options{Before: before}); !errors.Is(err, stop) {
		t.Errorf("Start() = %v, want %v", err, stop)
	}
}

// TestDescriptors: the program gets 0, 1, 2 and nothing else.
func TestDescriptors(t *testing.T) {
	extra, err := unix.Open("/", unix.O_PATH, 0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(extra)
	p := shell("for n in 3 4 5 6 7 8 9; do test ! -e /proc/$$/fd/$n || exit 1; done", func(p *Plan) {
		p.CloseRange(Num(3), 0, Channel)
		p.CloseRange(Channel, 1, nil)
	})
	if got := run(t, p, Options{}); got != 0 {
		t.Errorf("exit status %d: more than three descriptors", got)
	}
}

// TestMain fails a package that leaves something behind. What counts the covered
// lines does so in variables, in the child, too.
func TestMain(m *testing.M) {
	hides = hides && testing.CoverMode() == ""
	os.Exit(leftovers.Guard(m.Run))
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// TestClosed: what the runtime's steps open is closed when Start returns, also
// after a failure.
func TestClosed(t *testing.T) {
	for _, program := range []string{"exit 0", ""} {
		before := descriptors()
		p := &Plan{}
		p.Openat(CWD, "/", unix.O_PATH, 0)
		p.Close(p.Openat(CWD, "/proc", unix.O_PATH, 0))
		p.Clone3(Clone{})
		p.On(Child)
		p.Ready()
		p.RtSigprocmask()
		p.Execve(map[bool]string{true: "/bin/sh"}[program != ""], []string{"sh", "-c", program}, nil)
		r, err := p.Start(Options{})
		if (err == nil) != (program != "") {
			t.Errorf("Start() = %v, want success for %q", err, program)
		}
		if err == nil {
			r.Wait()
		}
		if after := descriptors(); after != before {
			t.Errorf("%d descriptors after %q, want %d", after, program, before)
		}
	}
}

// TestNothing: a plan without steps, such as an update of nothing.
func TestNothing(t *testing.T) {
	if _, err := (&Plan{}).Start(Options{}); err != nil {
		t.Errorf("Start() = %v", err)
	}
}

// TestTooMuch: what does not fit in an instruction is refused before anything is done.
func TestTooMuch(t *testing.T) {
	for want, record := range map[string]func(p *Plan){
		"7 arguments, of at most 6": func(p *Plan) { p.Call("many", 0, Num(1), Num(2), Num(3), Num(4), Num(5), Num(6), Num(7)) },
		"tolerates 5 errnos":        func(p *Plan) { p.Setsid().Tolerate(1, 2, 3, 4, 5) },
		"3 comparisons":             func(p *Plan) { p.Setsid().Verified = make([]Comparison, 3) },
		"the comparison at 8 is not": func(p *Plan) {
			p.Read(Num(0), 8).Verified = []Comparison{{Offset: 8}}
		},
	} {
		p := shell("exit 0", func(p *Plan) { record(p) })
		if _, err := p.Start(Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start() = %v, want %s", err, want)
		}
	}
	sources := &Plan{Sources: true}
	if s := sources.Setsid(); len(s.Callers) == 0 {
		t.Error("the plan does not remember who recorded a step")
	}
}

// TestSharedMemory: a block that several steps point to takes its room once.
func TestSharedMemory(t *testing.T) {
	room := func(steps int) int {
		p := &Plan{}
		environment := stringArray([]string{strings.Repeat("x", 1<<20)})
		for range steps {
			p.Call("execve", unix.SYS_EXECVE, String("/x"), environment, environment)
		}
		c, err := p.compile(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.release()
		return len(c.arena)
	}
	if once, often := room(1), room(10); often > once+once/10 {
		t.Errorf("an environment takes %d bytes in one step, %d in ten", once, often)
	}
}
