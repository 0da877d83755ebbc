package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// keepsNothing runs minirunc with an open file on which there is a lock, in a directory of
// its own. Afterwards nobody may hold the file, and nobody be in the directory.
func keepsNothing(t *testing.T, words ...string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	lock, err := os.Create(path)
	testbed.Must(t, err)
	testbed.Must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	cmd := called(t, nil, words...)
	cmd.ExtraFiles, cmd.Dir = []*os.File{lock}, dir
	if err := cmd.Run(); err != nil {
		t.Fatalf("minirunc %q: %v, %s", words, err, printed(t, cmd))
	}
	testbed.Must(t, lock.Close())
	again, err := os.Open(path)
	testbed.Must(t, err)
	defer again.Close()
	if err := unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("after minirunc %q, somebody has the caller's file: %v", words, err)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		if to, _ := os.Readlink(link); to == dir {
			name, _ := os.ReadFile(filepath.Dir(link) + "/cmdline")
			t.Errorf("after minirunc %q, %q is in the caller's directory", words, name)
		}
	}
}

// TestCaller: what lives on keeps nothing of the caller's: the program, its monitor, the
// process that drains its terminal, what a hook has left behind.
func TestCaller(t *testing.T) {
	b := newBundle(t, "sleep", "100")
	path := filepath.Join(b, "config.json")
	plain := readFile(t, path)
	daemon := `[{"path": "/bin/sh", "args": ["sh", "-c", "cd /; sleep 100 >/dev/null 2>&1 & echo $! >>` + b + `/daemons"], "env": ["PATH=/bin:/usr/bin"]}]`
	hooks := `{"hooks": {"createRuntime": ` + daemon + `, "poststart": ` + daemon + `, "poststop": ` + daemon + `},`
	for what, text := range map[string]string{
		"plain": plain, "hooks": strings.Replace(plain, "{", hooks, 1),
		"terminal": strings.Replace(plain, `"process": {`, `"process": {"terminal": true,`, 1),
	} {
		testbed.Must(t, os.WriteFile(path, []byte(text), 0o644))
		keepsNothing(t, "run", "--monitor", "-d", "--bundle", b, "caller")
		keepsNothing(t, "exec", "-d", "caller", "sleep", "100")
		keepsNothing(t, "delete", "--force", "caller")
		if what == "terminal" {
			continue // it wants a console socket
		}
		keepsNothing(t, "create", "--bundle", b, "caller")
		keepsNothing(t, "start", "caller")
		keepsNothing(t, "delete", "--force", "caller")
	}
	daemons, _ := os.ReadFile(b + "/daemons")
	if n := len(strings.Fields(string(daemons))); n != 6 {
		t.Errorf("%d hooks have run, want 6", n)
	}
	for _, pid := range strings.Fields(string(daemons)) {
		exec.Command("kill", "-KILL", pid).Run()
	}
}

// A rank is what a process has inherited, or not: see package fresh.
type rank struct {
	personality, umask string
	policy             uint32
	nice               int32
	ioPriority         uintptr
	cpus               unix.CPUSet
}

// rankOf asks the kernel about a process.
func rankOf(t *testing.T, pid int) (r rank) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	r.personality = strings.TrimSpace(readFile(t, dir+"personality"))
	_, r.umask, _ = strings.Cut(readFile(t, dir+"status"), "Umask:\t")
	r.umask, _, _ = strings.Cut(r.umask, "\n")
	attr, err := unix.SchedGetAttr(pid, 0)
	testbed.Must(t, err)
	r.policy, r.nice = attr.Policy, attr.Nice
	r.ioPriority, _, _ = unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
	testbed.Must(t, unix.SchedGetaffinity(pid, &r.cpus))
	return r
}

