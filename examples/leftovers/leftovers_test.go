package leftovers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// As "leak WHAT" the test binary is a package whose tests leave something behind.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "leak" {
		os.Exit(guard(func() int { return leak(os.Args[2]) }, 100*time.Millisecond))
	}
	os.Exit(Guard(m.Run))
}

// TestOthers: what somebody else mounts meanwhile is not ours. The other is a process
// in the mount namespace from which the tests were started.
func TestOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: no mounts")
	}
	dir := t.TempDir()
	before := List()
	others := func(command ...string) {
		t.Helper()
		cmd := exec.Command("nsenter", append([]string{fmt.Sprintf("--mount=/proc/%d/ns/mnt", os.Getppid())}, command...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v, %s", cmd, err, out)
		}
	}
	others("mount", "-t", "tmpfs", "others", dir)
	defer others("umount", dir)
	if changed := Changes(before, List()); changed != "" {
		t.Errorf("what others have mounted is taken for ours:\n%s", changed)
	}
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
		err = exec.Command("sleep", "1").Start()
	case "orphan":
		err = exec.Command("sh", "-c", "/proc/$PPID/exe leak sleep >/dev/null 2>&1 &").Run()
		for end := time.Now().Add(5 * time.Second); len(orphans()) == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // it is still on its way from sh to us
		}
	case "sleep":
		time.Sleep(time.Second)
	case "link":
		err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "leak0"}})
	case "cgroup":
		err = os.Mkdir(filepath.Join(GroupRoot(), Group()+"-leak"), 0o755)
	}
	if err != nil {
		fmt.Println(err)
		return 3
	}
	return 0
}

// TestLeaks: the look can see. Each leak is one of a process of its own, in
// namespaces of its own where that hides it from others.
func TestLeaks(t *testing.T) {
	for what, want := range map[string]string{"nothing": "", "descriptor": "+ descriptor", "child": "+ child", "orphan": "+ process"} {
		t.Run(what, func(t *testing.T) { leaks(t, what, want, unix.SysProcAttr{}) })
	}
	if os.Geteuid() != 0 {
		t.Skip("no root: no mounts, links and cgroups")
	}
	for what, want := range map[string]string{"mount": "+ mount", "link": "+ link", "cgroup": "+ cgroup"} {
		// Why not make the mount namespace by clone as well? Where the host's mounts are shared, ours would appear there:
		// os/exec makes them private only after an unshare.
		t.Run(what, func(t *testing.T) {
			leaks(t, what, want, unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Unshareflags: unix.CLONE_NEWNS})
		})
	}
}

func leaks(t *testing.T, what, want string, attr unix.SysProcAttr) {
	cmd := exec.Command("/proc/self/exe", "leak", what)
	cmd.SysProcAttr = &attr
	out, err := cmd.CombinedOutput()
	if what == "link" && strings.Contains(string(out), unix.EOPNOTSUPP.Error()) {
		t.Skipf("no network device can be made in this kernel: %s", out)
	}
	if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
		t.Errorf("after leaking a %s: %v, %q; want %q", what, err, out, want)
	}
	if _, group, ok := strings.Cut(string(out), "+ cgroup "); ok {
		dir, _, _ := strings.Cut(group, "\n")
		os.Remove(dir)
	}
}
