package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/config"
	"minirun/container/exit"

	"minirun/examples/leftovers"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A request is what a runtime in a process of its own is to do.
type request struct {
	Do       string // run, create, start, exec, delete, state; detach: see monitor_test.go
	Root     string
	ID       string
	Bundle   string
	Monitor  bool
	NoCgroup bool
	Trace    bool // print which steps are made
	Shared   bool // run: where all mounts are shared, and print what has changed in them
	Fault    plan.Fault
	Die      int                    // the step before which the runtime is killed, from 1; 0: none
	Numbers  map[plan.Inherited]int // detach: the descriptors behind the plan's names
	Late     int                    // the step after which it is killed, a moment later; 0: none
}

// runtimeProcess does what a command of minirun would, without flags. It prints
// the error and ends with 125 if there is one, else as the container did.
func runtimeProcess(argument string) int {
	var r request
	err := json.Unmarshal([]byte(argument), &r)
	if err == nil {
		var code int
		if code, err = r.carryOut(); err == nil {
			return code
		}
	}
	fmt.Fprintln(os.Stderr, strings.ReplaceAll(err.Error(), "\n", "; "))
	return 125
}

func (r request) carryOut() (int, error) {
	root := Root(r.Root)
	look := plan.Options{Fault: r.Fault, Before: die(r.Die)}
	made := map[int]bool{}
	if r.Trace {
		look.Trace = func(e plan.Event) { made[e.Index] = !e.Skipped }
	}
	if r.Late > 0 {
		look.Before, look.Trace = nil, func(e plan.Event) {
			if e.Index == r.Late {
				time.Sleep(100 * time.Millisecond) // the other processes go on as far as they can
				unix.Kill(os.Getpid(), unix.SIGKILL)
			}
		}
	}
	if r.Do == "run" || r.Do == "create" {
		spec, _, err := config.Read(r.Bundle)
		if err != nil {
			return 0, err
		}
		o := Options{Wait: r.Do == "create", Monitor: r.Monitor, NoCgroup: r.NoCgroup, Engine: look}
		if r.Shared {
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
				return 0, err
			}
			before := strings.Join(leftovers.Mounts(), "\n")
			defer func() { fmt.Println(leftovers.Changes(before, strings.Join(leftovers.Mounts(), "\n"))) }()
		}
		_, p, err := root.New(r.ID, r.Bundle, spec, o)
		if r.Trace && err == nil {
			err = json.NewEncoder(os.Stdout).Encode(made)
		}
		if err != nil || o.Wait || o.Monitor {
			return 0, err
		}
		status, err := p.Wait()
		return exit.Code(status), err
	}
	if r.Do == "detach" {
		return 0, r.detach()
	}
	c, err := root.Lock(r.ID)
	if err != nil {
		return 0, err
	}
	defer c.Unlock()
	switch r.Do {
	case "start":
		return 0, c.Start()
	case "exec":
		spec, err := c.Spec()
		if err != nil {
			return 0, err
		}
		p, err := c.Exec(spec.Process, nil, Options{Engine: look})
		if r.Trace && err == nil {
			err = json.NewEncoder(os.Stdout).Encode(made)
		}
		if err != nil {
			return 0, err
		}
		status, err := p.Wait()
		return exit.Code(status), err
	case "delete":
		return 0, c.Delete(true)
	case "state":
		state, err := c.OCI()
		return 0, errors.Join(err, json.NewEncoder(os.Stdout).Encode(state))
	}
	return 0, fmt.Errorf("no command %q", r.Do)
}

// command is a runtime in a process of its own, behind other words such as
// those of strace.
func (r request) command(t testing.TB, words ...string) *exec.Cmd {
	t.Helper()
	argument, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	words = append(words, staticBinary(t), "runtime", string(argument))
	return exec.Command(words[0], words[1:]...)
}

// A box is a container to be: a bundle of its own, and a spec to change.
type box struct {
	*specs.Spec
	t      testing.TB
	root   Root
	id     string
	bundle string
}

