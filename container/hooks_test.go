package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hooksOf are the hooks of a spec, by kind.
func hooksOf(h *specs.Hooks) map[string]*[]specs.Hook {
	return map[string]*[]specs.Hook{"prestart": &h.Prestart, "createRuntime": &h.CreateRuntime, "createContainer": &h.CreateContainer,
		"startContainer": &h.StartContainer, "poststart": &h.Poststart, "poststop": &h.Poststop}
}

// telling is a hook that writes what it finds into the box's log. The log is
// outside the container, but for startContainer, which has only the container's
// programs.
func (b *box) telling(kind string) specs.Hook {
	if kind == "startContainer" {
		return specs.Hook{Path: "/bin/program", Args: []string{"/bin/program", "append /tmp/log"}, Env: []string{"GOMAXPROCS=1"}}
	}
	log := filepath.Join(b.bundle, "log")
	script := `{ echo $0 $1; env; readlink /proc/self/ns/mnt; ls -d /bin/program 2>&1; pwd; cat; echo; } >> ` + log
	return specs.Hook{Path: "/bin/sh", Args: []string{kind, "-c", script, kind, "arg"}, Env: []string{"PATH=/bin:/usr/bin", "A=" + kind}}
}

// TestHooks: each kind at its time, in its place, in order, with the state on
// standard input and no environment but its own.
func TestHooks(t *testing.T) {
	needRoot(t)
	for _, wait := range []bool{true, false} {
		b := newBox(t, "trap SIGTERM 0")
		b.Hooks = &specs.Hooks{}
		b.Annotations = map[string]string{"a": "b"}
		must(t, os.WriteFile(b.rootfs("tmp/log"), nil, 0o666))
		for kind, list := range hooksOf(b.Hooks) {
			*list = []specs.Hook{b.telling(kind), b.telling(kind)}
		}
		t.Setenv("SECRET", "the caller's")
		r, w, err := os.Pipe()
		must(t, err)
		c, p, err := b.start(Options{Wait: wait, Stdout: w})
		must(t, err)
		before := []string{"prestart", "prestart", "createRuntime", "createRuntime", "createContainer", "createContainer"}
		if wait {
			b.told(before, c)
			must(t, c.Start())
		}
		waitLine(t, r, "ready")
		r.Close()
		w.Close()
		b.told(append(before, "poststart", "poststart"), c)
		b.toldInside(c)
		must(t, c.Kill(unix.SIGTERM, false))
		p.Wait()
		must(t, c.Delete(false))
		b.told(append(before, "poststart", "poststart", "poststop", "poststop"), c)
	}
}

// told compares the log of the hooks outside with what they were to find.
func (b *box) told(want []string, c *Container) {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.bundle, "log"))
	must(b.t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	mnt, _ := os.Readlink("/proc/self/ns/mnt")
	var kinds []string
	const each = 8
	for l := range slices.Chunk(lines, each) {
		if len(l) != each {
			b.t.Fatalf("log = %s, want %d lines each", text, each)
		}
		kind, _, _ := strings.Cut(l[0], " ")
		kinds = append(kinds, kind)
		slices.Sort(l[1:4]) // the environment; the shell adds PWD
		if env := strings.Join(l[1:4], " "); env != "A="+kind+" PATH=/bin:/usr/bin PWD="+l[6] {
			b.t.Errorf("%s: environment %s, want A, PATH, and what the shell adds", kind, env)
		}
		if want := map[bool]string{true: b.rootfs(""), false: b.bundle}[kind == "createContainer"]; l[6] != want {
			b.t.Errorf("%s: directory %s, want %s", kind, l[6], want)
		}
		if (l[4] == mnt) != (kind != "createContainer") || !strings.Contains(l[5], "No such file") {
			b.t.Errorf("%s: mount namespace %s, ours %s; /bin/program %s, want none: the root directory is still the host's", kind, l[4], mnt, l[5])
		}
		b.toldState(kind, l[7], c)
	}
	if !slices.Equal(kinds, want) {
		b.t.Errorf("hooks %v ran, want %v", kinds, want)
	}
}

