package container

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/examples/leftovers"
)

// Containers' root directories, as their processes see them.

// TestDevices: the devices that every container has, those that are asked for,
// and the links.
func TestDevices(t *testing.T) {
	needRoot(t)
	b := newBox(t, "stat /dev/null", "device /dev/null", "device /dev/zero", "device /dev/full", "device /dev/random", "device /dev/urandom", "device /dev/tty",
		"readlink /dev/fd", "readlink /dev/stdin", "readlink /dev/ptmx", "write /dev/null x", "stat /dev/mine", "device /dev/mine", "stat /dev/deep/pipe", "ls /dev")
	mode := os.FileMode(0o640)
	b.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/mine", Type: "c", Major: 1, Minor: 5, FileMode: &mode}, {Path: "/dev/deep/pipe", Type: "p", FileMode: &mode},
	}
	b.prints("Dcrw-rw-rw-\n1:3\n1:5\n1:7\n1:8\n1:9\n5:0\n/proc/self/fd\n/proc/self/fd/0\npts/ptmx\nDcrw-r-----\n1:5\nprw-r-----\n" +
		"deep fd full mine null ptmx pts random stderr stdin stdout tty urandom zero")
}

// TestMasks: a masked file is empty, a masked directory too, whatever is written
// to; a read-only path can be read.
func TestMasks(t *testing.T) {
	needRoot(t)
	b := newBox(t, "cat /secret", "device /secret", "ls /secrets", "mkdir /secrets/x", "cat /shown/file", "write /shown/file x", "write /proc/sys/kernel/hostname x", "cat /proc/sys/kernel/ostype")
	must(t, os.WriteFile(b.rootfs("secret"), []byte("secret"), 0o644))
	for _, dir := range []string{"secrets", "shown"} {
		must(t, os.Mkdir(b.rootfs(dir), 0o755))
		must(t, os.WriteFile(b.rootfs(dir+"/file"), []byte(dir), 0o644))
	}
	b.Linux.MaskedPaths = []string{"/secret", "/secrets", "/missing", "/secret/below"}
	b.Linux.ReadonlyPaths = []string{"/shown", "/proc/sys", "/missing"}
	b.prints("1:3\nerror: mkdir /secrets/x: read-only file system\nshown\nerror: open /shown/file: read-only file system\n" +
		"error: open /proc/sys/kernel/hostname: read-only file system\nLinux")
}

// TestReadOnlyRoot: the root is, what is mounted on it is not.
func TestReadOnlyRoot(t *testing.T) {
	needRoot(t)
	b := newBox(t, "mkdir /new", "mkdir /dev/new", "mkdir /data/new", "ls /data")
	b.Root.Readonly = true
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Source: "data"})
	b.prints("error: mkdir /new: read-only file system\nnew")
}

// TestCopyUp: a tmpfs with tmpcopyup begins with what is below it, links and
// all, and what is written to it stays there. In a user namespace, too.
func TestCopyUp(t *testing.T) {
	commands := []string{"ls /data", "ls /data/dir", "cat /data/dir/file", "cat /data/dir/empty", "readlink /data/link", "stat /data", "stat /data/dir", "stat /data/dir/file", "write /data/dir/file new", "cat /data/dir/file"}
	const want = "dir link\nempty file\ntext\n/etc/passwd\ndtrwxrwxrwx\ndrwxr-x---\nurwxr-xr-x\nnewt"
	make := func(t *testing.T) *box {
		b := newBox(t, commands...)
		must(t, os.MkdirAll(b.rootfs("data/dir"), 0o755))
		must(t, os.WriteFile(b.rootfs("data/dir/file"), []byte("text"), 0o755))
		must(t, os.WriteFile(b.rootfs("data/dir/empty"), nil, 0o644))
		must(t, unix.Mkfifo(b.rootfs("data/pipe"), 0o644)) // left out: opening it could hold us for ever
		must(t, os.Symlink("/etc/passwd", b.rootfs("data/link")))
		must(t, os.Chmod(b.rootfs("data"), 0o777|os.ModeSticky))
		must(t, os.Chmod(b.rootfs("data/dir"), 0o750))
		must(t, os.Chmod(b.rootfs("data/dir/file"), 0o755|os.ModeSetuid))
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}})
		return b
	}
	t.Run("root", func(t *testing.T) {
		needRoot(t)
		b := make(t)
		b.prints(want)
		if text, err := os.ReadFile(b.rootfs("data/dir/file")); string(text) != "text" {
			t.Errorf("the file below is now %q, %v", text, err)
		}
		b.Mounts[len(b.Mounts)-1].Options = append(b.Mounts[len(b.Mounts)-1].Options, "size=4k")
		must(t, os.WriteFile(b.rootfs("data/dir/file"), bytes.Repeat([]byte("x"), 8192), 0o644))
		b.fails("sendfile(")
	})
	t.Run("rootless", func(t *testing.T) {
		b := rootless(make(t))
		if out, err := b.asUser("run"); err != nil || strings.TrimSpace(out) != want {
			t.Errorf("run = %v, %s; want %s", err, out, want)
		}
	})
}