// newBox makes a bundle whose program carries out commands. The spec is a usual
// one: all namespaces but user and time, proc, a tmpfs on /dev, a devpts.
func newBox(t testing.TB, commands ...string) *box {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755)) // root of a user namespace is an ordinary user here
	b := &box{t: t, root: Root(filepath.Join(dir, "root")), id: "box", bundle: filepath.Join(dir, "bundle")}
	must(t, os.MkdirAll(b.rootfs("bin"), 0o755))
	must(t, os.MkdirAll(b.rootfs("tmp"), 0o755))
	must(t, os.Link(staticBinary(t), b.rootfs("bin/program")))
	b.Spec = &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Cwd: "/", Env: []string{"HOME=/", "GOMAXPROCS=1"}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}},
		},
		Linux: &specs.Linux{CgroupsPath: "/" + leftovers.Group() + "/" + filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)},
	}
	for _, kind := range []specs.LinuxNamespaceType{"pid", "mount", "uts", "ipc", "network", "cgroup"} {
		b.Linux.Namespaces = append(b.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
	}
	b.commands(commands...)
	return b
}

func (b *box) commands(list ...string) {
	b.Process.Args = append([]string{"/bin/program"}, list...)
}

// rootfs is a path in the container's root directory, as the host sees it.
func (b *box) rootfs(path string) string { return filepath.Join(b.bundle, "rootfs", path) }

// with adds a namespace, or replaces the one of its type.
func (b *box) with(kind specs.LinuxNamespaceType, path string) {
	for i, n := range b.Linux.Namespaces {
		if n.Type == kind {
			b.Linux.Namespaces[i].Path = path
			return
		}
	}
	b.Linux.Namespaces = append(b.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
}

// save writes the config.json, for exec and for a runtime of its own.
func (b *box) save() {
	b.t.Helper()
	data, err := json.Marshal(b.Spec)
	must(b.t, err)
	must(b.t, os.WriteFile(filepath.Join(b.bundle, "config.json"), data, 0o644))
}

func (b *box) request(do string) request {
	return request{Do: do, Root: string(b.root), ID: b.id, Bundle: b.bundle}
}

// start makes the container and sees to its removal.
func (b *box) start(o Options) (*Container, *plan.Process, error) {
	b.t.Helper()
	b.save()
	c, p, err := b.root.New(b.id, b.bundle, b.Spec, o)
	if err == nil {
		b.t.Cleanup(func() {
			b.remove()
			p.Wait() // ECHILD: the test has, or it is a monitor's child
		})
	}
	return c, p, err
}

// remove deletes the container if it is still there.
func (b *box) remove() {
	b.t.Helper()
	c, err := b.root.Lock(b.id)
	if errors.Is(err, ErrNotExist) {
		return
	}
	must(b.t, err)
	defer c.Unlock()
	must(b.t, c.Delete(true))
}

// run runs the container to its end and returns what it printed and its exit code.
func (b *box) run(o Options) (string, int) {
	b.t.Helper()
	output, code, err := b.try(o)
	must(b.t, err)
	return output, code
}

// try is run, for containers that may not come to be.
func (b *box) try(o Options) (output string, code int, err error) {
	b.t.Helper()
	r, w, err := os.Pipe()
	must(b.t, err)
	defer r.Close()
	o.Stdout, o.Stderr = w, w
	c, p, err := b.start(o)
	w.Close()
	if err != nil {
		return "", 0, err
	}
	output = read(b.t, r)
	status, err := p.Wait()
	must(b.t, err)
	must(b.t, c.Delete(false))
	return output, exit.Code(status), nil
}

// prints runs the container and compares what it prints.
func (b *box) prints(want string) {
	b.t.Helper()
	if got, code := b.run(Options{}); got != want || code != 0 {
		b.t.Errorf("%q = %q, exit code %d; want %q, 0", b.Process.Args[1:], got, code, want)
	}
}

// fails runs the container and looks for words in the error; nothing may be left.
func (b *box) fails(words ...string) {
	b.t.Helper()
	_, _, err := b.try(Options{})
	for _, want := range words {
		if err == nil || !strings.Contains(err.Error(), want) {
			b.t.Errorf("New() = %v, want an error with %q", err, want)
		}
	}
	if _, err := b.root.Load(b.id); !errors.Is(err, ErrNotExist) {
		b.t.Errorf("Load() after a failure = %v, want %v", err, ErrNotExist)
	}
}

// read is everything up to the end of a pipe, without the last line's end.
func read(t testing.TB, f *os.File) string {
	t.Helper()
	var text strings.Builder
	b := make([]byte, 4096)
	for {
		n, err := f.Read(b)
		text.Write(b[:n])
		if err != nil {
			return strings.TrimSpace(text.String())
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
