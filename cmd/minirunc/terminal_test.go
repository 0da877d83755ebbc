package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// TestTerminal: run and exec with a terminal. Keys go in, the program's output
// comes out, a change of the window's size arrives, ^C is the program's, and the
// exit code comes back.
func TestTerminal(t *testing.T) {
	b := newBundle(t, "window")
	withTerminal(t, b)
	master, s, run := testbed.OnTerminal(t, "minirunc", "run", "--bundle", b, "term")
	s.Shows(t, "size 30 100\r\n")
	testbed.Must(t, master.Resize(console.WinSize{Height: 41, Width: 132}))
	s.Shows(t, "size 41 132\r\n")

	other, screen, cmd := testbed.OnTerminal(t, "minirunc", "exec", "-t", "term", "trap", "INT=6")
	screen.Shows(t, "ready\r\n")
	testbed.Must2(other.Write([]byte{3}))(t)
	screen.Shows(t, "got SIGINT\r\n")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 6 {
		t.Errorf("exec: exit code %d, want 6: %s", code, screen.Text())
	}

	testbed.Must2(master.Write([]byte("quit\n")))(t)
	run.Wait()
	if code := run.ProcessState.ExitCode(); code != 5 {
		t.Errorf("run: exit code %d, want 5: %s", code, s.Text())
	}
}

// TestStopWhileEntering: a container in which who enters is stopped, as this one
// that is paused, does not hold the command: a signal ends it.
func TestStopWhileEntering(t *testing.T) {
	b := newBundle(t, "sleep", "100")
	minirunc(t, nil, "run", "-d", "--bundle", b, "held")
	defer minirunc(t, nil, "delete", "-f", "held")
	minirunc(t, nil, "pause", "held")
	cmd := exec.Command("minirunc", "exec", "--ignore-paused", "held", "true")
	testbed.Must(t, cmd.Start())
	done := make(chan error)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
		t.Fatalf("exec in a paused container: %v", cmd.ProcessState)
	case <-time.After(time.Second):
	}
	testbed.Must(t, cmd.Process.Signal(unix.SIGTERM))
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

// withTerminal gives the program of a bundle a terminal.
func withTerminal(t *testing.T, bundle string) {
	t.Helper()
	path := filepath.Join(bundle, "config.json")
	testbed.Must(t, os.WriteFile(path, []byte(strings.Replace(readFile(t, path), `"process": {`, `"process": {"terminal": true,`, 1)), 0o644))
}

// TestLineEnds: where standard output is no terminal, an end of line is as the program
// wrote it, from its first one on.
func TestLineEnds(t *testing.T) {
	b := newBundle(t, "lines", "3")
	withTerminal(t, b)
	run := func(words ...string) {
		t.Helper()
		cmd := called(t, nil, words...)
		testbed.Must(t, cmd.Run())
		if got, want := readFile(t, cmd.Stdout.(*os.File).Name()), "line 1\nto stderr\nline 2\nline 3\n"; got != want {
			t.Errorf("minirunc %q prints %q, want %q", words, got, want)
		}
	}
	for range 20 {
		run("run", "--bundle", b, "lines")
	}
	sleeping := newBundle(t, "sleep", "100")
	minirunc(t, nil, "run", "-d", "--bundle", sleeping, "lines")
	defer minirunc(t, nil, "delete", "-f", "lines")
	for range 20 {
		run("exec", "-t", "lines", "lines", "3")
	}
}

// hangUp takes the terminal away from all that use it. Only the leader of the session gets a
// SIGHUP for that.
func hangUp(t *testing.T, master console.Console) {
	t.Helper()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	testbed.Must(t, err)
	slave, err := unix.Open(fmt.Sprint("/dev/pts/", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	testbed.Must(t, err)
	defer unix.Close(slave)
	testbed.Must(t, unix.IoctlSetInt(slave, unix.TIOCVHANGUP, 0))
}

// TestHangUp: without its terminal a run ends, whatever its program does about SIGHUP: the
// program's own terminal is another one. In another session than that of the terminal,
// minirunc gets no SIGHUP.
func TestHangUp(t *testing.T) {
	for what, c := range map[string]struct {
		program []string
		code    int
	}{
		"handler": {[]string{"trap", "HUP=5"}, 5},
		"ignored": {[]string{"deaf"}, 128 + 9},
	} {
		b := newBundle(t, c.program...)
		withTerminal(t, b)
		for _, before := range []string{"exec", "trap : HUP; setsid --wait"} {
			master, s, cmd := testbed.OnTerminal(t, "sh", "-c", before+" minirunc run --bundle "+b+" hung")
			s.Shows(t, "ready")
			hangUp(t, master)
			late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			cmd.Wait()
			late.Stop()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("%s, %s: %v, want exit code %d", before, what, cmd.ProcessState, c.code)
			}
		}
	}
}

// TestNohup: a signal that the caller ignores stays ignored, and the terminal may go.
func TestNohup(t *testing.T) {
	b := newBundle(t, "trap", "TERM=5", "HUP=6")
	withTerminal(t, b)
	master, s, cmd := testbed.OnTerminal(t, "sh", "-c", "trap '' HUP; exec minirunc run --bundle "+b+" kept")
	s.Shows(t, "ready")
	hangUp(t, master)
	testbed.Must(t, cmd.Process.Signal(unix.SIGHUP))
	time.Sleep(200 * time.Millisecond)
	if state := minirunc(t, nil, "state", "kept"); !strings.Contains(state, `"running"`) {
		t.Errorf("after SIGHUP: %s", state)
	}
	testbed.Must(t, cmd.Process.Signal(unix.SIGTERM))
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
}
