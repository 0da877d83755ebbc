package descriptors

import (
	"slices"
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
