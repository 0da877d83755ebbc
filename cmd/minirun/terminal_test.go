package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// A screen is a terminal's other side: what came out of it so far.
type screen struct {
	sync.Mutex
	bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.Write(p)
}

func (s *screen) text() string {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.String()
}

// shows waits until the screen does.
func (s *screen) shows(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(s.text(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the terminal shows no %q but %q", want, s.text())
		}
	}
}

// onTerminal starts minirun on a terminal of its own, of 30 rows and 100 columns.
func onTerminal(t *testing.T, args ...string) (console.Console, *screen, *exec.Cmd) {
	t.Helper()
	master, path, err := console.NewPty()
	must(t, err)
	t.Cleanup(func() { master.Close() })
	must(t, master.Resize(console.WinSize{Height: 30, Width: 100}))
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	slave := os.NewFile(uintptr(fd), path)
	defer slave.Close()
	cmd := exec.Command("minirun", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	must(t, cmd.Start())
	s := &screen{}
	go io.Copy(struct{ io.Writer }{s}, master) // not by the buffer itself, which has no lock; EIO: the last process closed the terminal
	return master, s, cmd
}

// TestTerminal: keys go in, the program's output comes out, a change of the
// window's size arrives, ^C is the program's, and the exit code comes back.
func TestTerminal(t *testing.T) {
	needRoot(t)
	importPrograms(t)
	t.Cleanup(func() { nothingLeft(t) })
	master, s, cmd := onTerminal(t, "run", "-it", "--rm", "--name", "term", "box", "window")
	s.shows(t, "size 30 100\r\n")
	must(t, master.Resize(console.WinSize{Height: 41, Width: 132}))
	s.shows(t, "size 41 132\r\n")
	must2(master.Write([]byte("words\n")))(t)
	s.shows(t, "read words\r\n")
	must2(master.Write([]byte("quit\n")))(t)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d, want 5: %s", code, s.text())
	}
}

// TestTerminalSignals: ^C is for the program, not for minirun; also where
// nothing else that is typed goes to it.
func TestTerminalSignals(t *testing.T) {
	needRoot(t)
	importPrograms(t)
	t.Cleanup(func() { nothingLeft(t) })
	for _, flag := range []string{"-it", "-t"} {
		master, s, cmd := onTerminal(t, "run", flag, "--rm", "box", "trap", "INT=6")
		s.shows(t, "ready\r\n")
		must2(master.Write([]byte{3}))(t)
		s.shows(t, "got SIGINT\r\n")
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 6 {
			t.Errorf("%s: exit code %d, want 6: %s", flag, code, s.text())
		}
	}
}

// TestStopWhileEntering: a container in which who enters is stopped, as this one
// that is paused, does not hold the command: a signal ends it.
func TestStopWhileEntering(t *testing.T) {
	needRoot(t)
	importPrograms(t)
	t.Cleanup(func() { nothingLeft(t) })
	must(t, exec.Command("minirun", "run", "-d", "--name", "held", "box", "sleep", "100").Run())
	defer exec.Command("minirun", "rm", "-f", "held").Run()
	must(t, exec.Command("minirun", "pause", "held").Run())
	cmd := exec.Command("minirun", "exec", "--ignore-paused", "held", "true")
	must(t, cmd.Start())
	done := make(chan error)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
		t.Fatalf("exec in a paused container: %v", cmd.ProcessState)
	case <-time.After(time.Second):
	}
	must(t, cmd.Process.Signal(unix.SIGTERM))
	select {
	case <-done:
		if code := cmd.ProcessState.ExitCode(); code != 128+15 {
			t.Errorf("exit code %d, want that of SIGTERM", code)
		}
	case <-time.After(10 * time.Second):
		cmd.Process.Kill()
		t.Fatal("SIGTERM does not end an exec that is held")
	}
}

// TestTerminalExec: the same for exec -it; and the terminal is as before.
func TestTerminalExec(t *testing.T) {
	needRoot(t)
	importPrograms(t)
	t.Cleanup(func() { nothingLeft(t) })
	must(t, exec.Command("minirun", "run", "-d", "--name", "shell", "box", "sleep", "100").Run())
	defer exec.Command("minirun", "rm", "-f", "shell").Run()
	master, s, cmd := onTerminal(t, "exec", "-it", "shell", "window")
	s.shows(t, "size 30 100\r\n")
	before, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	must(t, err)
	if before.Lflag&unix.ICANON != 0 {
		t.Error("while the program runs, the terminal is not raw")
	}
	must(t, master.Resize(console.WinSize{Height: 7, Width: 9}))
	s.shows(t, "size 7 9\r\n")
	must2(master.Write([]byte("quit\n")))(t)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d, want 5: %s", code, s.text())
	}
	after, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	must(t, err)
	if after.Lflag&(unix.ICANON|unix.ECHO) != unix.ICANON|unix.ECHO {
		t.Error("afterwards, the terminal is not as it was before")
	}
}
