package main

import (
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
	path := filepath.Join(b, "config.json")
	testbed.Must(t, os.WriteFile(path, []byte(strings.Replace(readFile(t, path), `"process": {`, `"process": {"terminal": true,`, 1)), 0o644))
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
