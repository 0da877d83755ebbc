package attacks

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What a container has in the places where a runtime works.

// ownDev gives a container a /dev of its own making: a directory that is
// mounted there in place of the tmpfs.
func ownDev(b *box, links map[string]string) {
	b.t.Helper()
	dev := filepath.Join(b.dir, "dev")
	must(b.t, os.Mkdir(dev, 0o755))
	for name, target := range links {
		must(b.t, os.Symlink(target, filepath.Join(dev, name)))
	}
	for i, m := range b.Mounts {
		if m.Destination == "/dev" {
			b.Mounts[i] = specs.Mount{Destination: "/dev", Type: "bind", Source: dev, Options: []string{"rbind"}}
		}
	}
}

// CVE-2025-31133, CVE-2025-62161. The mask would be a way to a kernel parameter.
func nullMask(t *testing.T) {
	b := newBox(t, "device", "c", "1", "3")
	ownDev(b, map[string]string{"null": "/proc/sys/kernel/core_pattern"})
	b.file("masked", "visible")
	b.Linux.MaskedPaths = append(b.Linux.MaskedPaths, "/masked")
	b.Process.Args = []string{"/probe", "cat", "/masked"}
	b.prints("")
	b.Process.Args = []string{"/probe", "mounted", "/masked"}
	if r := b.run(); !strings.HasPrefix(r.out, "tmpfs ro") {
		t.Errorf("on /masked is mounted: %v; want the host's null device, read-only", r)
	}
}

// CVE-2025-31133, of the host's own. What is called /dev/null, whoever has put it
// there, hides a path only if it is the null device; so with the devices that a
// user namespace is shown.
func otherDevices(t *testing.T) {
	over := func(device, other string) {
		must(t, unix.Mount(other, device, "", unix.MS_BIND, ""))
		t.Cleanup(func() { must(t, unix.Unmount(device, 0)) })
	}
	over("/dev/full", "/dev/zero")
	b := inUserNamespace(newBox(t, "say", "hello"))
	b.refused("not the character device 1:7")
	over("/dev/null", "/dev/zero")
	b = newBox(t, "cat", "/masked")
	b.file("masked", "visible")
	b.Linux.MaskedPaths = []string{"/masked"}
	b.prints("") // where nothing of the host's is shown, nothing is asked of it
	ownDev(b, map[string]string{"null": "/tmp/trap"})
	b.refused("not the character device 1:3")
}

// inUserNamespace gives a container a user namespace, with many users.
func inUserNamespace(b *box) *box {
	b.Linux.Namespaces = append(b.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	maps := []specs.LinuxIDMapping{{HostID: 0, Size: 65536}}
	b.Linux.UIDMappings, b.Linux.GIDMappings = maps, maps
	return b
}

// CVE-2026-88265. Standard input is the host's /dev/null or the caller's.
func nullStdio(t *testing.T) {
	b := newBox(t, "sleep")
	ownDev(b, map[string]string{"null": "/tmp/trap"})
	b.file("tmp/trap", "trap")
	b.Process.User = specs.User{UID: 1000, GID: 1000}
	b.start()
	if r := b.exec([]string{"--user", "1000:1000"}, "cat", "/proc/self/fd/0"); r.out != "" {
		t.Errorf("standard input holds: %v", r)
	}
	var s unix.Stat_t
	if err := unix.Stat(b.rootfs("tmp/trap"), &s); err != nil || s.Uid != 0 {
		t.Errorf("the trap belongs to %d (%v); want 0", s.Uid, err)
	}
}

// CVE-2025-52565, CVE-2026-88264. The terminal's end is a descriptor, and the
// place for it is made where it is said to be, or not at all.
func consoleLink(t *testing.T) {
	for target, want := range map[string]string{ // "": it comes to be, and hides what it is mounted on
		canary + "/new": "dev/console", canary + "/plain": "dev/console", "/dev/pts/0": "", "/proc/sys/kernel/core_pattern": "", "/tmp/inside": "",
	} {
		b := newBox(t, "say", "hello")
		ownDev(b, map[string]string{"console": target, "ptmx": canary + "/plain"})
		b.Process.Terminal = true
		b.save()
		server, path := consoleSocket(t)
		b.file("tmp/inside", "")
		r := minirunc(t, "run", "--detach", "--console-socket", path, "--bundle", b.dir, b.id)
		if (r.code == 0) != (want == "") || !strings.Contains(r.err, want) {
			t.Errorf("/dev/console -> %s: %v; want an error with %q", target, r, want)
		}
		oneLine(t, r.err)
		unix.Close(server)
	}
}

// consoleSocket is one for a terminal's master, as engines have it.
func consoleSocket(t *testing.T) (int, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Bind(s, &unix.SockaddrUnix{Name: path}))
	must(t, unix.Listen(s, 1))
	return s, path
}

