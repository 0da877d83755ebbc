package attacks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Who a process in a container is, and whom it can reach.

// CVE-2016-3697. What is all digits is a number.
func numericName(t *testing.T) {
	b := newGuest(t, "numeric")
	b.file("etc/passwd", "1000:x:0:0:evil:/:/bin/sh\nroot:x:0:0::/:\n")
	if r := b.execAs("1000", "id"); r.out != "1000 0 [0]" {
		t.Errorf("exec --user 1000 = %v, want user 1000", r)
	}
	b.file("etc/group", "1000:x:0:\n")
	if r := b.execAs("1000:1000", "id"); r.out != "1000 1000 [1000]" {
		t.Errorf("exec --user 1000:1000 = %v, want user and group 1000", r)
	}
}

// CVE-2026-30892. A user that cannot be parsed is nobody, and surely not root.
func badUsers(t *testing.T) {
	b, guest := newBox(t, "sleep"), newGuest(t, "bad-users")
	b.start()
	for _, user := range []string{"1000:", ":5", ":", "99999999999", "4294967295", "4294967296", "-1", "+1", "0x10", "1e3", "1 ", " 1", "abc", "1000:abc", "1000:4294967295", "1000:5:6", "", "1000:99999999999", "１０００"} {
		for program, r := range map[string]result{"minirunc": b.exec([]string{"--user", user}, "id"), "minirun": guest.execAs(user, "id")} {
			if user == "" && strings.HasPrefix(r.out, "0 0 [") {
				continue // as docker and runc: nobody was asked for
			}
			if r.code == 0 || r.out != "" {
				t.Errorf("%s exec --user %q = %v; want an error", program, user, r)
			}
			oneLine(t, r.err)
		}
	}
	for _, id := range []uint32{1<<32 - 1} {
		if r := b.execProcess(func(p *specs.Process) { p.User.UID, p.Args = id, []string{"/probe", "id"} }); r.code == 0 {
			t.Errorf("exec --process with user %d = %v; want an error", id, r)
		}
	}
}

// Lines that say too much, too little or something else.
func hostilePasswd(t *testing.T) {
	b := newGuest(t, "hostile-passwd")
	for text, want := range map[string]string{
		"evil":                                      "",
		"evil:x":                                    "",
		"evil:x::":                                  "",
		"evil:x:-1:0::/:":                           "",
		"evil:x:4294967295:0::/:":                   "",
		"evil:x:4294967296:0::/:":                   "",
		"evil:x:18446744073709551616:0::/:":         "",
		"evil:x:1:99999999999::/:":                  "",
		"evil:x: 5:6::/:":                           "",
		"evil:x:5:6":                                "5 6 [6]",
		"evil:x:5:6::/../../../../srv/canary:":      "5 6 [6]",
		"\x00evil:x:0:0\nevil:x:5:6::/:":            "5 6 [6]",
		"evil:x:5:6::/:\nevil:x:0:0::/:":            "5 6 [6]",
		strings.Repeat("x", 1<<17) + "\nevil:x:5:6": "5 6 [6]",
	} {
		b.file("etc/passwd", text)
		r := b.execAs("evil", "id")
		if r.out != want || (r.code == 0) != (want != "") {
			t.Errorf("/etc/passwd %.50q: %v; want %q", text, r, want)
		}
		oneLine(t, r.err)
	}
	must(t, os.Remove(b.rootfs("etc/passwd")))
	must(t, unix.Mkfifo(b.rootfs("etc/passwd"), 0o644)) // must not hold us for ever
	if r := b.execAs("evil", "id"); r.code == 0 {
		t.Errorf("/etc/passwd is a pipe: %v", r)
	}
	b.link("etc/passwd", canary+"/secret")
	if r := b.execAs("evil", "id"); r.code == 0 {
		t.Errorf("/etc/passwd is a link to the host's: %v", r)
	}
}

