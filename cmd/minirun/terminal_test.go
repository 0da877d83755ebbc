package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// TestTerminal: keys go in, the program's output comes out, a change of the
// window's size arrives, ^C is the program's, and the exit code comes back.
func TestTerminal(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	t.Cleanup(func() { testbed.NothingLeft(t) })
	master, s, cmd := testbed.OnTerminal(t, "minirun", "run", "-it", "--rm", "--name", "term", "box", "window")
	s.Shows(t, "size 30 100\r\n")
	testbed.Must(t, master.Resize(console.WinSize{Height: 41, Width: 132}))
	s.Shows(t, "size 41 132\r\n")
	testbed.Must2(master.Write([]byte("words\n")))(t)
	s.Shows(t, "read words\r\n")
	testbed.Must2(master.Write([]byte("quit\n")))(t)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d, want 5: %s", code, s.Text())
	}
}

// TestTerminalSignals: ^C is for the program, not for minirun or minirunc; also where
// nothing else that is typed goes to it.
func TestTerminalSignals(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	t.Cleanup(func() { testbed.NothingLeft(t) })
	for _, flag := range []string{"-it", "-t"} {
		master, s, cmd := testbed.OnTerminal(t, "minirun", "run", flag, "--rm", "box", "trap", "INT=6")
		s.Shows(t, "ready\r\n")
		testbed.Must2(master.Write([]byte{3}))(t)
		s.Shows(t, "got SIGINT\r\n")
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 6 {
			t.Errorf("%s: exit code %d, want 6: %s", flag, code, s.Text())
		}
	}
}

// TestTerminalExec: the same for exec -it; and the terminal is as before.
func TestTerminalExec(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	t.Cleanup(func() { testbed.NothingLeft(t) })
	testbed.Must(t, exec.Command("minirun", "run", "-d", "--name", "shell", "box", "sleep", "100").Run())
	defer exec.Command("minirun", "rm", "-f", "shell").Run()
	master, s, cmd := testbed.OnTerminal(t, "minirun", "exec", "-it", "shell", "window")
	s.Shows(t, "size 30 100\r\n")
	before, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	testbed.Must(t, err)
	if before.Lflag&unix.ICANON != 0 {
		t.Error("while the program runs, the terminal is not raw")
	}
	testbed.Must(t, master.Resize(console.WinSize{Height: 7, Width: 9}))
	s.Shows(t, "size 7 9\r\n")
	testbed.Must2(master.Write([]byte("quit\n")))(t)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d, want 5: %s", code, s.Text())
	}
	after, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	testbed.Must(t, err)
	if after.Lflag&(unix.ICANON|unix.ECHO) != unix.ICANON|unix.ECHO {
		t.Error("afterwards, the terminal is not as it was before")
	}
}

// TestThreeInterrupts: process 1 of a pid namespace gets no SIGINT for which it has no
// handler. The third ^C says so and ends it; with -i ^C is typed for the program, without it
// is a signal to minirunc.
func TestThreeInterrupts(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	t.Cleanup(func() { testbed.NothingLeft(t) })
	for _, flag := range []string{"-it", "-t", "-i"} {
		master, s, cmd := testbed.OnTerminal(t, "minirun", "run", flag, "--rm", "--name", "loud", "box", "deaf")
		s.Shows(t, "ready\r\n")
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			if cmd.ProcessState != nil {
				t.Fatalf("%s: it ended too early: %v", flag, cmd.ProcessState)
			}
			testbed.Must2(master.Write([]byte{3}))(t)
		}
		late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		late.Stop()
		if code := cmd.ProcessState.ExitCode(); code != 128+9 || !strings.Contains(s.Text(), "deaf does not handle SIGINT: it is killed after the third") {
			t.Errorf("%s: %v, %q", flag, cmd.ProcessState, s.Text())
		}
	}
}