// TestHookEnvironment: a hook whose spec has no environment gets that of whoever starts
// it: the runtime's on the host, with nothing of the container's, which could be
// LD_PRELOAD; the process's in the container. It starts in the directory of doc.go's table,
// and what it makes there is nowhere else.
func TestHookEnvironment(t *testing.T) {
	needRoot(t)
	t.Setenv("RUNTIMES", "own")
	for kind := range hooksOf(&specs.Hooks{}) {
		for _, wait := range []bool{true, false} {
			b := newBox(t, "trap SIGTERM 0")
			b.Process.Env = append(b.Process.Env, "CONTAINERS=own", "RUNTIMES=container's")
			b.Process.Cwd = "/tmp"
			b.Hooks = &specs.Hooks{}
			want, at := "own - "+b.bundle, b.bundle
			script := `echo ${RUNTIMES--} ${CONTAINERS--} $(pwd) > ` + b.bundle + `/told; echo > made`
			hook := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}}
			switch kind {
			case "createContainer":
				at = b.rootfs("")
				want = "own - " + strings.TrimSuffix(at, "/")
			case "startContainer":
				hook = specs.Hook{Path: "/bin/program", Args: []string{"/bin/program", "mkdir made", "env", "cwd", "exit 3"}}
				at = b.rootfs("tmp")
			}
			*hooksOf(b.Hooks)[kind] = []specs.Hook{hook}
			c, p, err := b.start(Options{Wait: wait})
			if err == nil && wait {
				err = c.Start()
			}
			if err == nil {
				must(t, c.Delete(true))
				p.Wait()
			}
			told, _ := os.ReadFile(b.bundle + "/told")
			if kind == "startContainer" {
				if !strings.HasSuffix(fmt.Sprint(err), ": HOME=/; GOMAXPROCS=1; CONTAINERS=own; RUNTIMES=container's; /tmp") {
					t.Errorf("startContainer, wait %t: %v; want the process's environment and directory", wait, err)
				}
			} else if got := strings.TrimSpace(string(told)); got != want || err != nil {
				t.Errorf("%s, wait %t: %v, %q; want %q", kind, wait, err, got, want)
			}
			if _, err := os.Lstat(filepath.Join(at, "made")); err != nil {
				t.Errorf("%s, wait %t: %v; want it where the hook starts", kind, wait, err)
			}
		}
	}
	if _, err := os.Lstat("/made"); err == nil {
		t.Error("a hook has made a file in the host's root")
	}
}

// toldInside does so for the log of startContainer.
func (b *box) toldInside(c *Container) {
	b.t.Helper()
	text, err := os.ReadFile(b.rootfs("tmp/log"))
	must(b.t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 2 {
		b.t.Fatalf("startContainer's log = %q, want two lines", text)
	}
	for _, l := range lines {
		b.toldState("startContainer", l, c)
	}
}

func (b *box) toldState(kind, text string, c *Container) {
	b.t.Helper()
	want := specs.State{Version: specs.Version, ID: b.id, Bundle: b.bundle, Pid: c.Pid, Annotations: b.Annotations,
		Status: map[string]specs.ContainerState{"startContainer": "created", "poststart": "running", "poststop": "stopped"}[kind]}
	if want.Status == "" {
		want.Status = specs.StateCreating
	}
	switch kind {
	case "createContainer", "startContainer":
		want.Pid = 1 // as the container sees it
	case "poststop":
		want.Pid = 0
	}
	expected, err := json.Marshal(want)
	must(b.t, err)
	if text != string(expected) {
		b.t.Errorf("%s: state = %s, want %s", kind, text, expected)
	}
}

// A misfortune is a hook that fails, and how.
type misfortune struct {
	args    []string
	seconds int
	want    string
}

var misfortunes = map[string]misfortune{
	"status":  {[]string{"print no luck", "print at all", "exit 3"}, 0, "exit status 3: no luck; at all"},
	"signal":  {[]string{"die SIGKILL"}, 0, "signal: killed"},
	"timeout": {[]string{"print slow", "sleep"}, 1, "timeout of 1 s: slow"},
	"missing": {nil, 0, "no such file or directory"},
}

// hook makes it one of a kind: a hook outside is no program of the container's.
func (m misfortune) hook(t testing.TB, b *box, kind string) specs.Hook {
	program := "/bin/program"
	if kind != "startContainer" {
		program = b.rootfs(program)
	}
	h := specs.Hook{Path: program, Args: append([]string{"/bin/program"}, m.args...), Env: []string{"GOMAXPROCS=1"}}
	if m.args == nil {
		h.Path = "/bin/missing"
	}
	if m.seconds > 0 {
		h.Timeout = &m.seconds
	}
	return h
}

// TestHookFails: a hook of any kind that fails in any way, or takes too long,
// ends a run; the hooks after it do not run, but for those of poststop, and
// nothing is left of the container.
func TestHookFails(t *testing.T) {
	needRoot(t)
	for kind := range hooksOf(&specs.Hooks{}) {
		if kind == "poststop" {
			continue
		}
		for name, m := range misfortunes {
			if m.seconds > 0 && kind != "createRuntime" && kind != "createContainer" {
				continue // the others go the same two ways, and that takes a second
			}
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBox(t, "sleep")
				b.Hooks = &specs.Hooks{}
				h := m.hook(t, b, kind)
				never := filepath.Join(b.bundle, "never")
				*hooksOf(b.Hooks)[kind] = []specs.Hook{h, {Path: "/bin/touch", Args: []string{"touch", never}}}
				stopped := filepath.Join(b.bundle, "stopped")
				b.Hooks.Poststop = []specs.Hook{{Path: "/bin/touch", Args: []string{"touch", stopped}}}
				b.fails("hooks."+kind+"[0] "+h.Path+": ", m.want)
				if _, err := os.Stat(never); err == nil {
					t.Errorf("the hook after it ran")
				}
				if _, err := os.Stat(stopped); err != nil {
					t.Errorf("poststop did not run")
				}
			})
		}
	}
}

