package procfs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
)

// The test binary plays two processes more, by its first argument:
//
//	called NAME        has that name, says so, and waits to be killed
//	look DIR OPTIONS   mounts /proc on DIR, and as nobody prints whom it sees
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "called":
		err = called(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "look":
		err = look(os.Args[2], os.Args[3])
	default:
		os.Exit(leftovers.Guard(m.Run))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func called(name string) error {
	runtime.LockOSThread() // a process has the name of its first thread
	if err := os.WriteFile("/proc/self/comm", []byte(name), 0); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// start starts a process that is ended with the test, and waits until this
// program says that it is ready. Its standard input stays open as long.
func start(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path)
	cmd.Args = args
	in, err := cmd.StdinPipe()
	must(t, err)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	runtime.LockOSThread() // the death signal is that of the thread
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
		runtime.UnlockOSThread()
	})
	if path != os.Args[0] {
		return cmd
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s: %q, %v", path, line, err)
	}
	return cmd
}

// process reads the one with an id.
func process(t *testing.T, pid int) *Process {
	t.Helper()
	list, err := Read("/proc")
	must(t, err)
	for _, p := range list {
		if p.Pid == pid {
			return p
		}
	}
	t.Fatalf("Read: no process %d among %d", pid, len(list))
	return nil
}

// TestPs compares what we read with what ps prints.
func TestPs(t *testing.T) {
	ps, err := exec.LookPath("ps")
	if err != nil {
		t.Skip("no ps(1): install the package procps")
	}
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	for _, args := range [][]string{
		{"sleep", "1000"},
		{"blanks in it", "1000"},
		{os.Args[0], "called", "a) R (b c"},
		{os.Args[0], "called", "x"}, // many threads
	} {
		path := sleep
		if len(args) == 3 {
			path = os.Args[0]
		}
		cmd := start(t, path, args...)
		var ours, theirs string
		for try := 0; try < 20; try++ { // it may be about to start a thread, or to fall asleep
			p := process(t, cmd.Process.Pid)
			ours = fmt.Sprintf("%d %d %d %d %d %c %s", p.Pid, p.Parent, p.UID, p.Threads, p.RSS>>10, p.State, p.Line())
			out, err := exec.Command(ps, "-ww", "-o", "pid=,ppid=,euid=,nlwp=,rss=,state=,args=", "-p", strconv.Itoa(p.Pid)).Output()
			must(t, err)
			fields := strings.Fields(string(out))
			theirs = strings.Join(fields, " ")
			if ours == theirs {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if ours != theirs {
			t.Errorf("Read: %s\nps:   %s", ours, theirs)
		}
	}
}

// TestNames: the kernel escapes a name in /proc/PID/status; we read what it was.
func TestNames(t *testing.T) {
	for _, name := range []string{"plain", "a) S 1 (b", "two\nlines", `back\slash`, "tab\there", "\x1b[31mred", " "} {
		cmd := start(t, os.Args[0], os.Args[0], "called", name)
		if p := process(t, cmd.Process.Pid); p.Name != name || p.Parent != os.Getpid() || p.State == 0 {
			t.Errorf("Read: name %q, parent %d, want %q, %d", p.Name, p.Parent, name, os.Getpid())
		}
	}
}

func TestZombie(t *testing.T) {
	cmd := exec.Command(os.Args[0], "called", "late")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start()) // its standard input is /dev/null: it ends at once
	io.Copy(io.Discard, out)
	var info unix.Siginfo
	must(t, unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil))
	p := process(t, cmd.Process.Pid)
	if got := p.Line(); got != "[late] <defunct>" || p.RSS != 0 {
		t.Errorf("Line of a zombie = %q, RSS %d", got, p.RSS)
	}
	if found, err := Namespaces("/proc", p.Pid); err == nil {
		t.Errorf("Namespaces of a zombie = %v, want an error", found)
	}
	must(t, cmd.Wait())
}

func TestSelf(t *testing.T) {
	p := process(t, os.Getpid())
	own, err := Namespaces("/proc", os.Getpid())
	must(t, err)
	if len(own) < 7 || own["pid"] != p.PIDNamespace { // 7: a kernel may be built without time namespaces
		t.Errorf("Namespaces = %v, and %s from Read", own, p.PIDNamespace)
	}
	if p.UID != uint32(os.Geteuid()) || p.Parent != os.Getppid() || p.Threads < 2 {
		t.Errorf("Read = %+v", p)
	}
}

// TestEnding: processes that end while we look are no error.
func TestEnding(t *testing.T) {
	done := make(chan error)
	go func() {
		for range 100 {
			exec.Command("/bin/true").Run()
		}
		close(done)
	}()
	for n := 0; ; n++ {
		if _, err := Read("/proc"); err != nil {
			t.Errorf("Read: %v", err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// TestHidepid: whom the mount option hides is not there, and is no error.
func TestHidepid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to mount /proc")
	}
	for _, options := range []string{"hidepid=0", "hidepid=1", "hidepid=2"} {
		cmd := exec.Command("/proc/self/exe", "look", t.TempDir(), options)
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		must(t, err)
		seen := fmt.Sprintf(" %d ", os.Getpid())
		if got, want := strings.Contains(string(out), seen), options == "hidepid=0"; got != want {
			t.Errorf("with %s, nobody sees us: %v (%s), want %v", options, got, out, want)
		}
		if self := fmt.Sprintf(" %d ", cmd.Process.Pid); !strings.Contains(string(out), self) {
			t.Errorf("with %s, nobody does not see itself: %s", options, out)
		}
	}
}

func look(dir, options string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", dir, "proc", 0, options); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	if err := os.Chdir(dir); err != nil { // nobody may not look into the directories above it
		return err
	}
	if err := unix.Setgroups(nil); err != nil {
		return err
	}
	if err := unix.Setresgid(65534, 65534, 65534); err != nil {
		return err
	}
	if err := unix.Setresuid(65534, 65534, 65534); err != nil {
		return err
	}
	list, err := Read(".")
	for _, p := range list {
		fmt.Printf(" %d ", p.Pid)
	}
	return err
}