// CVE-2022-29162, CVE-2022-27650, CVE-2025-27612 and their siblings. With
// inheritable capabilities a program with such file capabilities would get them.
func inheritable(t *testing.T) {
	b := newBox(t, "sleep")
	b.Process.Capabilities = inEverySet("CAP_CHOWN", "CAP_KILL")
	b.start()
	const none = "0000000000000000"
	for _, set := range []string{"CapInh", "CapAmb"} {
		if r := b.exec(nil, "status", set); r.out != none {
			t.Errorf("exec: %s is %v; want %s", set, r, none)
		}
		if r := b.execProcess(func(p *specs.Process) { p.Args = []string{"/probe", "status", set} }); r.out != none {
			t.Errorf("exec --process: %s is %v; want %s", set, r, none)
		}
		for _, flags := range [][]string{{"--cap", "CAP_NET_RAW"}, {"--cap", "CAP_NET_RAW", "--user", "1000"}} {
			if r := b.exec(flags, "status", set); r.out != none {
				t.Errorf("exec %q: %s is %v; want %s", flags, set, r, none)
			}
		}
		o := newBox(t, "status", set)
		o.Process.Capabilities = b.Process.Capabilities
		o.prints(none)
	}
}

// CVE-2022-2989, CVE-2022-36109, CVE-2023-25173. The groups are exactly those
// of the spec, whatever the caller has.
func supplementaryGroups(t *testing.T) {
	b := newBox(t, "id")
	b.Process.User = specs.User{UID: 1000, GID: 1000}
	b.save()
	running := newBox(t, "sleep")
	running.start()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--bundle", b.dir, b.id}, "1000 1000 []"},
		{[]string{"exec", running.id, "/probe", "id"}, "0 0 []"},
		{[]string{"exec", "--user", "5:6", running.id, "/probe", "id"}, "5 6 []"},
	} {
		cmd := command(runner, c.args...)
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential(0, 7, 8, 27)}
		if r := finish(t, cmd); r.out != c.want {
			t.Errorf("%q by a caller with the groups 7, 8 and 27: %v; want %q", c.args, r, c.want)
		}
	}
}

// CVE-2014-8989. An ordinary user must not get rid of a group: a file may be
// open to all but its members.
func deniesSetgroups(t *testing.T) {
	b := newBox(t, "cat", "/proc/self/setgroups")
	b.rootless()
	if r := finish(t, asUser(t, runner, "run", "--bundle", b.dir, b.id)); r.out != "deny" {
		t.Errorf("setgroups in an ordinary user's container: %v; want deny", r)
	}
	b.Process.Args = []string{"/probe", "id"}
	b.Process.User.AdditionalGids = []uint32{5}
	b.save()
	if r := finish(t, asUser(t, runner, "run", "--bundle", b.dir, b.id)); r.code == 0 {
		t.Errorf("groups for an ordinary user: %v; want an error", r)
	}
}

// rootless makes the bundle one of an ordinary user's.
func (b *box) rootless() {
	b.t.Helper()
	b.Linux.Namespaces = append(b.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	b.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: ordinary, Size: 1}}
	b.Linux.GIDMappings = b.Linux.UIDMappings
	for i, m := range b.Mounts {
		if m.Destination == "/dev/pts" {
			b.Mounts[i].Options = m.Options[:5] // group 5 is not mapped
		}
	}
	b.save()
}

// ordinary is the id of an ordinary user, and of his group.
const ordinary = 1000

// asUser is one of the programs as an ordinary user calls it.
func asUser(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	must(t, os.Chown("/var/lib/user", ordinary, ordinary))
	cmd := command(program, args...)
	cmd.Env = append(os.Environ(), "HOME=/var/lib/user", "XDG_RUNTIME_DIR=/var/lib/user", "XDG_DATA_HOME=/var/lib/user")
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential(ordinary)}
	return cmd
}

// CVE-2016-2568 and its like (TIOCSTI). The terminal is the caller's: what is
// typed there, his shell would execute after us.
func typeIntoTerminal(t *testing.T) {
	b := newBox(t, "type")
	b.save()
	running := newBox(t, "sleep")
	running.start()
	for _, args := range [][]string{{"run", "--bundle", b.dir, b.id}, {"exec", running.id, "/probe", "type"}} {
		master, path, err := console.NewPty()
		must(t, err)
		slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		must(t, err)
		cmd := command(runner, args...)
		cmd.Stdin = slave
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
		if r := finish(t, cmd); !strings.Contains(r.out, "error: operation not permitted") && !strings.Contains(r.out, "error: input/output error") {
			t.Errorf("%s: typing into the caller's terminal: %v", args[0], r)
		}
		slave.Close()
		master.Close()
	}
}