// TestMountOptions: what is asked for is what the kernel says is there.
func TestMountOptions(t *testing.T) {
	needRoot(t)
	b := newBox(t)
	source := t.TempDir()
	must(t, os.Mkdir(source+"/below", 0o755))
	must(t, os.WriteFile(source+"/file", []byte("a file"), 0o644))
	for i, c := range []struct{ options, want string }{
		{"bind", "rw,relatime"},
		{"bind,ro", "ro,relatime"},
		{"bind,ro,rw", "rw,relatime"},
		{"rbind,nosuid,nodev,noexec", "rw,nosuid,nodev,noexec,relatime"},
		{"bind,noatime", "rw,noatime"},
		{"bind,strictatime,nodiratime", "rw,nodiratime"},
		{"bind,strictatime", "rw"},
		{"bind,nosymfollow", "rw,relatime,nosymfollow"},
		{"rbind,rro", "ro,relatime"},
	} {
		at := fmt.Sprintf("/mnt/%d", i)
		b.Mounts = append(b.Mounts, specs.Mount{Destination: at, Source: source, Options: strings.Split(c.options, ",")})
		b.commands("mounted "+at, "cat "+at+"/file")
		got, _ := b.run(Options{})
		line, text, _ := strings.Cut(got, "\n")
		words := strings.Fields(line)
		if !strings.Contains(c.options, "atime") && len(words) > 1 { // then it is the host's
			words[1] = strings.NewReplacer(",noatime", "", ",relatime", "").Replace(words[1])
			c.want = strings.ReplaceAll(c.want, ",relatime", "")
		}
		if len(words) < 2 || words[1] != c.want || text != "a file" {
			t.Errorf("bind mount with %s is %q, want %s", c.options, got, c.want)
		}
	}
	b.Mounts = append(b.Mounts[:3], specs.Mount{Destination: "/a/very/deep/file", Source: source + "/file", Options: []string{"bind", "ro"}},
		specs.Mount{Destination: "/small", Type: "tmpfs", Source: "small", Options: []string{"size=4k", "mode=700"}})
	b.commands("cat /a/very/deep/file", "write /a/very/deep/file x", "stat /small")
	b.prints("a file\nerror: open /a/very/deep/file: read-only file system\ndrwx------")
}

// TestRecursiveReadOnly: rro reaches the mounts below the one that is bound; ro
// does not.
func TestRecursiveReadOnly(t *testing.T) {
	needRoot(t)
	source := t.TempDir()
	must(t, os.Mkdir(source+"/below", 0o755))
	must(t, unix.Mount("tmpfs", source+"/below", "tmpfs", 0, ""))
	defer unix.Unmount(source+"/below", unix.MNT_DETACH)
	for option, want := range map[string]string{"ro": "error: mkdir /mnt/new: read-only file system", "rro": "error: mkdir /mnt/new: read-only file system\nerror: mkdir /mnt/below/new: read-only file system"} {
		b := newBox(t, "mkdir /mnt/new", "mkdir /mnt/below/new")
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/mnt", Source: source, Options: []string{"rbind", option}})
		b.prints(want)
		os.Remove(source + "/below/new")
	}
}

