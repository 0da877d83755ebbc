package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"minirun/examples/leftovers"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Hooks in a container, and all of them at their times, are tested in package
// container: here are the plan, and hooks outside.

// hooksOf are the hooks of a spec, by point.
func hooksOf(h *specs.Hooks) map[string]*[]specs.Hook {
	return map[string]*[]specs.Hook{"prestart": &h.Prestart, "createRuntime": &h.CreateRuntime, "createContainer": &h.CreateContainer,
		"startContainer": &h.StartContainer, "poststart": &h.Poststart, "poststop": &h.Poststop}
}

func newSpec(list ...specs.LinuxNamespace) *specs.Spec {
	return &specs.Spec{Hooks: &specs.Hooks{}, Linux: &specs.Linux{Namespaces: list}}
}

var newPID = specs.LinuxNamespace{Type: specs.PIDNamespace}

// TestRefusals: what New does not take, and how it says so.
func TestRefusals(t *testing.T) {
	zero, negative := 0, -1
	for want, h := range map[string]specs.Hook{
		`hooks.%s[0].path "bin/true": not absolute`:                              {Path: "bin/true"},
		`hooks.%s[0].path "": not absolute`:                                      {},
		`hooks.%s[0].timeout 0: want more than 0 seconds, or none for no limit`:  {Path: "/bin/true", Timeout: &zero},
		`hooks.%s[0].timeout -1: want more than 0 seconds, or none for no limit`: {Path: "/bin/true", Timeout: &negative},
	} {
		for _, at := range points {
			spec := newSpec(newPID)
			*hooksOf(spec.Hooks)[at.name] = []specs.Hook{h}
			want := fmt.Sprintf(want, at.name)
			if hooks, err := New(spec, Container{}, plan.Facts{}); err == nil || err.Error() != want || hooks != nil {
				t.Errorf("New() = %v, %v; want %s", hooks, err, want)
			}
		}
	}
}

// TestOrdinaryUser: the child of an ordinary user's runtime is dumpable while it waits
// for hooks that join it, and only if it is alone in its pid namespace.
func TestOrdinaryUser(t *testing.T) {
	const refusal = "hooks.%s: those of an ordinary user need a new pid namespace"
	joined := specs.LinuxNamespace{Type: specs.PIDNamespace, Path: "/proc/42/ns/pid"}
	for _, at := range points {
		for _, c := range []struct {
			euid int
			list []specs.LinuxNamespace
		}{{0, nil}, {0, []specs.LinuxNamespace{newPID}}, {1000, []specs.LinuxNamespace{newPID}}, {1000, nil}, {1000, []specs.LinuxNamespace{joined}}} {
			spec := newSpec(c.list...)
			*hooksOf(spec.Hooks)[at.name] = []specs.Hook{{Path: "/bin/true"}}
			hooks, err := New(spec, Container{}, plan.Facts{Euid: c.euid})
			if refused := c.euid != 0 && at.inside && !newPIDNamespace(spec.Linux); refused {
				if want := fmt.Sprintf(refusal, at.name); err == nil || err.Error() != want {
					t.Errorf("user %d, %s, namespaces %v: New() = %v, want %s", c.euid, at.name, c.list, err, want)
				}
				continue
			} else if err != nil {
				t.Errorf("user %d, %s, namespaces %v: New() = %v, want nil", c.euid, at.name, c.list, err)
				continue
			}
			want := "sendto run 1 " + at.name + " hooks read"
			if c.euid != 0 && at.inside {
				want = "prctl " + want + " prctl"
			}
			p := &plan.Plan{}
			p.On(plan.Child)
			hooks.Gate(p, at)
			if got := calls(p); got != want {
				t.Errorf("user %d, %s: Gate() recorded %s, want %s", c.euid, at.name, got, want)
			}
		}
	}
}

func calls(p *plan.Plan) string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, s.Call)
	}
	return strings.Join(list, " ")
}

// TestGate: one gate for several points, none without hooks.
func TestGate(t *testing.T) {
	for _, c := range []struct {
		hooks *specs.Hooks
		want  string
	}{
		{nil, ""},
		{&specs.Hooks{Poststop: make([]specs.Hook, 1)}, ""},
		{&specs.Hooks{Prestart: make([]specs.Hook, 2)}, "sendto run 2 prestart hooks read"},
		{&specs.Hooks{Prestart: make([]specs.Hook, 1), CreateRuntime: make([]specs.Hook, 3)}, "sendto run 1 prestart hooks run 3 createRuntime hooks read"},
	} {
		p := &plan.Plan{}
		Of(c.hooks, Container{}).Gate(p, Prestart, CreateRuntime)
		if got := calls(p); got != c.want {
			t.Errorf("Gate() for %v recorded %q, want %q", c.hooks, got, c.want)
		}
	}
}

// outside returns what becomes of createRuntime hooks.
func outside(t *testing.T, list ...specs.Hook) error {
	t.Helper()
	dir := t.TempDir()
	state := func(status specs.ContainerState) specs.State {
		return specs.State{ID: "box", Status: status, Bundle: dir}
	}
	return Of(&specs.Hooks{CreateRuntime: list}, Container{State: state}).Run(CreateRuntime)
}

// TestOutside: a hook's surroundings, and all ways to fail.
func TestOutside(t *testing.T) {
	t.Setenv("SECRET", "the caller's")
	one, file := 1, filepath.Join(t.TempDir(), "file")
	sh := func(script string) specs.Hook {
		return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}
	}
	late := sh("echo slow; exec sleep 60")
	late.Timeout = &one
	for want, list := range map[string][]specs.Hook{
		"<nil>": {sh("exit 0"), {Path: "/bin/true"}},
		"hooks.createRuntime[1] /bin/sh: exit status 3: no luck; at all": {{Path: "/bin/true"}, sh("echo no luck; echo at all >&2; exit 3"), sh("touch " + file)},
		"hooks.createRuntime[0] /bin/sh: signal: killed":                 {sh("kill -KILL $$")},
		"hooks.createRuntime[0] /bin/sh: timeout of 1 s: slow":           {late},
		"hooks.createRuntime[0] /bin/sh: exit status 1: ":                {sh("env | grep SECRET; exit 1")},
	} {
		if err := outside(t, list...); fmt.Sprint(err) != strings.TrimSuffix(want, ": ") {
			t.Errorf("Run() = %v, want %s", err, want)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a hook ran after another had failed")
	}
	if err := outside(t, sh("cat > state; pwd; cat state; exit 1")); !strings.Contains(fmt.Sprint(err), `; {"ociVersion":"","id":"box","status":"creating"`) {
		t.Errorf("Run() = %v, want the bundle and the state as JSON", err)
	}
	if err := outside(t, specs.Hook{Path: "/bin/missing"}); !strings.HasPrefix(fmt.Sprint(err), "hooks.createRuntime[0] /bin/missing: ") || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Run() of a missing program = %v, want no such file", err)
	}
}

// TestRunAll: a failure is told, and the next hook runs.
func TestRunAll(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	state := func(specs.ContainerState) specs.State { return specs.State{Bundle: "/"} }
	hooks := Of(&specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/false"}, {Path: "/bin/touch", Args: []string{"touch", mark}}}}, Container{State: state})
	var told bytes.Buffer
	hooks.RunAll(Poststop, func(text string) { fmt.Fprintln(&told, text) })
	if want := "hooks.poststop[0] /bin/false: exit status 1\n"; told.String() != want {
		t.Errorf("RunAll() told %q, want %q", told.String(), want)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the second hook did not run: %v", err)
	}
	hooks.RunAll(Poststop, nil)
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
