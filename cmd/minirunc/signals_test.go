package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// TestCancel: a signal cancels a run of minirun's before anything is made, and
// while a hook runs. The exit code is the signal's, and nothing is left.
func TestCancel(t *testing.T) {
	for _, flags := range [][]string{nil, {"-d"}} {
		b := newBundle(t, "sleep", "100")
		path := filepath.Join(b, "config.json")
		spec := readFile(t, path)
		testbed.Must(t, os.Remove(path))
		testbed.Must(t, unix.Mkfifo(path, 0o600)) // minirunc reads the spec from it: until then we know where it is
		cmd := called(t, nil, append(append([]string{"run", "--monitor"}, flags...), "--bundle", b, "cancelled")...)
		testbed.Must(t, cmd.Start())
		fifo, err := os.OpenFile(path, os.O_WRONLY, 0)
		testbed.Must(t, err)
		testbed.Must(t, cmd.Process.Signal(unix.SIGTERM))
		testbed.Must2(fifo.WriteString(spec))(t)
		testbed.Must(t, fifo.Close())
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 128+15 {
			t.Errorf("run --monitor %v, SIGTERM while it reads the spec: %v, want exit code 143", flags, cmd.ProcessState)
		}
	}
	b := newBundle(t, "sleep", "100")
	path := filepath.Join(b, "config.json")
	hooks := `{"hooks": {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -TERM $PPID; sleep 0.3"]}]},`
	testbed.Must(t, os.WriteFile(path, []byte(strings.Replace(readFile(t, path), "{", hooks, 1)), 0o644))
	cmd := called(t, nil, "run", "--monitor", "-d", "--bundle", b, "cancelled")
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 128+15 {
		t.Errorf("run --monitor -d, SIGTERM by a hook: %v, want exit code 143", cmd.ProcessState)
	}
	if list := minirunc(t, nil, "list", "-q"); list != "" {
		t.Errorf("left: %s", list)
	}
}

// TestInterrupted: no signal is lost, whenever it comes, and nothing is left.
func TestInterrupted(t *testing.T) {
	b := newBundle(t, "sleep", "100")
	testbed.WithoutPID(t, b)
	testbed.Interrupted(t, "false", "minirunc", "run", "--bundle", b, "ID")
	testbed.Interrupted(t, "minirunc delete --force ID", "minirunc", "run", "-d", "--bundle", b, "ID")
	testbed.Interrupted(t, "minirunc delete --force ID", "minirunc", "create", "--bundle", b, "ID")
}

// TestYoung: a signal that comes before the program has set up its handlers waits for
// them. The kernel drops it else: the program is process 1 of a pid namespace. Go's runtime
// ends a program with 2 that has a handler, but has not asked for the signal yet.
func TestYoung(t *testing.T) {
	b := newBundle(t, "trap", "TERM=7")
	for i := range testbed.Rounds(50) {
		cmd := called(t, nil, "run", "--bundle", b, "young")
		testbed.Must(t, cmd.Start())
		time.Sleep(rand.N(40 * time.Millisecond))
		testbed.Must(t, cmd.Process.Signal(unix.SIGTERM))
		late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		late.Stop()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if code := status.ExitStatus(); code != 7 && code != 2 && code != 128+15 && status.Signal() != unix.SIGTERM {
			t.Fatalf("round %d: %v", i, cmd.ProcessState)
		}
	}
}