// CVE-2025-52881, CVE-2025-62596, CVE-2019-16884. Over /proc lies a directory
// that looks like it. A label is either set where the kernel sees it or refused;
// a parameter goes where the kernel has it.
func fakeProc(t *testing.T) {
	files := []string{"self/attr/exec", "self/attr/apparmor/exec", "thread-self/attr/exec", "thread-self/attr/apparmor/exec", "1/attr/exec", "sys/kernel/msgmax", "sys/net/ipv4/ip_forward", "sysrq-trigger"}
	fake := func(b *box, destination string) func() {
		dir := filepath.Join(b.dir, "fake")
		for _, f := range files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, f), []byte("untouched"), 0o666))
		}
		b.Mounts = append(b.Mounts, specs.Mount{Destination: destination, Type: "bind", Source: filepath.Join(dir, strings.TrimPrefix(destination, "/proc")), Options: []string{"rbind"}})
		return func() {
			t.Helper()
			for _, f := range files {
				if text, err := os.ReadFile(filepath.Join(dir, f)); err != nil || string(text) != "untouched" {
					t.Errorf("over %s, %s holds %q, %v: it was written to", destination, f, text, err)
				}
			}
		}
	}
	for _, destination := range []string{"/proc", "/proc/sys", "/proc/self/attr", "/proc/thread-self/attr"} {
		b := newBox(t, "say", "hello")
		untouched := fake(b, destination)
		b.Linux.Sysctl = map[string]string{"kernel.msgmax": "12345"}
		b.run() // may fail: /proc/self is a link to nowhere before the program is there
		untouched()
		b.Linux.Sysctl = nil
		b.Process.ApparmorProfile = "attacked"
		if r := b.run(); r.code == 0 && os.Getenv("APPARMOR") == "" {
			t.Errorf("over %s: a profile that does not exist was set: %v", destination, r)
		}
		untouched()
	}
	// The parameter does arrive.
	b := newBox(t, "cat", "/real/sys/kernel/msgmax")
	fake(b, "/proc/sys")
	b.Linux.Sysctl = map[string]string{"kernel.msgmax": "12345"}
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/real", Type: "proc", Source: "proc"})
	b.prints("12345")
}

// CVE-2019-19921, CVE-2023-27561. /proc leads through /sys to another directory.
// With procfs there, and then sysfs over the link, nothing that is to be masked
// or read-only would be found at its path.
func hiddenLink(t *testing.T) {
	for _, links := range []map[string]string{
		{"sys/link": "/real", "proc": "sys/link"},
		{"proc/link": "/real", "sys": "proc/link"},
		{"dev/link": "/real", "proc": "dev/link"},
		{"proc": "real"},
		{"sys": "/real"},
	} {
		b := newBox(t, "cat", "/real/sys/kernel/core_pattern")
		must(t, os.MkdirAll(b.rootfs("real"), 0o755))
		for path, target := range links {
			b.link(path, target)
		}
		b.refused("a link, where what the kernel shows is to be mounted")
	}
}

// CVE-2026-115521. Nothing below the container's /proc says what becomes
// read-only.
func fakeSelfFd(t *testing.T) {
	b := newBox(t, "write", "/etc/file", "owned")
	b.file("etc/file", "")
	b.file("elsewhere/file", "")
	for _, fd := range []string{"3", "4", "5", "6", "7", "8", "9", "10"} {
		b.link("proc/self/fd/"+fd, "/elsewhere")
		b.link("proc/thread-self/fd/"+fd, "/elsewhere")
	}
	b.Root.Readonly = true
	b.Mounts = nil
	b.Linux.MaskedPaths, b.Linux.ReadonlyPaths = nil, nil
	if r := b.run(); !strings.Contains(r.out, "read-only file system") {
		t.Errorf("writing below a read-only root: %v", r)
	}
}