// TestDangling: where a link on the way to a mount point, a device or the working
// directory leads to something missing, that is made inside the root.
func TestDangling(t *testing.T) {
	needRoot(t)
	for _, c := range []struct{ link, to, destination, at string }{
		{"localtime", "/usr/share/zoneinfo/UTC", "/localtime", "/usr/share/zoneinfo/UTC"},
		{"localtime", "usr/zone", "/localtime", "/usr/zone"},
		{"var/run", "/run", "/var/run/a/b", "/run/a/b"},
		{"var/run", "../run", "/var/run", "/run"},
		{"var/run", "../../../../run/y", "/var/run/z", "/run/y/z"}, // not out of the root
		{"tmp/a", "b", "/tmp/a", "/tmp/c"},                         // a chain: see below
		{"tmp/a", "/tmp", "/tmp/a/new", "/tmp/new"},                // not dangling
	} {
		for _, directory := range []bool{true, false} {
			b := newBox(t, "cat "+c.destination+"/file", "cat "+c.at+"/file")
			source := t.TempDir()
			must(t, os.WriteFile(source+"/file", []byte("shown"), 0o644))
			if !directory {
				b.commands("cat "+c.destination, "cat "+c.at)
				source += "/file"
			}
			must(t, os.MkdirAll(filepath.Dir(b.rootfs(c.link)), 0o755))
			must(t, os.Symlink(c.to, b.rootfs(c.link)))
			must(t, os.Symlink("/tmp/c", b.rootfs("tmp/b")))
			b.Mounts = append(b.Mounts, specs.Mount{Destination: c.destination, Source: source, Options: []string{"rbind"}})
			b.prints("shown\nshown")
		}
	}
	b := newBox(t, "cwd", "stat /run/pipe", "stat /run/tmpfs")
	must(t, os.Mkdir(b.rootfs("var"), 0o755))
	must(t, os.Symlink("/run", b.rootfs("var/run")))
	must(t, os.Symlink("/run/here", b.rootfs("here")))
	b.Process.Cwd = "/here"
	b.Linux.Devices = []specs.LinuxDevice{{Path: "/var/run/pipe", Type: "p"}}
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/var/run/tmpfs", Type: "tmpfs", Options: []string{"mode=700"}})
	b.prints("/run/here\nprw-rw-rw-\ndrwx------")
	must(t, os.Remove(b.rootfs("here")))
	must(t, os.Symlink("here", b.rootfs("here")))
	b.fails("too many levels of symbolic links")
}

// TestTmpfsMode: a tmpfs that asks for no mode has that of the directory below it. One
// that is read-only can be mounted in first, and the options may be one string.
func TestTmpfsMode(t *testing.T) {
	needRoot(t)
	b := newBox(t, "stat /set", "stat /sticky", "stat /new", "stat /link/", "stat /ro", "stat /ro/in", "mkdir /ro/x", "mounted /one", "stat /twice", "stat /shown", "stat /dev/own")
	source := t.TempDir()
	for path, mode := range map[string]os.FileMode{b.rootfs("set"): 0o711, b.rootfs("sticky"): 0o777 | os.ModeSticky, b.rootfs("target"): 0o750, source: 0o701} {
		must(t, os.MkdirAll(path, 0o755))
		must(t, os.Chmod(path, mode))
	}
	must(t, os.Symlink("target", b.rootfs("link")))
	tmpfs := func(path string, options ...string) {
		b.Mounts = append(b.Mounts, specs.Mount{Destination: path, Type: "tmpfs", Source: "tmpfs", Options: options})
	}
	tmpfs("/set", "nosuid")
	tmpfs("/sticky")
	tmpfs("/new", "")
	tmpfs("/link")
	tmpfs("/ro", "ro", "mode=700")
	tmpfs("/ro/in")
	tmpfs("/one", "size=64k,nr_inodes=7,mode=700", "")
	tmpfs("/twice", "mode=710")
	tmpfs("/twice")
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/shown", Source: source, Options: []string{"bind"}})
	tmpfs("/shown")
	tmpfs("/dev/own")
	b.prints("drwx--x--x\ndtrwxrwxrwx\ndrwxr-xr-x\ndrwxr-x---\ndrwx------\ndrwxr-xr-x\nerror: mkdir /ro/x: read-only file system\n" +
		"tmpfs rw,relatime\ndrwx--x---\ndrwx-----x\ndrwxr-xr-x")
}

