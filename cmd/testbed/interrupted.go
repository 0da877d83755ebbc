package testbed

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Rounds is how often a race is run: usual, or MINIRUN_ROUNDS (make races: 1000).
func Rounds(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("MINIRUN_ROUNDS")); err == nil {
		return n
	}
	return usual
}

// Interrupted starts a command many times, each time with another id, and sends it one of
// the signals that end programs, at any time of its first 50 ms. The command must
// end by the signal, or with 128 and its number, and must leave nothing. A command that
// ends with 0 has started a detached container, which is removed.
func Interrupted(t *testing.T, remove string, words ...string) {
	t.Helper()
	for i := range Rounds(50) {
		id := fmt.Sprint("interrupted", i)
		cmd := exec.Command(words[0], words[1:]...)
		for j, w := range cmd.Args {
			cmd.Args[j] = strings.ReplaceAll(w, "ID", id)
		}
		sent := []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP}[rand.N(3)]
		Must(t, cmd.Start())
		time.Sleep(rand.N(50 * time.Millisecond))
		Must(t, cmd.Process.Signal(sent))
		late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		late.Stop()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		switch {
		case status.Signaled() && status.Signal() == sent, status.ExitStatus() == 128+int(sent):
		case cmd.ProcessState.Success():
			command := strings.Fields(strings.ReplaceAll(remove, "ID", id))
			Must(t, exec.Command(command[0], command[1:]...).Run())
		default:
			t.Errorf("%q, %v: %v", cmd.Args, sent, cmd.ProcessState)
		}
		if NothingLeft(t); t.Failed() {
			t.Fatalf("in round %d, %q, %v: %v", i, cmd.Args, sent, cmd.ProcessState)
		}
	}
}

// WithoutPID lets the program of a bundle be a process that signals end: it is not the
// first of a pid namespace.
func WithoutPID(t *testing.T, bundle string) {
	t.Helper()
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	Must(t, err)
	before, after, found := strings.Cut(string(text), `"type": "pid"`)
	if !found {
		t.Fatalf("%s: no pid namespace", path)
	}
	_, after, _ = strings.Cut(after, "},")
	Must(t, os.WriteFile(path, []byte(before[:strings.LastIndex(before, "{")]+after), 0o644))
}
