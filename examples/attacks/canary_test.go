package attacks

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
)

// host is all that an attack may not have changed, one line each: every file of
// the canary tree and of minirun's own (content, mode, owner, time, inode, extended attributes), a
// few of the machine's devices and kernel parameters, mounts, processes, cgroups, network devices, our own
// descriptors, and what minirun keeps on disk.
func host() string {
	return strings.Join(slices.Concat(files(canary), files(bin), devices(), parameters(), lines("mount", "/proc/self/mountinfo"),
		processes(), groups(), links(), descriptors(), kept()), "\n")
}

func files(root string) (list []string) {
	filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		var s unix.Stat_t
		if err != nil || unix.Lstat(path, &s) != nil {
			list = append(list, "file "+path+" cannot be read")
			return nil
		}
		var data []byte
		if s.Mode&unix.S_IFMT == unix.S_IFREG { // who opens what an attack has made may wait, or read, for ever
			data, _ = os.ReadFile(path) // none: as if it were empty
		}
		list = append(list, fmt.Sprintf("file %s inode %d mode %o owner %d:%d time %d.%09d %x%s", path, s.Ino, s.Mode, s.Uid, s.Gid, s.Mtim.Sec, s.Mtim.Nsec, sha256.Sum256(data), attributes(path)))
		return nil
	})
	return list
}

// attributes are the extended attributes of a file: capabilities, labels, lists
// of who may what.
func attributes(path string) (text string) {
	names := make([]byte, 4096)
	n, _ := unix.Llistxattr(path, names) // ENOTSUP: as if there were none
	for name := range strings.SplitSeq(string(names[:max(n, 0)]), "\x00") {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(path, name, value); err == nil {
			text += fmt.Sprintf(" %s=%x", name, value[:n])
		}
	}
	return text
}

// devices are those of the machine that runtimes have opened, by mistake, in
// place of a container's.
func devices() (list []string) {
	for _, path := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/console", "/dev/ptmx", "/dev/tty", "/etc/passwd", "/etc/group"} {
		var s unix.Stat_t
		if unix.Lstat(path, &s) != nil {
			continue
		}
		line := fmt.Sprintf("device %s mode %o owner %d:%d number %x", path, s.Mode, s.Uid, s.Gid, s.Rdev)
		if slices.Contains(slices.Collect(maps.Values(hosts)), s.Rdev) { // the times of terminals change with their use
			line += fmt.Sprintf(" times %d.%09d %d.%09d", s.Atim.Sec, s.Atim.Nsec, s.Mtim.Sec, s.Mtim.Nsec)
		}
		list = append(list, line)
	}
	return list
}

// parameters are kernel parameters: those that would run a program of the
// attacker's, and some of each namespace that has its own.
func parameters() (list []string) {
	for _, name := range []string{"kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/domainname", "kernel/msgmax", "kernel/shm_rmid_forced",
		"net/ipv4/ip_forward", "net/ipv4/ping_group_range", "net/ipv4/ip_unprivileged_port_start", "net/ipv4/conf/all/route_localnet",
		"net/ipv4/conf/default/rp_filter", "net/ipv6/conf/all/forwarding", "net/core/somaxconn"} {
		text, _ := os.ReadFile("/proc/sys/" + name) // none: as before
		list = append(list, "parameter "+name+" "+strings.TrimSpace(string(text)))
	}
	return list
}

func lines(kind, path string) (list []string) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		list = append(list, kind+" "+strings.TrimSpace(line))
	}
	return list
}

func processes() (list []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		command, err := os.ReadFile(dir + "/cmdline")
		if err == nil && len(command) > 0 { // else it ended; a zombie
			list = append(list, "process "+filepath.Base(dir)+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return list
}

func groups() (list []string) {
	filepath.WalkDir(ground, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			list = append(list, "cgroup "+path)
		}
		return nil
	})
	return list
}

func links() (list []string) {
	for _, line := range lines("link", "/proc/self/net/dev") {
		name, _, _ := strings.Cut(line, ":")
		list = append(list, name)
	}
	return list
}

func descriptors() (list []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(link, "/proc/") && !strings.HasPrefix(link, "anon_inode:[event") { // the list's own; Go's poller
			list = append(list, "descriptor "+e.Name()+" "+link)
		}
	}
	return list
}

func kept() (list []string) {
	for _, pattern := range []string{"/run/minirun/*", "/var/lib/minirun/containers/*", "/var/lib/minirun/names/*"} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			list = append(list, "kept "+path)
		}
	}
	return list
}

