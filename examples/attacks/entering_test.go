package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The moments in which a process of the runtime's becomes one of the
// container's. What it still has of the host's then is what an attacker wants.

// execs is how often one enters while the container is on the watch; for a look
// in the moment before execve, more often.
const (
	execs = 50
	looks = 200
)

// watch runs a hostile part in a container while execs enter it, and returns
// what the part caught.
func watch(t *testing.T, b *box, execs int, part ...string) string {
	t.Helper()
	b.Process.Args = append([]string{"/probe"}, part...)
	b.start()
	b.eventually("tmp/ready", "ready")
	leaked := openDirectories(t)
	for n := range execs {
		cmd := command(runner, "exec", b.id, "/probe", "say", "hello")
		cmd.ExtraFiles = leaked
		if r := finish(t, cmd); r.out != "hello" {
			t.Fatalf("exec %d: %v", n, r)
		}
	}
	return b.stop()
}

// stop ends a hostile part, and returns what it caught.
func (b *box) stop() string {
	b.t.Helper()
	b.file("tmp/stop", "")
	b.eventually("tmp/caught", "\n")
	caught, err := os.ReadFile(b.rootfs("tmp/caught"))
	must(b.t, err)
	return strings.TrimSpace(string(caught))
}

// inEverySet are capabilities that a process has, and may use.
func inEverySet(names ...string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// CVE-2016-9962. Somebody with CAP_SYS_PTRACE may look into every process that
// he sees, dumpable or not: so what he sees must have nothing of the host's.
func lookIntoExec(t *testing.T) {
	b := newBox(t)
	b.Process.Capabilities = inEverySet("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE")
	caught := watch(t, b, looks, "hunt")
	nothingCaught(t, caught)
}

// nothingCaught fails if a hunt did catch something; or if it could not have,
// since all that it saw was the container's own program.
func nothingCaught(t *testing.T, caught string) {
	t.Helper()
	t.Log(caught)
	if strings.Contains(caught, "\n") || strings.HasPrefix(caught, "0 of ") {
		t.Errorf("caught of %d execs:\n%s", looks, caught)
	}
}

// CVE-2016-9962, of somebody who is nothing but root.
func lookIntoExecWithout(t *testing.T) {
	b := newBox(t)
	b.Process.Capabilities = nil
	caught := watch(t, b, looks, "hunt", "memory")
	nothingCaught(t, caught)
}

// CVE-2019-5736. The program of an entering process can be held on to, and
// opened for writing when nobody executes it any more.
func overwriteByExec(t *testing.T) {
	b := newBox(t)
	b.Process.Capabilities = inEverySet("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE")
	caught := watch(t, b, execs, "overwrite")
	t.Log(caught)
	if strings.Contains(caught, "overwritten") || !strings.Contains(caught, "held") {
		t.Errorf("caught of %d execs: %s; want programs that were held, but not written to", execs, caught)
	}
}

// CVE-2019-5736. The container's program is whatever executes it: then minirunc
// runs in the container, where others can hold on to its program.
func executeSelf(t *testing.T) {
	programs := []string{"/proc/self/exe", "/link", "/script"}
	hostile := func(b *box) {
		b.link("link", "/proc/self/exe")
		b.file("script", "#!/proc/self/exe\n")
		must(t, os.Chmod(b.rootfs("script"), 0o755))
	}
	b := newBox(t)
	hostile(b)
	for _, program := range programs {
		b.Process.Args = []string{program, "sleep", "1000"}
		if r := b.run(); r.code == 0 { // minirunc has no such command
			t.Errorf("%s: %v", program, r)
		}
	}
	o := newBox(t, "overwrite")
	hostile(o)
	o.start()
	o.eventually("tmp/ready", "ready")
	for n := range execs {
		o.execProcess(func(p *specs.Process) { p.Args = []string{programs[n%len(programs)], "--version"} })
	}
	if caught := o.stop(); strings.Contains(caught, "overwritten") || !strings.Contains(caught, "held") {
		t.Errorf("caught of %d execs: %s; want programs that were held, but not written to", execs, caught)
	}
}

// CVE-2019-5736. However the command line says that a container is to be made, the
// program that a container could reach is one that nobody can write to. A hook,
// whose parent is the runtime, looks.
func anyForm(t *testing.T) {
	b := newBox(t, "say", "hello")
	look := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "! [ -w /proc/$PPID/exe ]"}}
	b.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{look}}
	b.save()
	for _, words := range [][]string{
		{"run", "--bundle", b.dir}, {"run", "--bundle=" + b.dir}, {"run", "-bundle=" + b.dir}, {"run", "-b", b.dir}, {"run", "-b=" + b.dir},
		{"run", "-d", "-b", b.dir}, {"create", "-b=" + b.dir}, {"--root=/run/minirun", "create", "-b", b.dir}, {"-root", "/run/minirun", "--debug", "run", "-b", b.dir},
	} {
		if r := minirunc(t, append(words, b.id)...); r.code != 0 {
			t.Errorf("%q: %v", words, r)
		}
		minirunc(t, "delete", "--force", b.id)
	}
}