// TestStartHookFails: a failure at start stops the container, and leaves it to
// be deleted.
func TestStartHookFails(t *testing.T) {
	needRoot(t)
	for _, kind := range []string{"startContainer", "poststart"} {
		b := newBox(t, "sleep")
		b.Hooks = &specs.Hooks{}
		*hooksOf(b.Hooks)[kind] = []specs.Hook{misfortunes["status"].hook(t, b, kind)}
		c, p, err := b.start(Options{Wait: true})
		must(t, err)
		if err := c.Start(); err == nil || !strings.Contains(err.Error(), "hooks."+kind+"[0] ") {
			t.Errorf("Start() = %v, want the failure of %s", err, kind)
		}
		b.is(specs.StateStopped)
		p.Wait()
		must(t, c.Delete(false))
	}
}

// TestPoststopFails: nothing can be done about it, and the other hooks run.
func TestPoststopFails(t *testing.T) {
	needRoot(t)
	b := newBox(t, "exit 0")
	mark := filepath.Join(b.bundle, "mark")
	b.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/false"}, {Path: "/bin/touch", Args: []string{"touch", mark}}}}
	c, p, err := b.start(Options{})
	must(t, err)
	p.Wait()
	warning := ""
	c.Warn = func(text string) { warning += text + "\n" }
	if err := c.Delete(false); err != nil || warning != "hooks.poststop[0] /bin/false: exit status 1\n" {
		t.Errorf("Delete() = %v, with the warning %q; want nil, and a mention of the hook", err, warning)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the second hook did not run: %v", err)
	}
	if _, err := b.root.Load(b.id); !errors.Is(err, ErrNotExist) {
		t.Errorf("Load() = %v, want %v", err, ErrNotExist)
	}
}

// TestHookPipes: a hook need not read its input, however long, and may print
// more than fits into a pipe or an error.
func TestHookPipes(t *testing.T) {
	needRoot(t)
	for _, kind := range []string{"createRuntime", "createContainer"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, "exit 0")
			b.Annotations = map[string]string{"long": strings.Repeat("x", 1<<20)}
			b.Hooks = &specs.Hooks{}
			set := func(m misfortune) { *hooksOf(b.Hooks)[kind] = []specs.Hook{m.hook(t, b, kind)} }
			set(misfortune{args: []string{"repeat 1000000", "exit 0"}})
			b.prints("")
			set(misfortune{args: []string{"repeat 1000000", "exit 1"}})
			if _, _, err := b.try(Options{}); err == nil || len(err.Error()) > 5000 {
				t.Errorf("New() = an error of %d bytes, want one, but not the whole output", len(fmt.Sprint(err)))
			}
			set(misfortunes["timeout"])
			b.fails("timeout of 1 s")
		})
	}
}