// The number of a container's process may be somebody else's by now.
func reusedPid(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	must(t, stranger.Start())
	defer stranger.Wait()
	defer stranger.Process.Kill()
	time.Sleep(20 * time.Millisecond) // a start time is in ticks of 10 ms: the two must not have the same
	b := newBox(t, "sleep")
	b.start()
	state := filepath.Join("/run/minirun", b.id, "state.json")
	text, err := os.ReadFile(state)
	must(t, err)
	pid := between(string(text), `"pid":`, ",")
	number, err := strconv.Atoi(strings.TrimSpace(pid))
	must(t, err)
	must(t, unix.Kill(number, unix.SIGKILL))
	reused := strings.Replace(string(text), pid, fmt.Sprint(stranger.Process.Pid), 1)
	must(t, os.WriteFile(state, []byte(reused), 0o600))
	for _, args := range [][]string{{"kill", b.id, "KILL"}, {"kill", "--all", b.id, "KILL"}, {"exec", b.id, "/probe", "id"}, {"delete", "--force", b.id}} {
		if r := minirunc(t, args...); args[0] == "exec" && r.code == 0 {
			t.Errorf("%q: %v", args, r)
		}
	}
	if err := unix.Kill(stranger.Process.Pid, 0); err != nil {
		t.Errorf("the stranger: %v", err)
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", stranger.Process.Pid))
	if !strings.Contains(string(status), ") S ") {
		t.Errorf("the stranger is %q; want it asleep", status)
	}
}

func between(text, from, to string) string {
	_, after, _ := strings.Cut(text, from)
	word, _, _ := strings.Cut(after, to)
	return word
}

// minirun looks for minirunc beside itself, in ../libexec and in PATH. Where another user
// can put one before it, that is not executed: neither as it is, nor by a link.
func plantedRuntime(t *testing.T) {
	script := "#!/bin/sh\n/bin/touch " + canary + "/new\n"
	for about, c := range map[string]struct{ minirun, planted, path string }{
		"beside minirun, in a /tmp": {"minirun", "minirunc", "/usr/bin:/bin"},
		"in libexec":                {"bin/minirun", "libexec/minirun/minirunc", "/usr/bin:/bin"},
		"in a directory of PATH":    {"bin/minirun", "home/minirunc", "DIR/home:/usr/bin"},
		"in an empty entry of PATH": {"bin/minirun", "minirunc", "/usr/bin::/bin"},
		"in . of PATH":              {"bin/minirun", "minirunc", ".:/usr/bin"},
		"in a relative entry":       {"bin/minirun", "home/minirunc", "home:/usr/bin"},
	} {
		for _, link := range []bool{false, true} {
			dir := openDir(t)
			must(t, os.Chmod(dir, 0o777|os.ModeSticky))
			self, planted := filepath.Join(dir, c.minirun), filepath.Join(dir, c.planted)
			must(t, os.MkdirAll(filepath.Dir(self), 0o755))
			must(t, copyFile(people, self))
			plant := fmt.Sprintf("mkdir -p %s && cat >%s.sh && chmod 755 %[2]s.sh && mv %[2]s.sh %[2]s", filepath.Dir(planted), planted)
			if link {
				plant = fmt.Sprintf("mkdir -p %s && ln -s /usr/bin/env %s", filepath.Dir(planted), planted)
			}
			attacker := exec.Command("/bin/sh", "-c", plant)
			attacker.SysProcAttr = &unix.SysProcAttr{Credential: credential(ordinary)}
			attacker.Stdin = strings.NewReader(script)
			if out, err := attacker.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v, %s", about, err, out)
			}
			for _, words := range [][]string{{"create", "x"}, {"features"}, {"--root", dir, "kill", "x"}} {
				cmd := command(self, words...)
				cmd.Dir, cmd.Env = dir, []string{"PATH=" + strings.ReplaceAll(c.path, "DIR", dir)}
				if r := finish(t, cmd); r.code == 0 || r.out != "" || !strings.HasPrefix(r.err, "minirun: ") {
					t.Errorf("%s, a link %v: %q: %v; want an error", about, link, words, r)
				}
			}
		}
	}
	// And one that minirun's own owner has put there is executed.
	dir := openDir(t)
	must(t, errors.Join(copyFile(people, dir+"/minirun"), copyFile(runner, dir+"/minirunc"), os.Chown(dir+"/minirun", ordinary, ordinary), os.Chown(dir+"/minirunc", ordinary, ordinary)))
	if r := finish(t, command(dir+"/minirun", "features")); r.code != 0 || !strings.Contains(r.out, "ociVersionMax") {
		t.Errorf("minirun and minirunc of one user's, executed by root: %v", r)
	}
}