// TestReadOnlyDev: /dev is made read-only when its devices are there, however it comes
// to be; also in a user namespace, where devices are mounts.
func TestReadOnlyDev(t *testing.T) {
	needRoot(t)
	for _, option := range []string{"ro", "rro"} {
		for _, userNS := range []bool{false, true} {
			b := newBox(t, "device /dev/null", "readlink /dev/fd", "device /dev/mine", "mkdir /dev/x", "mkdir /dev/pts/x", "stat /dev/below")
			b.Mounts[1].Options = append(b.Mounts[1].Options, option)
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/dev/below", Type: "tmpfs", Options: []string{"mode=700"}})
			b.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/mine", Type: "c", Major: 1, Minor: 3}}
			if userNS {
				mapped(b)
				b.Linux.Devices[0].Path = "/dev/zero"
				b.Linux.Devices[0].Minor = 5
				b.commands("device /dev/null", "readlink /dev/fd", "print 1:3", "mkdir /dev/x", "mkdir /dev/pts/x", "stat /dev/below")
			}
			b.prints("1:3\n/proc/self/fd\n1:3\nerror: mkdir /dev/x: read-only file system\nerror: mkdir /dev/pts/x: operation not permitted\ndrwx------")
		}
	}
}

// TestVersions: iversion is a flag of mount(2) alone. The mount keeps its own flags.
func TestVersions(t *testing.T) {
	needRoot(t)
	b := newBox(t, "mounted /m", "stat /m", "mounted /n")
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/m", Type: "tmpfs", Options: []string{"iversion", "nosuid", "noexec", "size=1m,mode=700", "sync"}},
		specs.Mount{Destination: "/n", Type: "tmpfs", Options: []string{"iversion", "noiversion", "nodev"}})
	b.prints("tmpfs rw,nosuid,noexec,relatime\ndrwx------\ntmpfs rw,nodev,relatime")
}

// TestMaskedOnce: masked directories share one file system, and a path that is listed
// twice is covered once.
func TestMaskedOnce(t *testing.T) {
	needRoot(t)
	b := newBox(t, "cat /proc/self/mountinfo", "ls /a", "ls /b")
	for _, dir := range []string{"a/x", "b/x", "ro"} {
		must(t, os.MkdirAll(b.rootfs(dir), 0o755))
	}
	must(t, os.WriteFile(b.rootfs("file"), nil, 0o644))
	b.Linux.MaskedPaths = []string{"/missing", "/a", "/b", "/a", "/b/", "a", "/file", "/file"}
	b.Linux.ReadonlyPaths = []string{"/ro", "/ro/"}
	out, _ := b.run(Options{})
	var points, devices []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 4 {
			points = append(points, words[4])
			if words[4] == "/a" || words[4] == "/b" {
				devices = append(devices, words[2])
			}
		}
	}
	if got := strings.Join(points, " "); got != "/ /proc /dev /dev/pts /a /b /file /ro" || len(devices) != 2 || devices[0] != devices[1] {
		t.Errorf("mounts are %s, the masks' file systems %v; want each path once, and one file system\n%s", got, devices, out)
	}
}

