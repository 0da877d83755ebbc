package container

import (
	"debug/elf"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
)

// The test binary plays three parts more:
//
//	/bin/program …  the program in the containers (program_test.go)
//	runtime JSON    a runtime in a process of its own, to be traced, killed, or
//	                started by an ordinary user (runtime_test.go)
//	leak WHAT       a package whose tests leave something behind
func TestMain(m *testing.M) {
	part := ""
	if len(os.Args) == 3 {
		part = os.Args[1]
	}
	switch {
	case os.Args[0] == "/bin/program":
		os.Exit(program(os.Args[1:]))
	case part == "runtime":
		os.Exit(runtimeProcess(os.Args[2]))
	case part == "leak":
		os.Exit(guarded(func() int { return leak(os.Args[2]) }, 100*time.Millisecond))
	}
	os.Exit(guarded(m.Run, 2*time.Second))
}

// guarded runs the tests and fails if the host is not what it was, after some
// time for what was killed to end.
func guarded(run func() int, patience time.Duration) int {
	r, w, _ := os.Pipe() // Go's poller opens two descriptors at the first use, for good
	r.Close()
	w.Close()
	before := fingerprint("")
	makeGroup()
	static() // what fails, fails the tests that ask for it
	status := run()
	os.RemoveAll(temporary)
	if h, err := cgroups.Find(); err == nil {
		os.Remove(filepath.Join(h.Mount, groups())) // EBUSY: the comparison will tell
	}
	after := fingerprint("")
	for end := time.Now().Add(patience); after != before && time.Now().Before(end); after = fingerprint("") {
		time.Sleep(10 * time.Millisecond)
	}
	if after != before {
		fmt.Printf("left behind:\n%s\n", changes(before, after))
		return max(status, 1)
	}
	return status
}

// groups is the group below which all tests make theirs: of a name of its own,
// since these tests may run several times at once.
var groups = sync.OnceValue(func() string { return "minirun-test-container-" + strconv.FormatUint(rand.Uint64(), 36) })

// makeGroup makes it, with all controllers handed down: so that the plans of
// several runs of one container are the same.
func makeGroup() {
	h, err := cgroups.Find()
	if err != nil || os.Geteuid() != 0 {
		return
	}
	dir := filepath.Join(h.Mount, groups())
	os.Mkdir(dir, 0o755)
	controllers, _ := os.ReadFile(filepath.Join(h.Mount, "cgroup.controllers"))
	for _, c := range strings.Fields(string(controllers)) {
		for _, d := range []string{h.Mount, dir} {
			os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+c), 0) // EBUSY: what the runtime cannot either
		}
	}
}

// fingerprint is what tests may not change: our descriptors, mounts, network
// devices, children, cgroups, and the namespaces that processes are in; and the
// files below a directory, if one is given.
func fingerprint(dir string) string {
	lines := slices.Concat(descriptors(), mounts(), links(), children(), groupList(), namespacesInUse())
	if dir != "" {
		filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			lines = append(lines, "file "+path)
			return nil // ENOENT: it has just gone
		})
	}
	return strings.Join(lines, "\n")
}

func descriptors() (list []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(link, "/proc/") || strings.HasPrefix(link, "anon_inode:[event") {
			continue // the directory that we are reading, and Go's poller
		}
		list = append(list, "descriptor "+e.Name()+" "+link)
	}
	return list
}

func mounts() (list []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		list = append(list, "mount "+strings.TrimSpace(line))
	}
	return list
}

func links() (list []string) {
	text, _ := os.ReadFile("/proc/self/net/dev")
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			list = append(list, "link "+strings.TrimSpace(name))
		}
	}
	return list
}

// children are our own, and theirs: a container's parent may be gone, but then
// its cgroup or its namespaces are seen.
func children() (list []string) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, pid := range strings.Fields(string(text)) {
			list = append(list, "child "+pid)
		}
	}
	return list
}

// groupList are the cgroups of these tests.
func groupList() (list []string) {
	h, err := cgroups.Find()
	if err != nil {
		return nil
	}
	filepath.WalkDir(filepath.Join(h.Mount, groups()), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			list = append(list, "cgroup "+path)
		}
		return nil
	})
	return list
}