// CVE-2022-0492. There is no cgroup version 1 to be mounted.
func releaseAgent(t *testing.T) {
	b := newBox(t, "mounted", "/sys/fs/cgroup")
	if r := b.run(); !strings.HasPrefix(r.out, "cgroup2 ") {
		t.Errorf("on /sys/fs/cgroup is mounted: %v; want cgroup2", r)
	}
	for _, option := range []string{"memory", "rdma", "release_agent=/owned", "name=evil", "all"} {
		b := newBox(t, "say", "hello")
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{option}})
		b.refused("fsconfig(<fs>, FSCONFIG_SET_")
	}
}

// A container that may write to its cgroup can make more of them, and must not
// be able to make itself impossible to remove.
func deepCgroups(t *testing.T) {
	b := newBox(t, "sleep")
	for i, m := range b.Mounts {
		if m.Destination == "/sys/fs/cgroup" {
			b.Mounts[i].Options = []string{"nosuid", "noexec", "nodev"}
		}
	}
	b.start()
	if r := b.exec(nil, "deepen", "/sys/fs/cgroup", "30", "250"); r.out != "done" {
		t.Errorf("exec: %v", r)
	}
	if r := minirunc(t, "delete", "--force", b.id); r.code != 0 {
		t.Errorf("delete --force: %.300q", r.err)
	}
}

// So with directories, of which there may be more than a process can open.
func deepDirectories(t *testing.T) {
	if r := importImage(t, "deep", nil); r.code != 0 {
		t.Fatalf("import: %v", r)
	}
	defer minirun(t, "rmi", "deep")
	if r := minirun(t, "run", "--name", "deep", "deep", "/probe", "deepen", "/dev/shm/../..", "1000", "9"); r.out != "done" {
		t.Fatalf("run: %v", r)
	}
	cmd := exec.Command("/bin/sh", "-c", "ulimit -n 128; exec "+people+" rm deep")
	if r := finish(t, cmd); r.code != 0 {
		t.Errorf("rm: %.300q", r.err)
	}
}

// A detached container's log is its own file. Whoever looks at it neither reads
// what was never written, nor waits for the container to let him.
func endlessLog(t *testing.T) {
	if r := importImage(t, "endless", nil); r.code != 0 {
		t.Fatalf("import: %v", r)
	}
	defer minirun(t, "rmi", "endless")
	if r := minirun(t, "run", "-d", "--name", "endless", "endless", "/probe", "endless"); r.code != 0 {
		t.Fatalf("run: %v", r)
	}
	defer minirun(t, "rm", "-f", "endless")
	logs := func(want string, args ...string) result {
		t.Helper()
		var r result
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if r = minirun(t, append([]string{"logs", "endless"}, args...)...); strings.Contains(r.out+r.err, want) {
				break
			}
		}
		r.out = strings.TrimSpace(strings.ReplaceAll(r.out, "\x00", "")) // the rest of a block
		return r
	}
	if r := logs("last", "--tail=1"); r.code != 0 || r.out != "last" {
		t.Errorf("logs --tail=1: %v", r)
	}
	if r := logs("last"); r.code != 0 || r.out != "first\nlast" {
		t.Errorf("logs: %v", r)
	}
	if r := minirun(t, "exec", "endless", "/probe", "write", "/tmp/lease", "now"); r.out != "written" {
		t.Errorf("exec: %v", r)
	}
	start := time.Now()
	if r := logs("lease"); r.code == 0 || !strings.Contains(r.err, "has a lease on it") || time.Since(start) > 20*time.Second {
		t.Errorf("logs, with a lease: after %v, %v", time.Since(start), r)
	}
}

// The group of an exec is one below the container's, wherever dots lead.
func otherCgroup(t *testing.T) {
	b := newBox(t, "sleep")
	b.start()
	for _, path := range []string{"..", "/../../..", "../tests", "/sys/fs/cgroup", "a/../../../tests"} {
		if r := b.exec([]string{"--cgroup", path}, "cat", "/proc/self/cgroup"); r.code == 0 && !strings.HasSuffix(r.out, "0::/") {
			t.Errorf("exec --cgroup %s: %v; want the container's own, or none", path, r)
		}
	}
}