// TestHookDaemon: a hook may leave a process behind that keeps its output open.
func TestHookDaemon(t *testing.T) {
	needRoot(t)
	for _, kind := range []string{"createRuntime", "createContainer"} {
		b := newBox(t, "exit 0")
		b.Hooks = &specs.Hooks{}
		file := filepath.Join(b.bundle, "pid")
		*hooksOf(b.Hooks)[kind] = []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 60 & echo $! > " + file}, Env: []string{"PATH=/bin:/usr/bin"}}}
		b.prints("")
		text, err := os.ReadFile(file)
		must(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		must(t, err)
		if kind == "createRuntime" { // else it was in the container, and its number is one there
			must(t, unix.Kill(pid, unix.SIGKILL))
		}
	}
}

// TestHookRefused: what the runtime-spec forbids is said before anything is made.
func TestHookRefused(t *testing.T) {
	zero, negative := 0, -1
	for want, h := range map[string]specs.Hook{
		`hooks.%s[0].path "bin/true": not absolute`:                              {Path: "bin/true"},
		`hooks.%s[0].path "": not absolute`:                                      {},
		`hooks.%s[0].timeout 0: want more than 0 seconds, or none for no limit`:  {Path: "/bin/true", Timeout: &zero},
		`hooks.%s[0].timeout -1: want more than 0 seconds, or none for no limit`: {Path: "/bin/true", Timeout: &negative},
	} {
		for kind := range hooksOf(&specs.Hooks{}) {
			b := &box{t: t, root: Root(t.TempDir()), Spec: &specs.Spec{Process: &specs.Process{Args: []string{"/bin/true"}, Cwd: "/"},
				Root: &specs.Root{Path: "/"}, Linux: &specs.Linux{}, Hooks: &specs.Hooks{}}}
			*hooksOf(b.Hooks)[kind] = []specs.Hook{h}
			want := fmt.Sprintf(want, kind)
			b.refuses(want, nil, func() error {
				_, _, err := b.root.New("box", "/", b.Spec, Options{})
				if err != nil && err.Error() != want {
					t.Errorf("New() = %v, want %s", err, want)
				}
				return err
			})
		}
	}
}

// TestHooksRootless: hooks inside a container of an ordinary user's are
// the children of an intermediate process.
func TestHooksRootless(t *testing.T) {
	for name, m := range misfortunes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []string{"createContainer", "startContainer"} {
				if m.seconds > 0 && kind == "startContainer" {
					continue
				}
				b := rootless(newBox(t, "exit 0"))
				b.Hooks = &specs.Hooks{}
				*hooksOf(b.Hooks)[kind] = []specs.Hook{m.hook(t, b, kind)}
				if out, err := b.asUser("run"); err == nil || !strings.Contains(out, "hooks."+kind) || !strings.Contains(out, m.want) {
					t.Errorf("run = %v, %s; want hooks.%s…%s", err, out, kind, m.want)
				}
				if entries, err := os.ReadDir(string(b.root)); err != nil || len(entries) > 0 {
					t.Errorf("after a failure the directory of states has %v, %v; want nothing", entries, err)
				}
			}
		})
	}
}

// ordinary is the user for whom root runs rootless containers in tests.
const ordinary = 65534

// rootless gives a box a user namespace of an ordinary user's: of ours, or of
// nobody's if we are root.
func rootless(b *box) *box {
	b.t.Helper()
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = ordinary, ordinary
		must(b.t, os.Chmod(filepath.Dir(b.bundle), 0o777|os.ModeSticky))
		must(b.t, filepath.WalkDir(b.bundle, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err // not the program: it may be this very file, under another name
			}
			return os.Lchown(path, uid, gid)
		}))
	}
	b.with(specs.UserNamespace, "")
	b.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(uid), Size: 1}}
	b.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(gid), Size: 1}}
	b.Linux.CgroupsPath = ""
	return b
}

// asUser lets a runtime that is an ordinary user do something.
func (b *box) asUser(do string) (string, error) {
	b.t.Helper()
	b.save()
	cmd := b.request(do).command(b.t)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
	}
	return outcome(b.t, cmd)
}

// TestHookOfContainer: a startContainer hook is a program of the container's. It
// gets no more than the container's process has: no capability, user, or system
// call.
func TestHookOfContainer(t *testing.T) {
	needRoot(t)
	status := []string{"/bin/program"}
	for _, field := range []string{"CapEff", "CapBnd", "CapInh", "NoNewPrivs", "Seccomp"} {
		status = append(status, "status "+field)
	}
	for _, wait := range []bool{false, true} {
		b := newBox(t, "sleep")
		b.Process.User, b.Process.NoNewPrivileges, b.Process.Capabilities = specs.User{UID: 33, GID: 33}, true, &specs.LinuxCapabilities{}
		b.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"mount"}, Action: specs.ActErrno}}}
		b.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/program", Args: append(status, "id", "exit 3")}}}
		c, _, err := b.start(Options{Wait: wait})
		if wait {
			must(t, err)
			err = c.Start()
		}
		const none = "0000000000000000"
		if want := "hooks.startContainer[0] /bin/program: exit status 3: " + strings.Join([]string{none, none, none, "1", "2", "33 33 []"}, "; "); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("wait %t: %v; want %s", wait, err, want)
		}
	}
}