// namespacesInUse are those of processes that our own tests may have started:
// whose program is this binary, or which execute below a test's directory.
func namespacesInUse() (list []string) {
	self, _ := os.Readlink("/proc/self/exe")
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range programs {
		link, err := os.Readlink(exe)
		if err != nil || exe == fmt.Sprintf("/proc/%d/exe", os.Getpid()) || link != self && link != "/bin/program" {
			continue
		}
		if parent := parentOf(filepath.Dir(exe)); parent != 1 && parent != os.Getpid() {
			continue // another run of these tests, at the same time
		}
		ns, _ := os.Readlink(filepath.Join(filepath.Dir(exe), "ns/mnt"))
		list = append(list, "process "+exe+" "+ns)
	}
	return list
}

func parentOf(proc string) (ppid int) {
	text, _ := os.ReadFile(proc + "/status")
	_, after, _ := strings.Cut(string(text), "PPid:")
	fmt.Sscan(after, &ppid)
	return ppid
}

// changes are the lines that are new (+) or gone (-).
func changes(before, after string) string {
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	var list []string
	for _, l := range now {
		if !slices.Contains(old, l) {
			list = append(list, "+ "+l)
		}
	}
	for _, l := range old {
		if !slices.Contains(now, l) {
			list = append(list, "- "+l)
		}
	}
	return strings.Join(list, "\n")
}

// leak leaves one thing behind.
func leak(what string) int {
	var err error
	switch what {
	case "nothing":
	case "descriptor":
		_, err = unix.Open("/", unix.O_PATH, 0)
	case "mount":
		err = unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "")
	case "child":
		err = exec.Command("sleep", "60").Start()
	case "link":
		err = exec.Command("ip", "link", "add", "leak0", "type", "veth").Run()
	case "cgroup":
		var h *cgroups.Hierarchy
		if h, err = cgroups.Find(); err == nil {
			err = os.MkdirAll(filepath.Join(h.Mount, groups(), "leak"), 0o755)
		}
	}
	if err != nil {
		fmt.Println(err)
		return 3
	}
	return 0
}

// TestLeaks: the check above can fail. Each leak is one of a process of its
// own, in namespaces of its own, so that nothing is really left behind.
func TestLeaks(t *testing.T) {
	needRoot(t)
	for what, want := range map[string]string{
		"nothing": "", "descriptor": "+ descriptor", "mount": "+ mount", "child": "+ child", "link": "+ link", "cgroup": "+ cgroup",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "leak", what)
			// Why not make the mount namespace by clone as well? Where the host's mounts are shared, ours would appear there:
			// os/exec makes them private only after an unshare.
			cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
			out, err := cmd.CombinedOutput()
			if what == "link" && cmd.ProcessState.ExitCode() == 3 {
				t.Skipf("no veth device, or no ip(8) to make one with (package iproute2): %s", out)
			}
			if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
				t.Errorf("after leaking a %s: %v, %q; want %q", what, err, out, want)
			}
			if _, group, ok := strings.Cut(string(out), "+ cgroup "); ok {
				dir, _, _ := strings.Cut(group, "\n")
				os.Remove(dir + "/leak")
				os.Remove(dir)
			}
		})
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make containers without a user namespace")
	}
}

// static is the path of a test binary that runs in an empty root directory, in
// a directory of its own where bundles can link to it: a copy of this one or, if
// this one needs a C library, another one that does not. It is made before any
// test runs: a process cloned while a program is being written keeps it open for
// writing until its execve, and until then nobody can execute it (ETXTBSY).
var static = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := elf.Open(self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if temporary, err = os.MkdirTemp("", "minirun-test-"); err != nil {
		return "", err
	}
	path := filepath.Join(temporary, "container.test")
	if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		err = copyFile(self, path)
	} else {
		cmd := exec.Command("go", "test", "-c", "-o", path, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, failed := cmd.CombinedOutput(); failed != nil {
			err = fmt.Errorf("go test -c: %w: %s", failed, out)
		}
	}
	return path, errors.Join(err, os.Chmod(temporary, 0o755)) // also for ordinary users
})

// temporary is the directory of the static test binary.
var temporary string

func staticBinary(t testing.TB) string {
	t.Helper()
	path, err := static()
	must(t, err)
	return path
}
