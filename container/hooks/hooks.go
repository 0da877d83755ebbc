package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file has the two doors: it reads the hooks of a spec, and records when they
// run. run.go runs them.

// A Point is one of the six at which hooks run.
type Point struct {
	name   string
	inside bool                 // in the container's namespaces
	status specs.ContainerState // what the hooks are told
	list   func(*specs.Hooks) []specs.Hook
}

// The points, in the order of a container's life.
var (
	Prestart        = Point{"prestart", false, specs.StateCreating, func(h *specs.Hooks) []specs.Hook { return h.Prestart }}
	CreateRuntime   = Point{"createRuntime", false, specs.StateCreating, func(h *specs.Hooks) []specs.Hook { return h.CreateRuntime }}
	CreateContainer = Point{"createContainer", true, specs.StateCreating, func(h *specs.Hooks) []specs.Hook { return h.CreateContainer }}
	StartContainer  = Point{"startContainer", true, specs.StateCreated, func(h *specs.Hooks) []specs.Hook { return h.StartContainer }}
	Poststart       = Point{"poststart", false, specs.StateRunning, func(h *specs.Hooks) []specs.Hook { return h.Poststart }}
	Poststop        = Point{"poststop", false, specs.StateStopped, func(h *specs.Hooks) []specs.Hook { return h.Poststop }}
)

var points = []Point{Prestart, CreateRuntime, CreateContainer, StartContainer, Poststart, Poststop}

// Hooks are those of one container.
type Hooks struct {
	spec         *specs.Hooks // may be nil
	container    Container
	ordinaryUser bool // the runtime is not root
}

// A Container is what hooks need of theirs. The functions are not called if there
// are no hooks.
type Container struct {
	// State returns what a hook is told.
	State func(status specs.ContainerState) specs.State

	// Root returns the root directory on the host.
	Root func() string

	// Join begins a plan whose child joins the container's namespaces and cgroup. The
	// plan needs process, a pidfd of the container process, as the descriptor
	// "container". Close it after the plan has run.
	Join func() (p *plan.Plan, process int, err error)

	// Exec starts a program of the container's like exec, with the identity of the
	// container's process. Both its output and its errors go to out.
	Exec func(h specs.Hook, in, out *os.File, o plan.Options) (*plan.Process, error)
}

// New reads the hooks of a spec. It refuses those that the runtime-spec forbids. That
// is the time to do so: later the container would have been made already.
func New(spec *specs.Spec, c Container, facts plan.Facts) (*Hooks, error) {
	h := Of(spec.Hooks, c)
	h.ordinaryUser = facts.Euid != 0
	for _, at := range points {
		for i, hook := range h.list(at) {
			if !filepath.IsAbs(hook.Path) {
				return nil, fmt.Errorf("hooks.%s[%d].path %q: not absolute", at.name, i, hook.Path)
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return nil, fmt.Errorf("hooks.%s[%d].timeout %d: want more than 0 seconds, or none for no limit", at.name, i, *hook.Timeout)
			}
			if at.inside && h.ordinaryUser && !newPIDNamespace(spec.Linux) {
				return nil, fmt.Errorf("hooks.%s: those of an ordinary user need a new pid namespace", at.name)
			}
		}
	}
	return h, nil
}

// newPIDNamespace says whether only the child and what it starts are in its pid
// namespace.
func newPIDNamespace(linux *specs.Linux) bool {
	return slices.Contains(linux.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace})
}

// Of returns the hooks of a container that exists, and whose spec was checked. The
// hooks may be nil.
func Of(spec *specs.Hooks, c Container) *Hooks { return &Hooks{spec: spec, container: c} }

// EntersAtStart says whether the start command runs something inside the container, its
// startContainer hooks. Such a command must be protected from the container before
// (package protect). The hooks may be nil.
func EntersAtStart(spec *specs.Hooks) bool { return spec != nil && len(spec.StartContainer) > 0 }

func (h *Hooks) list(at Point) []specs.Hook {
	if h.spec == nil {
		return nil
	}
	return at.list(h.spec)
}

// SetDumpable records, before the child waits for hooks that join its namespaces, that
// it becomes dumpable if the runtime is an ordinary user's: setns(2) asks for the same
// rights as ptrace(2), and over a process that is not dumpable only root has them. No
// other process can use that, because the child is still alone in its pid namespace.
// The caller records the end of it with reset, right after the wait.
func (h *Hooks) SetDumpable(p *plan.Plan, at Point) (reset func()) {
	if !at.inside || !h.ordinaryUser || len(h.list(at)) == 0 {
		return func() {}
	}
	p.Note("the " + at.name + " hooks join our namespaces, for which this process must be dumpable, as for ptrace(2)")
	p.Prctl(unix.PR_SET_DUMPABLE, 1)
	return func() { p.Prctl(unix.PR_SET_DUMPABLE, 0) }
}

// Gate records a gate at which the runtime runs the hooks of some points, all of them
// inside or all outside. Without hooks it records nothing.
func (h *Hooks) Gate(p *plan.Plan, at ...Point) {
	at = slices.DeleteFunc(slices.Clone(at), func(a Point) bool { return len(h.list(a)) == 0 })
	if len(at) == 0 {
		return
	}
	reset := h.SetDumpable(p, at[0])
	p.Gate(at[len(at)-1].name+" hooks", func() {
		for _, a := range at {
			p.Do("run "+strconv.Itoa(len(h.list(a)))+" "+a.name+" hooks", func(*plan.Process) error { return h.Run(a) })
		}
	})
	reset()
}

// Run runs the hooks of one point in order. The first failure ends it.
func (h *Hooks) Run(at Point) error {
	for i := range h.list(at) {
		if err := h.run(at, i); err != nil {
			return err
		}
	}
	return nil
}

// RunAll runs the hooks of one point in order, also after one has failed, and hands the
// failures to warn, which may be nil: after the container is gone nothing else can be
// done about them.
func (h *Hooks) RunAll(at Point, warn func(text string)) {
	for i := range h.list(at) {
		if err := h.run(at, i); err != nil && warn != nil {
			warn(err.Error())
		}
	}
}