// TestSourceFlags: options that set a flag replace those of the source. In a user
// namespace the source's flags stay, and to undo one is an error.
func TestSourceFlags(t *testing.T) {
	needRoot(t)
	source := t.TempDir()
	must(t, unix.Mount("tmpfs", source, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755"))
	defer unix.Unmount(source, unix.MNT_DETACH)
	for options, want := range map[string][2]string{
		"bind":              {"ro,nosuid,noexec", "ro,nosuid,noexec"},
		"rbind,rprivate":    {"ro,nosuid,noexec", "ro,nosuid,noexec"},
		"bind,nosuid,nodev": {"rw,nosuid,nodev", "ro,nosuid,nodev,noexec"},
		"bind,ro":           {"ro", "ro,nosuid,noexec"},
		"bind,relatime":     {"rw", "ro,nosuid,noexec"},
		"bind,nodev,ro,rw":  {"rw,nodev", `option "rw"`},
		"bind,rw":           {"rw,nosuid,noexec", `option "rw"`},
		"bind,suid":         {"ro,noexec", `option "suid"`},
		"bind,exec,nodev":   {"rw,nodev", `option "exec"`},
		"rbind,rrw":         {"rw,nosuid,noexec", `option "rw"`},
		"bind,dev":          {"ro,nosuid,noexec", "ro,nosuid,noexec"},
	} {
		for i, want := range want {
			b := newBox(t, "mounted /m")
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/m", Source: source, Options: strings.Split(options, ",")})
			if i == 1 {
				mapped(b)
			}
			out, _, err := b.try(Options{})
			if err != nil {
				out = err.Error()
			}
			if out != "tmpfs "+want+",relatime" && !(strings.HasPrefix(want, "option") && err != nil && strings.Contains(out, want)) {
				t.Errorf("%s, user namespace %t: %s; want %s", options, i == 1, out, want)
			}
		}
	}
}

// TestBorrowed: a container with a user namespace, but without another namespace that
// belongs to it, sees the host's /sys and the like.
func TestBorrowed(t *testing.T) {
	needRoot(t)
	views := map[specs.LinuxNamespaceType]specs.Mount{
		"network": {Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		"cgroup":  {Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		"ipc":     {Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		"pid":     {Destination: "/proc", Type: "proc", Source: "proc"},
	}
	types := map[specs.LinuxNamespaceType]string{"network": "sysfs", "cgroup": "cgroup2", "ipc": "mqueue", "pid": "proc"}
	for kind, m := range views {
		for _, joined := range []bool{false, true} {
			if joined && kind != "network" {
				continue
			}
			b := newBox(t, "mounted "+m.Destination)
			mapped(b)
			b.Linux.Namespaces = slices.DeleteFunc(b.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
			if joined { // one of the host's root
				other := newBox(t, "sleep")
				c, _, err := other.start(Options{})
				must(t, err)
				b.with(kind, fmt.Sprintf("/proc/%d/ns/%s", c.Pid, map[specs.LinuxNamespaceType]string{"network": "net"}[kind]+strings.TrimPrefix(string(kind), "network")))
			}
			if kind == "cgroup" {
				b.Mounts = append(b.Mounts, views["network"])
			}
			if kind != "pid" {
				b.Mounts = append(b.Mounts, m)
			}
			want := types[kind] + " "
			if m.Options != nil && slices.Contains(m.Options, "ro") {
				want += "ro,nosuid,nodev,noexec"
			}
			if _, err := os.Stat("/dev/mqueue"); kind == "ipc" && err != nil {
				b.fails("open_tree(", `"/dev/mqueue"`, "no such file or directory") // this host has none to show
				continue
			}
			if out, code, err := b.try(Options{}); !strings.HasPrefix(out, want) || code != 0 || err != nil {
				t.Errorf("without a %s namespace of its own (joined: %t): %v, %s, exit code %d; want %s", kind, joined, err, out, code, want)
			}
		}
	}
}

// TestBorrowedRootless: so does that of an ordinary user, whose own child copies the mounts.
func TestBorrowedRootless(t *testing.T) {
	for kind, m := range map[specs.LinuxNamespaceType]specs.Mount{
		"network": {Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		"pid":     {Destination: "/proc", Type: "proc", Source: "proc"},
	} {
		b := rootless(newBox(t, "mounted "+m.Destination))
		b.Linux.Namespaces = slices.DeleteFunc(b.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
		if kind != "pid" {
			b.Mounts = append(b.Mounts, m)
		}
		want := map[specs.LinuxNamespaceType]string{"network": "sysfs ro,nosuid,nodev,noexec", "pid": "proc rw"}[kind]
		if out, err := b.asUser("run"); err != nil || !strings.HasPrefix(out, want) {
			t.Errorf("without a %s namespace: %v, %s; want %s", kind, err, out, want)
		}
	}
}

// A canary is a directory of the host's that no container may touch.
type canary string

func newCanary(t *testing.T) canary {
	dir := t.TempDir()
	for _, d := range []string{"proc", "sys", "dev", "pts", "etc"} {
		must(t, os.Mkdir(dir+"/"+d, 0o700))
		must(t, os.WriteFile(dir+"/"+d+"/null", []byte("the host's "+d), 0o600))
	}
	return canary(dir)
}

// sings is all that there is to know of the canary; of the runtime's program,
// which here is the test's, and of the machine's devices, whatever is not changed
// by those who use them.
func (c canary) sings() string {
	var b strings.Builder
	for _, path := range []string{"/proc/self/exe", "/dev", "/dev/null", "/dev/zero", "/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts"} {
		var s unix.Stat_t
		err := unix.Stat(path, &s)
		fmt.Fprintln(&b, path, s.Ino, s.Mode, s.Uid, s.Gid, s.Nlink, s.Rdev, err)
		if s.Mode&unix.S_IFMT == unix.S_IFREG {
			text, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%x %v\n", sha256.Sum256(text), err)
		}
	}
	filepath.WalkDir(string(c), func(path string, _ fs.DirEntry, err error) error {
		var s unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &s)
		}
		var text []byte
		if s.Mode&unix.S_IFMT == unix.S_IFREG { // what a container has made may be a pipe, or endless
			text, _ = os.ReadFile(path)
		}
		fmt.Fprintln(&b, path, s.Mode, s.Uid, s.Gid, s.Nlink, s.Mtim, s.Ctim, s.Rdev, string(text), err)
		return nil
	})
	return b.String()
}

// TestHostileRoot: links in a root directory that lead out of it lead nowhere
// else than below it. A runtime that opens the paths of the spec as they are
// would mount on, or make files in, the host's directories (CVE-2019-19921,
// CVE-2021-30465, CVE-2025-31133, CVE-2025-52565).
func TestHostileRoot(t *testing.T) {
	needRoot(t)
	host := newCanary(t)
	up := strings.Repeat("../", 20)
	for name, links := range map[string]map[string]string{
		"absolute":  {"proc": string(host) + "/proc", "dev": string(host) + "/dev", "sys": string(host) + "/sys", "etc": string(host) + "/etc"},
		"upwards":   {"proc": up + string(host) + "/proc", "dev": up + string(host) + "/dev", "etc": up + string(host) + "/etc"},
		"target":    {"data": string(host) + "/etc", "deep": string(host)},
		"file":      {"etc/null": string(host) + "/etc/null", "secret": string(host) + "/etc/null"},
		"self":      {"proc": "proc", "data": "/data"},
		"magic":     {"data": "/proc/self/root" + string(host), "deep": "/proc/1/cwd"},
		"root":      {"data": "/", "deep": "/.."},
		"devices":   {"dev/null": string(host) + "/dev/null", "dev/pts": string(host) + "/pts", "dev/console": string(host) + "/dev/null"},
		"dangling":  {"data": string(host) + "/new", "etc": string(host) + "/new"},
		"new names": {"deep/er": string(host) + "/new"},
	} {
		b := newBox(t, "print made")
		for at, to := range links {
			must(t, os.MkdirAll(filepath.Dir(b.rootfs(at)), 0o755))
			must(t, os.Symlink(to, b.rootfs(at)))
		}
		source := t.TempDir()
		b.Mounts = append(b.Mounts,
			specs.Mount{Destination: "/sys", Type: "sysfs", Options: []string{"ro"}},
			specs.Mount{Destination: "/data", Source: source, Options: []string{"bind"}},
			specs.Mount{Destination: "/deep/er/est", Type: "tmpfs"},
			specs.Mount{Destination: "/etc/null", Source: "/dev/null", Options: []string{"bind"}})
		if name == "devices" {
			b.Mounts = b.Mounts[:1]
		}
		b.Linux.MaskedPaths, b.Linux.ReadonlyPaths = []string{"/secret", "/proc/keys"}, []string{"/proc/sys", "/etc"}
		before, mounts := host.sings(), fingerprint("")
		out, _, err := b.try(Options{}) // it may be made or refused
		if err == nil && out != "made" || err != nil && strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: %q, %v", name, out, err)
		}
		if after := host.sings(); after != before {
			t.Errorf("%s: the host has changed:\n%s", name, leftovers.Changes(before, after))
		}
		if after := fingerprint(""); after != mounts {
			t.Errorf("%s: there is left:\n%s", name, leftovers.Changes(mounts, after))
		}
	}
}

// TestExchangedTarget: a mount target's parent that is a directory at one moment
// and a link to the host at the next (CVE-2021-30465). A runtime that first looks
// and then mounts by path would sooner or later mount on the host.
func TestExchangedTarget(t *testing.T) {
	needRoot(t)
	host := newCanary(t)
	b := newBox(t, "print made")
	shared := b.rootfs("shared") // as on a volume that another container has, too
	must(t, os.MkdirAll(shared+"/dir/etc", 0o755))
	must(t, os.Symlink(string(host), shared+"/link"))
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/shared/dir/etc", Type: "tmpfs"}, specs.Mount{Destination: "/shared/dir/new", Type: "tmpfs"})
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, shared+"/dir", unix.AT_FDCWD, shared+"/link", unix.RENAME_EXCHANGE)
			}
		}
	})
	before, mounts := host.sings(), fingerprint("")
	made, rounds := 0, 40
	if n, err := strconv.Atoi(os.Getenv("MINIRUN_ROUNDS")); err == nil { // make races: 1000
		rounds = n
	}
	for range rounds {
		if out, _, err := b.try(Options{}); err == nil && out == "made" {
			made++
		}
	}
	close(stop)
	group.Wait()
	if made == 0 {
		t.Errorf("of %d containers none was made", rounds)
	}
	if after := host.sings(); after != before {
		t.Errorf("the host has changed:\n%s", leftovers.Changes(before, after))
	}
	if after := fingerprint(""); after != mounts {
		t.Errorf("there is left:\n%s", leftovers.Changes(mounts, after))
	}
}