// TestFresh: what a caller has of an unusual rank does not reach the program, its monitor,
// hooks, or the process that drains a terminal. The test has such a rank on one thread,
// which starts the commands.
func TestFresh(t *testing.T) {
	b := newBundle(t, "sleep", "100")
	path := filepath.Join(b, "config.json")
	daemon := `[{"path": "/bin/sh", "args": ["sh", "-c", "cd /; sleep 100 >/dev/null 2>&1 & echo $! >>` + b + `/daemons"], "env": ["PATH=/bin:/usr/bin"]}]`
	plain := readFile(t, path)
	hooked := strings.Replace(plain, "{", `{"hooks": {"createRuntime": `+daemon+`, "poststart": `+daemon+`, "poststop": `+daemon+`},`, 1)
	terminal := strings.Replace(plain, `"process": {`, `"process": {"terminal": true,`, 1)
	ready := make(chan rank)
	work, done := make(chan *exec.Cmd), make(chan error)
	go func() { // its thread is never used again
		runtime.LockOSThread()
		unix.Unshare(unix.CLONE_FS) // the umask of this thread alone
		unix.Umask(0o077)
		unix.Syscall(unix.SYS_PERSONALITY, 0x0040000, 0, 0) // ADDR_NO_RANDOMIZE
		unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH, Nice: 7}, 0)
		unix.Syscall(unix.SYS_IOPRIO_SET, 1, 0, 3<<13) // IOPRIO_CLASS_IDLE
		unix.SchedSetaffinity(0, &unix.CPUSet{1})
		ready <- rankOf(t, unix.Gettid())
		for cmd := range work {
			done <- cmd.Run()
		}
	}()
	odd := <-ready
	run := func(words ...string) {
		t.Helper()
		cmd := called(t, nil, words...)
		work <- cmd
		if err := <-done; err != nil {
			t.Fatalf("minirunc %q: %v, %s", words, err, printed(t, cmd))
		}
	}
	defer close(work)
	usual := rankOf(t, 1)
	if odd.policy == usual.policy || odd.nice == 0 || odd.umask != "0077" || odd.personality == usual.personality {
		t.Fatalf("the caller's rank is %+v: want another one than %+v", odd, usual)
	}
	look := func(what string, pid int) {
		t.Helper()
		got := rankOf(t, pid)
		if got.personality != "00000000" || got.umask != "0022" || got.policy != 0 || got.nice != 0 || got.ioPriority>>13 == 3 || got.cpus != usual.cpus {
			t.Errorf("%s has the rank %+v: want none of the caller's", what, got)
		}
	}
	pids := func() (all []int) {
		for _, field := range strings.FieldsFunc(minirunc(t, nil, "ps", "--format", "json", "fresh"), func(r rune) bool { return r < '0' || r > '9' }) {
			n, _ := strconv.Atoi(field)
			all = append(all, n)
		}
		return all
	}
	testbed.Must(t, os.WriteFile(path, []byte(hooked), 0o644))
	run("run", "--monitor", "-d", "--bundle", b, "fresh")
	run("exec", "-d", "fresh", "sleep", "100")
	for _, pid := range pids() {
		look("a process of a container", pid)
	}
	look("the monitor", parentOf(t, pids()[0]))
	run("delete", "--force", "fresh")
	run("create", "--bundle", b, "fresh")
	look("a created container", pids()[0])
	run("start", "fresh")
	run("delete", "--force", "fresh")
	daemons := strings.Fields(readFile(t, b+"/daemons"))
	for _, field := range daemons {
		pid, _ := strconv.Atoi(field)
		look("what a hook has left", pid)
		testbed.Must(t, unix.Kill(pid, unix.SIGKILL))
	}
	if len(daemons) != 6 {
		t.Errorf("%d hooks have run, want 6", len(daemons))
	}
	testbed.Must(t, os.WriteFile(path, []byte(terminal), 0o644))
	run("run", "--monitor", "-d", "--bundle", b, "fresh")
	drains := 0
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		if text, _ := os.ReadFile(line); string(text) == "minirunc\x00drain\x00" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(line)))
			look("the process that drains the terminal", pid)
			drains++
		}
	}
	if drains == 0 {
		t.Error("no process drains the terminal")
	}
	run("delete", "--force", "fresh")
}

// parentOf is the parent of a process.
func parentOf(t *testing.T, pid int) (parent int) {
	t.Helper()
	_, text, _ := strings.Cut(readFile(t, fmt.Sprintf("/proc/%d/status", pid)), "PPid:")
	testbed.Must2(fmt.Sscan(text, &parent))(t)
	return parent
}