// openDirectories are descriptors of the host's directories that a careless
// caller leaves to a command.
func openDirectories(t *testing.T) (files []*os.File) {
	t.Helper()
	for range 20 {
		f, err := os.Open(canary)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return files
}

// CVE-2024-21626. The numbers that a runtime's own descriptors may have.
func cwdDescriptor(t *testing.T) {
	b := newBox(t, "cat", "secret")
	running := newBox(t, "sleep")
	running.start()
	for n := 3; n <= 64; n += 1 {
		cwd := fmt.Sprintf("/proc/self/fd/%d", n)
		if n%2 == 0 {
			cwd += "/../../../.."
		}
		b.Process.Cwd = cwd
		b.save()
		cmd := command(runner, "run", "--bundle", b.dir, b.id)
		cmd.ExtraFiles = openDirectories(t)
		if r := finish(t, cmd); r.code == 0 || strings.Contains(r.out, "the host's secret") {
			t.Errorf("run with cwd %s: %v", cwd, r)
		}
		if n%8 != 0 {
			continue // the same code: a few will do
		}
		cmd = command(runner, "exec", "--cwd", cwd, running.id, "/probe", "cat", "secret")
		cmd.ExtraFiles = openDirectories(t)
		if r := finish(t, cmd); r.code == 0 || strings.Contains(r.out, "the host's secret") {
			t.Errorf("exec with cwd %s: %v", cwd, r)
		}
	}
}

// CVE-2024-21626, the variant with the program. A descriptor of a directory
// leads to the host's programs.
func argsDescriptor(t *testing.T) {
	b := newBox(t)
	running := newBox(t, "sleep")
	running.start()
	for n := 3; n <= 64; n += 3 {
		program := fmt.Sprintf("/proc/self/fd/%d/../../../../srv/bin/probe", n)
		b.Process.Args = []string{program, "say", "owned"}
		b.save()
		for _, args := range [][]string{{"run", "--bundle", b.dir, b.id}, {"exec", running.id, program, "say", "owned"}} {
			cmd := command(runner, args...)
			cmd.ExtraFiles = openDirectories(t)
			if r := finish(t, cmd); r.code == 0 || r.out != "" {
				t.Errorf("%s of %s: %v", args[0], program, r)
			}
		}
	}
}

// CVE-2024-21626. What the caller has open is not the container's, unless it
// says so.
func inheritedDescriptors(t *testing.T) {
	b := newBox(t, "fds")
	b.save()
	running := newBox(t, "sleep")
	running.start()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--bundle", b.dir, b.id}, "0 1 2"},
		{[]string{"run", "--preserve-fds", "2", "--bundle", b.dir, b.id}, "0 1 2 3 4"},
		{[]string{"exec", running.id, "/probe", "fds"}, "0 1 2"},
		{[]string{"exec", "--preserve-fds", "1", running.id, "/probe", "fds"}, "0 1 2 3"},
	} {
		cmd := command(runner, c.args...)
		cmd.ExtraFiles = openDirectories(t)
		if r := finish(t, cmd); r.out != c.want {
			t.Errorf("%q: %v; want %q", c.args, r, c.want)
		}
	}
}

// CVE-2026-53495. A process that the program leaves behind has the caller's pipes, or
// those to them, for as long as it likes: whoever entered the program does not wait for that.
func leavesBehind(t *testing.T) {
	b := newBox(t, "sleep")
	b.start()
	guest := newGuest(t, "behind")
	for about, cmd := range map[string]*exec.Cmd{
		"minirunc exec": command(runner, "exec", b.id, "/probe", "behind"), "minirun exec": command(people, "exec", guest.id, "/probe", "behind"),
		"minirun exec -i": command(people, "exec", "-i", guest.id, "/probe", "behind"), "minirun run": command(people, "run", "--rm", "--without", "pid", guest.id, "/probe", "behind"),
	} {
		r, w, err := os.Pipe() // as engines have one, and with input that never ends
		must(t, err)
		cmd.Stdin = r
		got := finish(t, cmd) // after a minute it is killed
		if got.code != 0 || got.out != "left" {
			t.Errorf("%s: %v; want it to end with its process", about, got)
		}
		r.Close()
		w.Close()
	}
	for _, cmd := range []*exec.Cmd{command(runner, "ps", b.id), command(people, "ps", guest.id)} {
		if r := finish(t, cmd); !strings.Contains(r.out, "/proc/self/exe sleep") {
			t.Errorf("no process was left behind: %v", r)
		}
	}
}
