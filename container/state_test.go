package container

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/exit"
	"minirun/container/pidfd"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// stored makes a container's directory with that state.json in it.
func stored(t testing.TB, data []byte) Root {
	t.Helper()
	root := Root(t.TempDir())
	must(t, os.Mkdir(filepath.Join(string(root), "box"), 0o700))
	must(t, os.WriteFile(filepath.Join(string(root), "box/state.json"), data, 0o600))
	return root
}

// someState is a state with a bit of everything.
func someState(t testing.TB) []byte {
	t.Helper()
	data, err := json.Marshal(State{ID: "box", Identity: pidfd.Identity{Pid: os.Getpid(), StartTime: 1}, Bundle: "/b", Rootfs: "/b/rootfs", Created: time.Unix(1, 0),
		Annotations: map[string]string{"a": "b"}, Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}}})
	must(t, err)
	return data
}

// TestStateCut: of a state.json that somebody has cut, nothing is believed.
func TestStateCut(t *testing.T) {
	data := someState(t)
	root := stored(t, data)
	if c, err := root.Load("box"); err != nil || c.Bundle != "/b" {
		t.Fatalf("Load() = %v, %v", c, err)
	}
	for n := range data {
		must(t, os.WriteFile(filepath.Join(string(root), "box/state.json"), data[:n], 0o600))
		if c, err := root.Lock("box"); err == nil || c != nil || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "box/state.json") {
			t.Fatalf("Lock() with %q = %v, %v; want an error that names the file", data[:n], c, err)
		}
		if list, err := root.List(func(error) {}); len(list) != 0 || err != nil {
			t.Fatalf("List() with %q = %v, %v; want none", data[:n], list, err)
		}
	}
	must(t, root.Discard("box"))
	if _, err := root.Load("box"); !errors.Is(err, ErrNotExist) {
		t.Errorf("Load() after Discard() = %v", err)
	}
}

// TestNobody: numbers for which kill(2) would take every process, or all of a
// group, are nobody's.
func TestNobody(t *testing.T) {
	for _, pid := range []int{0, -1, -os.Getpid(), -1 << 31, 1 << 40} {
		c := &Container{State: State{ID: "box", Identity: pidfd.Identity{Pid: pid}}, dir: t.TempDir()}
		if got, err := c.Status(); err != nil || got != specs.StateStopped && got != specs.StateCreating {
			t.Errorf("with pid %d: %s, %v", pid, got, err)
		}
		for _, all := range []bool{false, true} {
			if err := c.Kill(unix.SIGCONT, all); (err == nil) != all {
				t.Errorf("Kill(pid %d, all %v) = %v", pid, all, err)
			}
		}
		if err := c.kill(unix.SIGCONT); err == nil {
			t.Errorf("kill(pid %d) = nil, want an error", pid)
		}
		if err := c.end(); err != nil {
			t.Errorf("end(pid %d) = %v", pid, err)
		}
		if ended, err := c.Wait(time.Second); !ended || err != nil {
			t.Errorf("Wait(pid %d) = %v, %v", pid, ended, err)
		}
	}
}

// FuzzState: whatever a state.json has in it can be looked at.
func FuzzState(f *testing.F) {
	f.Add(someState(f))
	f.Add([]byte(`{"id":"box","pid":-1}`))
	f.Add([]byte(`{"pid":1e99}`))
	f.Add([]byte(`null`))
	root := stored(f, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		must(t, os.WriteFile(filepath.Join(string(root), "box/state.json"), data, 0o600))
		c, err := root.Load("box")
		if err != nil {
			return
		}
		c.Cgroup = "" // else files anywhere would be read
		state, err := c.OCI()
		if _, jsonErr := json.Marshal(state); err != nil || jsonErr != nil {
			t.Errorf("state of %q: %v, %v", data, err, jsonErr)
		}
		exit.Read(c.dir, c.Identity)
	})
}

// TestRootOfOthers: a directory of states that somebody else has made, or can
// write to, is not believed: a state names processes to end and hooks to run.
func TestRootOfOthers(t *testing.T) {
	root := stored(t, someState(t))
	use := map[string]func() error{
		"Load": func() error { _, err := root.Load("box"); return err },
		"Lock": func() error {
			c, err := root.Lock("box")
			if err == nil {
				c.Unlock()
			}
			return err
		},
		"List":    func() error { _, err := root.List(func(error) {}); return err },
		"Discard": func() error { return root.Discard("nobody") },
		"make": func() error {
			c, err := root.make("other")
			if err == nil {
				c.Unlock()
				os.RemoveAll(c.dir)
			}
			return err
		},
	}
	for name, f := range use {
		must(t, os.Chmod(string(root), 0o755))
		if err := f(); err != nil {
			t.Errorf("%s in a directory of our own: %v", name, err)
		}
		must(t, os.Chmod(string(root), 0o777))
		if err := f(); err == nil || !strings.Contains(err.Error(), "others may write to it") {
			t.Errorf("%s in a directory that all can write to: %v", name, err)
		}
		must(t, os.Chmod(string(root), 0o755))
		if os.Geteuid() != 0 {
			continue // who is not root cannot give a directory away
		}
		must(t, os.Chown(string(root), 1000, 1000))
		if err := f(); err == nil || !strings.Contains(err.Error(), "it is user 1000's") {
			t.Errorf("%s in a directory of somebody else's: %v", name, err)
		}
		must(t, os.Chown(string(root), 0, 0))
	}
}