// harm compares two states of the host, giving what was killed some time to end.
func harm(before string, patience time.Duration) string {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if changed := leftovers.Changes(before, host()); changed == "" || time.Now().After(end) {
			return changed
		}
	}
}

// TestCanary: one of each harm is noticed.
func TestCanary(t *testing.T) {
	needRoot(t)
	var sleeper *exec.Cmd
	plain := canary + "/plain"
	info, err := os.Stat(plain)
	must(t, err)
	same := func() error { return os.Chtimes(plain, info.ModTime(), info.ModTime()) }
	text, err := os.ReadFile(plain)
	must(t, err)
	var pipe [2]int
	left := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "left0"}}
	for what, c := range map[string]struct {
		do, undo func() error
		want     string
	}{
		"nothing": {same, same, ""},
		"a file's content": {
			func() error { return os.WriteFile(plain, []byte("THE HOST'S FILE\n"), 0) }, func() error { return os.WriteFile(plain, text, 0) }, "+ file " + plain},
		"a device's mode": {
			func() error { return os.Chmod("/dev/zero", 0o600) }, func() error { return os.Chmod("/dev/zero", 0o666) }, "+ device /dev/zero mode 20600 "},
		"a device's times": {
			func() error { return os.Chtimes("/dev/zero", time.Unix(1, 0), time.Unix(2, 0)) },
			func() error { return os.Chtimes("/dev/zero", quiet, quiet) }, " times 1.000000000 2.000000000"},
		"a file's mode":  {func() error { return os.Chmod(plain, 0o666) }, func() error { return os.Chmod(plain, 0o644) }, " mode 100666 "},
		"a file's owner": {func() error { return os.Chown(plain, 7, 8) }, func() error { return os.Chown(plain, 0, 0) }, " owner 7:8 "},
		"a file's time":  {func() error { return os.Chtimes(plain, time.Time{}, time.Unix(1, 0)) }, same, " time 1.000000000 "},
		"a new file": {
			func() error { return os.Mkdir(canary+"/dir/new", 0o700) }, func() error { return os.Remove(canary + "/dir/new") }, "+ file " + canary + "/dir/new"},
		"the runtime's program": {
			func() error { return os.Rename(runner, runner+".old") }, func() error { return os.Rename(runner+".old", runner) }, "- file " + runner},
		"a mount": {
			func() error { return unix.Mount("tmpfs", canary, "tmpfs", 0, "") }, func() error { return unix.Unmount(canary, 0) }, "+ mount "},
		"a process": {
			func() error { sleeper = exec.Command("sleep", "60"); return sleeper.Start() },
			func() error { sleeper.Process.Kill(); sleeper.Wait(); return nil }, "sleep 60"},
		"a cgroup": {
			func() error { return os.Mkdir(ground+"/left", 0o755) }, func() error { return os.Remove(ground + "/left") }, "+ cgroup " + ground + "/left"},
		"a network device": {
			func() error { return netlink.LinkAdd(left) }, func() error { return netlink.LinkDel(left) }, "+ link left0"},
		"a descriptor": {
			func() error { return unix.Pipe(pipe[:]) }, func() error { unix.Close(pipe[0]); return unix.Close(pipe[1]) }, "+ descriptor "},
		"a container's state": {
			func() error { return os.MkdirAll("/run/minirun/left", 0o700) }, func() error { return os.Remove("/run/minirun/left") }, "+ kept /run/minirun/left"},
		"a kernel parameter": {
			func() error { return unix.Sethostname([]byte("owned")) }, func() error { return unix.Sethostname([]byte("attacked")) }, "+ parameter kernel/hostname owned"},
		"a new pipe": {
			func() error { return unix.Mkfifo(canary+"/pipe", 0o600) }, func() error { return os.Remove(canary + "/pipe") }, "+ file " + canary + "/pipe"},
		"a file's attributes": {
			func() error { return unix.Setxattr(plain, "trusted.owned", []byte("1"), 0) }, func() error { return unix.Removexattr(plain, "trusted.owned") }, " trusted.owned=31"},
		"a parameter of the network": {
			func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0) },
			func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("0"), 0) }, "+ parameter net/ipv4/conf/all/route_localnet 1"},
	} {
		before := host()
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		got := harm(before, 0)
		must(t, c.undo())
		must(t, same())
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("after a change of %s: %q, want %q", what, got, c.want)
		}
	}
}
