package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