// TestMappedOwner: in an id-mapped mount a file is somebody else's, and what is
// written belongs to the owner outside.
func TestMappedOwner(t *testing.T) {
	needRoot(t)
	source := t.TempDir()
	must(t, os.WriteFile(source+"/file", nil, 0o666))
	b := newBox(t, "stat /mnt/file", "owner /mnt/file")
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/mnt", Source: source, Options: []string{"bind"},
		UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}, GIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 2000, Size: 10}}})
	b.prints("-rw-r--r--\n1000 2000")
}

// TestMappedByJoined: in a mount with the option idmap alone, the owners are those of the
// container's user namespace, also if it joins that one.
func TestMappedByJoined(t *testing.T) {
	needRoot(t)
	source := t.TempDir()
	must(t, os.WriteFile(source+"/file", nil, 0o666))
	must(t, os.Chown(source+"/file", 7, 9))
	other := mapped(newBox(t, "sleep"))
	c, _, err := other.start(Options{})
	must(t, err)
	for _, given := range []bool{false, true} { // engines repeat the maps
		b := mapped(newBox(t, "owner /plain/file", "owner /mapped/file"))
		b.with(specs.UserNamespace, fmt.Sprintf("/proc/%d/ns/user", c.Pid))
		b.Linux.Namespaces = slices.DeleteFunc(b.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
		b.Linux.TimeOffsets = nil
		if !given {
			b.Linux.UIDMappings, b.Linux.GIDMappings = nil, nil
		}
		for at, options := range map[string][]string{"/plain": {"bind"}, "/mapped": {"bind", "idmap"}} {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: at, Source: source, Options: options})
		}
		b.prints("65534 65534\n7 9")
	}
}