// The container's processes live for a moment, and there are few numbers: by the time that
// one from its list is used, it may be a stranger's. A signal to all of the container's
// reaches no stranger; one that is sent to numbers does.
func recycledNumbers(t *testing.T) {
	const most = "/proc/sys/kernel/pid_max"
	if !newerThan(t, 6, 13) {
		t.Skip("no pid_max for each pid namespace before Linux 6.14: it would be the machine's")
	}
	before, err := os.ReadFile(most)
	must(t, err)
	must(t, os.WriteFile(most, []byte("400"), 0)) // the tests' own namespace's
	defer os.WriteFile(most, before, 0)
	b := newBox(t, "forks")
	b.start()
	b.eventually("tmp/ready", "ready")
	var hit, born atomic.Int64
	var group sync.WaitGroup
	end := make(chan struct{})
	for range 40 {
		group.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				stranger := exec.Command("/bin/sleep", "0.3")
				if stranger.Start() != nil {
					continue // EAGAIN: as many as there are numbers for
				}
				born.Add(1)
				stranger.Wait()
				if status := stranger.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() && status.Signal() == unix.SIGUSR1 {
					hit.Add(1)
				}
			}
		})
	}
	defer group.Wait()
	defer close(end)
	for range rounds(60) {
		if r := minirunc(t, "kill", "--all", b.id, "USR1"); r.code != 0 {
			t.Errorf("kill --all: %v", r)
		}
	}
	time.Sleep(100 * time.Millisecond) // until all that were hit have been waited for
	if n := hit.Load(); n > 0 {
		t.Errorf("kill --all: %d of %d strangers were signalled", n, born.Load())
	}
	for end := time.Now().Add(30 * time.Second); hit.Load() == 0 && time.Now().Before(end); { // as a naive runtime does
		lists, _ := filepath.Glob(ground + "/*" + b.id + "*/cgroup.procs")
		text, err := os.ReadFile(strings.Join(lists, " and "))
		must(t, err)
		time.Sleep(200 * time.Millisecond)
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 1 {
				unix.Kill(pid, unix.SIGUSR1) // ESRCH: nobody has that number now
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	if hit.Load() == 0 {
		t.Errorf("no stranger of %d was reached by its number: the test would not notice", born.Load())
	}
}

// newerThan says whether the kernel is newer than a version.
func newerThan(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	must(t, unix.Uname(&name))
	var a, b int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &a, &b)
	must(t, err)
	return a > major || a == major && b > minor
}

// Two containers, of two directories of states, want the same cgroup. When the first has
// ended, and the second is in the group, what is done to the first reaches nobody.
func namesakes(t *testing.T) {
	other := filepath.Join(openDir(t), "root")
	for _, words := range [][]string{
		{"kill", "--all", "ID", "KILL"}, {"kill", "ID", "KILL"}, {"pause", "ID"}, {"update", "--pids-limit", "1", "ID"}, {"ps", "ID"}, {"exec", "ID", "/probe", "id"}, {"delete", "ID"}, {"delete", "--force", "ID"},
	} {
		first, second := newBox(t, "sleep"), newBox(t, "sleep")
		first.Linux.CgroupsPath, second.Linux.CgroupsPath = "/minirun-same", "/minirun-same"
		first.start()
		pid, err := strconv.Atoi(first.state("pid"))
		must(t, err)
		must(t, unix.Kill(pid, unix.SIGKILL))
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !strings.Contains(minirunc(t, "state", first.id).out, `"stopped"`); {
			time.Sleep(5 * time.Millisecond)
		}
		second.save()
		for _, words := range [][]string{{"create", "--bundle", second.dir, second.id}, {"start", second.id}} {
			if r := minirunc(t, append([]string{"--root", other}, words...)...); r.code != 0 {
				t.Fatalf("%q: %v", words, r)
			}
		}
		call := slices.Clone(words)
		call[slices.Index(call, "ID")] = first.id
		if r := minirunc(t, call...); words[0] == "ps" && strings.Contains(r.out, "/probe") || words[0] == "exec" && r.code == 0 {
			t.Errorf("%q: %v", call, r)
		}
		if r := minirunc(t, "--root", other, "exec", second.id, "/probe", "say", "alive"); r.out != "alive" {
			t.Errorf("after %q of the first: %v; want the second alive", call, r)
		}
		if r := minirunc(t, "--root", other, "delete", "--force", second.id); r.code != 0 {
			t.Errorf("delete: %v", r)
		}
	}
}

