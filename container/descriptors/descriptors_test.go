package descriptors

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestAnnounce: the program is told of its sockets, and the caller's spec stays as
// it was.
func TestAnnounce(t *testing.T) {
	env := append(make([]string, 0, 8), "A=b") // room in which an append could write
	spec := &specs.Spec{Process: &specs.Process{Env: env}}
	if Announce(spec, 0) != spec {
		t.Error("without sockets it is another spec")
	}
	got := Announce(spec, 2)
	if want := []string{"A=b", "LISTEN_FDS=2", "LISTEN_PID=1"}; !slices.Equal(got.Process.Env, want) {
		t.Errorf("environment = %q, want %q", got.Process.Env, want)
	}
	if len(spec.Process.Env) != 1 || env[:2][1] != "" {
		t.Errorf("the caller's environment is now %q", env[:2])
	}
}

// TestCheck: numbers that are not open are refused.
func TestCheck(t *testing.T) {
	if err := Check(0); err != nil {
		t.Errorf("Check(0) = %v", err)
	}
	if err := Check(1 << 20); err == nil || !strings.HasPrefix(err.Error(), "preserve 1048576 descriptors: descriptor ") {
		t.Errorf("Check(1<<20) = %v, want an error", err)
	}
}

// TestSockets: the sockets that are for this process, and no number that 3 more would not
// fit to.
func TestSockets(t *testing.T) {
	for text, want := range map[string]int{"": 0, "0": 0, "2": 2, "1073741824": 1 << 30, "-1": -1, "x": -1, "1073741825": -1, "9223372036854775807": -1, "9223372036854775808": -1} {
		t.Setenv("LISTEN_PID", "1")
		t.Setenv("LISTEN_FDS", text)
		if n, err := Sockets(); n != 0 || err != nil {
			t.Errorf("LISTEN_FDS=%s for another process: %d, %v, want 0", text, n, err)
		}
		t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		n, err := Sockets()
		if want >= 0 && (n != want || err != nil) {
			t.Errorf("LISTEN_FDS=%s: %d, %v, want %d", text, n, err, want)
		} else if want < 0 && (err == nil || !strings.Contains(err.Error(), strconv.Quote(text)+": want 0 to 1073741824")) {
			t.Errorf("LISTEN_FDS=%s: %d, %v, want an error", text, n, err)
		}
	}
}