// CVE-2023-25809. Without a cgroup namespace what is to be read-only is; and in
// a user namespace, where the kernel mounts none then, there is no container.
func cgroupReadOnly(t *testing.T) {
	for _, user := range []bool{false, true} {
		b := newBox(t, "write", "/sys/fs/cgroup/cgroup.procs", "1")
		var kept []specs.LinuxNamespace
		for _, n := range b.Linux.Namespaces {
			if n.Type != specs.CgroupNamespace {
				kept = append(kept, n)
			}
		}
		b.Linux.Namespaces = kept
		if user {
			inUserNamespace(b)
		}
		if r := b.run(); !strings.Contains(r.out, "read-only file system") && (!user || r.code == 0) {
			t.Errorf("user namespace %v: writing to cgroup.procs: %v", user, r)
		}
	}
}

// CVE-2025-24965. Files that minirun adds to an image's go beside the image's
// links, not through them.
func etcLink(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"etc": {{Name: "etc", Typeflag: tar.TypeSymlink, Linkname: canary}},
		"files": {{Name: "etc", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "etc/hosts", Typeflag: tar.TypeSymlink, Linkname: canary + "/plain"},
			{Name: "etc/hostname", Typeflag: tar.TypeSymlink, Linkname: canary + "/new"}, {Name: "etc/resolv.conf", Typeflag: tar.TypeLink, Linkname: "etc/hosts"},
			{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: canary + "/secret"}},
		"up":   {{Name: "../../../../../../../srv/canary/new", Typeflag: tar.TypeReg}, {Name: "/srv/canary/new", Typeflag: tar.TypeReg}},
		"slip": {{Name: "out", Typeflag: tar.TypeSymlink, Linkname: canary}, {Name: "out/new", Typeflag: tar.TypeReg}},
		"hard": {{Name: "out", Typeflag: tar.TypeLink, Linkname: "../../../../../../../srv/canary/plain"}, {Name: "out", Typeflag: tar.TypeReg}},
	} {
		imported := importImage(t, "hostile-"+name, entries)
		if imported.code == 0 {
			if r := minirun(t, "run", "--rm", "hostile-"+name, "/probe", "say", "hello"); r.out != "hello" {
				t.Errorf("image %s: %v", name, r)
			}
		} else {
			oneLine(t, imported.err[strings.LastIndex(imported.err, "\n")+1:]) // before it is told what is unpacked
		}
		if r := minirun(t, "rmi", "hostile-"+name); r.code != imported.code {
			t.Errorf("rmi %s: %v", name, r)
		}
	}
}

// importImage makes an image of the probe and a few entries more.
func importImage(t testing.TB, name string, entries []tar.Header) result {
	t.Helper()
	return minirun(t, "import", imageTar(t, entries), name)
}

// imageTar is such an archive; texts are regular files, name and text.
func imageTar(t testing.TB, entries []tar.Header, texts ...[2]string) string {
	t.Helper()
	program, err := os.ReadFile(prober)
	must(t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: "probe", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}))
	_, err = w.Write(program)
	must(t, err)
	for _, e := range entries {
		must(t, w.WriteHeader(&e))
	}
	for _, file := range texts {
		must(t, w.WriteHeader(&tar.Header{Name: file[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(file[1]))}))
		_, err := w.Write([]byte(file[1]))
		must(t, err)
	}
	must(t, w.Close())
	path := filepath.Join(openDir(t), "image.tar")
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// CVE-2021-41103. Images have setuid programs, configurations have secrets: no
// other user of the host gets at either.
func otherUsers(t *testing.T) {
	if r := importImage(t, "private", nil); r.code != 0 {
		t.Fatalf("import: %v", r)
	}
	defer minirun(t, "rmi", "private")
	r := minirun(t, "run", "-d", "--name", "private", "-e", "PASSWORD=secret", "private", "/probe", "sleep")
	defer minirun(t, "rm", "-f", "private")
	if r.code != 0 {
		t.Fatalf("run: %v", r)
	}
	seen := 0
	for _, dir := range []string{"/run/minirun", "/var/lib/minirun"} {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			must(t, err)
			cmd := exec.Command("/usr/bin/test", "-r", path, "-o", "-x", path, "-o", "-w", path)
			if d.Type()&os.ModeSymlink != 0 {
				return nil // its target is another line
			}
			cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential(ordinary)}
			if cmd.Run() == nil {
				t.Errorf("%s can be read, written or executed by other users", path)
			}
			seen++
			return nil
		})
	}
	if seen < 20 {
		t.Errorf("only %d files were looked at", seen)
	}
}