// Another user makes a store, or a directory of states, before root does; or owns the
// directory that it is in, and exchanges it while root looks. Nothing in it is believed:
// no hook runs, no process is signalled, nothing that a link leads to is removed or read.
func othersStore(t *testing.T) {
	stranger := exec.Command("sleep", "1000")
	must(t, stranger.Start())
	defer stranger.Wait()
	defer stranger.Process.Kill()
	b, evil := newBox(t, "sleep"), newBox(t, "sleep")
	b.start()
	evil.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/touch", Args: []string{"touch", canary + "/new"}}}}
	evil.save()
	own := b.state("pid")
	text, err := os.ReadFile(filepath.Join("/run/minirun", b.id, "state.json"))
	must(t, err)
	forged := strings.ReplaceAll(string(text), own, strconv.Itoa(stranger.Process.Pid))
	forged = strings.ReplaceAll(forged, b.dir, evil.dir)
	forged = strings.ReplaceAll(forged, `"startTime":`+startTime(t, own), `"startTime":`+startTime(t, strconv.Itoa(stranger.Process.Pid)))
	parent := openDir(t)
	for _, dir := range []string{"theirs/" + b.id, "theirs/containers/" + b.id, "theirs/names"} {
		must(t, os.MkdirAll(filepath.Join(parent, dir), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(parent, "theirs", b.id, "state.json"), []byte(forged), 0o644))
	must(t, os.WriteFile(filepath.Join(parent, "theirs/containers", b.id, "config.json"), []byte("{}"), 0o644))
	for _, link := range []string{"theirs/tmp", "theirs/layers", "theirs/blobs", "theirs/containers/" + b.id + "/upper", "theirs/containers/linked"} {
		must(t, os.Symlink(canary, filepath.Join(parent, link)))
	}
	must(t, os.Symlink(secret, filepath.Join(parent, "theirs/containers", b.id, "log")))
	must(t, exec.Command("/bin/chown", "-Rh", fmt.Sprint(ordinary, ":", ordinary), parent).Run())
	archive := imageTar(t, nil)
	commands := func(dir string) {
		t.Helper()
		for _, words := range [][]string{
			{people, "ps", "-a"}, {people, "logs", b.id}, {people, "rm", "-f", b.id}, {people, "rm", "-f", "linked"}, {people, "import", archive, "x"}, {people, "rmi", "x"},
			{runner, "kill", b.id, "KILL"}, {runner, "kill", "--all", b.id, "KILL"}, {runner, "delete", "--force", b.id}, {runner, "list"},
		} {
			flags := []string{"--root", dir, "--store", dir}
			if words[0] == runner {
				flags = flags[:2]
			}
			r := finish(t, command(words[0], append(flags, words[1:]...)...))
			if strings.Contains(r.out+r.err, "the host's secret") {
				t.Errorf("%q prints what a link leads to: %v", words, r)
			}
			if unix.Kill(stranger.Process.Pid, 0) != nil || dead(stranger.Process.Pid) {
				t.Fatalf("%q has ended a stranger: %v", words, r)
			}
		}
	}
	commands(filepath.Join(parent, "theirs"))
	good := filepath.Join(parent, "good")
	must(t, os.Mkdir(good, 0o700)) // root's own, in a directory that is not
	stop := exchange(t, good, filepath.Join(parent, "theirs"))
	for range rounds(5) {
		commands(good)
	}
	stop()
}

// state is a number in what minirunc knows of a container.
func (b *box) state(name string) string {
	b.t.Helper()
	return strings.TrimSpace(between(minirunc(b.t, "state", b.id).out, `"`+name+`":`, ","))
}

// startTime is when a process began, in ticks: its identity, with its number.
func startTime(t *testing.T, pid string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	must(t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)[19]
}

// dead says whether a process has ended; it may still be there for its parent.
func dead(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(text), ") Z ")
}