// TestInspectedMounts: nothing of the host's is mounted in the container but
// what its spec names.
func TestInspectedMounts(t *testing.T) {
	needRoot(t)
	b := newBox(t, "cat /proc/self/mountinfo")
	out, _ := b.run(Options{})
	var points []string
	for line := range strings.Lines(out) {
		points = append(points, strings.Fields(line)[4])
	}
	if got := strings.Join(points, " "); got != "/ /proc /dev /dev/pts" {
		t.Errorf("mount points are %s", got)
	}
}

// TestDeviceFilter: the kernel asks the filter when a device is opened. What is
// allowed and is not there is ENXIO, what is denied EPERM.
func TestDeviceFilter(t *testing.T) {
	needRoot(t)
	major, minor := int64(241), int64(77) // nobody's
	b := newBox(t, "cat /dev/strange", "cat /dev/null", "write /dev/strange x")
	b.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/strange", Type: "c", Major: major, Minor: minor}}
	b.prints("error: open /dev/strange: operation not permitted\nerror: open /dev/strange: operation not permitted")
	b.Linux.Resources = &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}, {Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "r"}}}
	b.prints("error: open /dev/strange: no such device or address\nerror: open /dev/strange: operation not permitted")
}

// TestDeviceThere: what the image has at a device's path is that device, or an
// error (runtime-spec, config-linux.md, Devices).
func TestDeviceThere(t *testing.T) {
	needRoot(t)
	for name, there := range map[string]struct {
		mode, number int
		fits         bool
	}{
		"the device": {unix.S_IFCHR, int(unix.Mkdev(1, 3)), true}, "another": {unix.S_IFCHR, int(unix.Mkdev(1, 5)), false},
		"another kind": {unix.S_IFBLK, int(unix.Mkdev(1, 3)), false}, "a file": {unix.S_IFREG, 0, false},
	} {
		b := newBox(t, "exit 0")
		must(t, unix.Mknod(b.rootfs("there"), uint32(there.mode)|0o666, there.number))
		b.Linux.Devices = []specs.LinuxDevice{{Path: "/there", Type: "c", Major: 1, Minor: 3}}
		_, p, err := b.start(Options{})
		if err == nil {
			p.Wait()
		}
		if there.fits != (err == nil) || err != nil && !strings.Contains(err.Error(), "what was opened is not the character device 1:3") {
			t.Errorf("%s is there: %v", name, err)
		}
	}
}
