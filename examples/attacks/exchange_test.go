package attacks

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What is in a place at one moment, and not at the next: the names of a root
// directory that another container has, too, and changes meanwhile.

// rounds is how often a race is run: $MINIRUN_ROUNDS, for make races.
func rounds(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("MINIRUN_ROUNDS")); err == nil {
		return n
	}
	return usual
}

// exchange swaps two names until stop is called.
func exchange(t testing.TB, a, b string) (stop func()) {
	t.Helper()
	must(t, unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE))
	var group sync.WaitGroup
	end := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	return func() { close(end); group.Wait() }
}

// CVE-2019-19921, CVE-2023-28642, CVE-2025-52565, as races. Each name is what it
// should be at one moment, and a link to the host at the next: so that who looks
// first, and then opens, makes or mounts by path, would be on the host sooner or
// later. The host is looked at after it (see TestAttacks).
func exchangedNames(t *testing.T) {
	for name, target := range map[string]string{
		"proc": canary + "/dir", "sys": canary + "/dir", "dev": canary + "/dir",
		"dev/null": canary + "/plain", "dev/console": canary + "/plain", "dev/pts": canary + "/dir",
	} {
		b := newBox(t, "say", "hello")
		file := name == "dev/null" || name == "dev/console"
		if strings.HasPrefix(name, "dev/") { // nothing else is mounted on the image's own /dev
			b.Mounts = append(b.Mounts[:1:1], b.Mounts[2:]...)
		}
		if file {
			b.file(name, "")
		} else {
			must(t, os.MkdirAll(b.rootfs(name), 0o755))
		}
		b.file("masked", "visible")
		b.Linux.MaskedPaths = append(b.Linux.MaskedPaths, "/masked", "/dev/null")
		if name == "dev/null" {
			inUserNamespace(b) // where the host's is mounted on it
			withoutGroup(b)
		}
		b.Process.Terminal = name == "dev/console"
		b.save()
		b.link(name+".link", target)
		stop := exchange(t, b.rootfs(name), b.rootfs(name+".link"))
		made, failed := 0, ""
		for range rounds(20) {
			args := []string{"run", "--bundle", b.dir, b.id}
			server, path := -1, ""
			if b.Process.Terminal {
				server, path = consoleSocket(t)
				args = []string{"create", "--console-socket", path, "--bundle", b.dir, b.id}
			}
			r := minirunc(t, args...)
			if r.code == 0 {
				made++
			} else {
				failed = r.err
				oneLine(t, r.err)
			}
			minirunc(t, "delete", "--force", b.id)
			if server >= 0 {
				unix.Close(server)
			}
		}
		stop()
		t.Logf("/%s: %d made, else %s", name, made, failed)
		if made == 0 {
			t.Errorf("/%s: none was made: %s", name, failed)
		}
	}
}

// withoutGroup leaves out the group of terminals, which not every map has.
func withoutGroup(b *box) {
	for i, m := range b.Mounts {
		if m.Destination == "/dev/pts" {
			b.Mounts[i].Options = m.Options[:5]
		}
	}
}

// GHSA-3q8j-pf29-vwv8. Whatever is in the path's place when it is opened: what is
// mounted there is what is read-only.
func exchangedReadOnly(t *testing.T) {
	b := newBox(t, "cat", "/proc/self/mountinfo")
	b.file("shared/path/file", "")
	b.file("shared/other/file", "")
	b.link("shared/link", "other")
	b.Linux.ReadonlyPaths = []string{"/shared/path"}
	b.save()
	stop := exchange(t, b.rootfs("shared/path"), b.rootfs("shared/link"))
	defer stop()
	for range rounds(40) {
		r := b.run()
		if r.code != 0 {
			t.Errorf("run: %v", r)
		}
		var found []string
		for line := range strings.Lines(r.out) {
			if words := strings.Fields(line); strings.HasPrefix(words[4], "/shared/") {
				found = append(found, words[4]+" "+words[5])
			}
		}
		if len(found) != 1 || !strings.Contains(found[0], " ro,") {
			t.Errorf("mounts of the read-only path: %q, want one, read-only", found)
		}
	}
}

// CVE-2026-41579, CVE-2026-47766. Devices, links and the console go into the
// container's /dev, wherever that is below its root; or there is no container.
func devLink(t *testing.T) {
	up := strings.Repeat("../", 20)
	for _, target := range []string{canary, canary + "/dir", up + canary, "/proc/self/root" + canary, "/proc/self/cwd", canary + "/new", "/inside"} {
		for _, user := range []bool{false, true} {
			b := newBox(t, "say", "hello")
			must(t, os.MkdirAll(b.rootfs("inside"), 0o755))
			var kept []specs.Mount
			for _, m := range b.Mounts {
				if !strings.HasPrefix(m.Destination, "/dev") {
					kept = append(kept, m)
				}
			}
			b.Mounts = kept
			b.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/mine", Type: "c", Major: 1, Minor: 5}, {Path: "/dev/deep/pipe", Type: "p"}}
			if user {
				inUserNamespace(b)
				b.Linux.Devices = b.Linux.Devices[1:]
			}
			b.link("dev", target)
			r := b.run()
			oneLine(t, r.err)
			if (r.out == "hello") != (target == "/inside") {
				t.Errorf("/dev -> %s, user namespace %v: %v", target, user, r)
			}
			if _, err := os.Lstat(b.rootfs("inside/null")); target == "/inside" && err != nil {
				t.Error("the container's devices are not where its /dev leads:", err)
			}
		}
	}
}

// CVE-2019-16884. What is mounted on /proc is not procfs: nothing of ours is
// written there, and what is to be masked is so where procfs is.
func volumeOverProc(t *testing.T) {
	image := imageTar(t, nil)
	for _, path := range []string{"/proc", "/proc/self/attr", "/proc/sys"} {
		if r := minirun(t, "import", "--change", "VOLUME "+path, image, "volume"); r.code != 0 {
			t.Fatalf("import: %v", r)
		}
		if r := minirun(t, "run", "--rm", "volume", "/probe", "mounted", "/proc"); !strings.HasPrefix(r.out, "proc ") {
			t.Errorf("VOLUME %s: on /proc is mounted: %v", path, r)
		}
		if r := minirun(t, "run", "--rm", "volume", "/probe", "cat", "/proc/keys"); r.code != 0 || r.out != "" {
			t.Errorf("VOLUME %s: /proc/keys holds %v", path, r)
		}
		minirun(t, "rmi", "volume")
	}
	if r := minirun(t, "import", image, "volume"); r.code != 0 {
		t.Fatalf("import: %v", r)
	}
	defer minirun(t, "rmi", "volume")
	files := []string{"self/attr/exec", "self/attr/apparmor/exec", "thread-self/attr/exec", "1/attr/exec", "sys/kernel/hostname", "sys/net/ipv4/ping_group_range", "keys", "sysrq-trigger"}
	dir := openDir(t)
	for _, f := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, f), []byte("untouched"), 0o666))
	}
	must(t, os.Symlink(canary+"/plain", filepath.Join(dir, "kcore")))
	must(t, os.Symlink(canary+"/dir", filepath.Join(dir, "scsi")))
	for _, path := range []string{"/proc", "/proc/self", "/proc/self/attr", "/proc/thread-self/attr", "/proc/sys", "/proc/../proc", "/proc/1/attr"} {
		r := minirun(t, "run", "--rm", "-v", filepath.Join(dir, strings.TrimPrefix(filepath.Clean(path), "/proc"))+":"+path, "volume", "/probe", "say", "hello")
		if r.code == 0 && r.out != "hello" {
			t.Errorf("-v over %s: %v", path, r)
		}
		oneLine(t, r.err)
		for _, f := range files {
			if text, err := os.ReadFile(filepath.Join(dir, f)); err != nil || string(text) != "untouched" {
				t.Errorf("-v over %s: %s holds %q, %v: it was written to", path, f, text, err)
			}
		}
	}
}

// CVE-2026-87766. What is missing is made below the container's root, also if a
// directory above it becomes a link to the host meanwhile.
func exchangedParents(t *testing.T) {
	for _, parent := range []string{"shared", "shared/a", "shared/a/b"} {
		b := newBox(t, "say", "hello")
		must(t, os.MkdirAll(b.rootfs("shared/a/b"), 0o777))
		b.file("shared/a/b/plain", "")
		file := filepath.Join(b.dir, "file")
		must(t, os.WriteFile(file, nil, 0o644))
		b.Mounts = append(b.Mounts,
			specs.Mount{Destination: "/shared/a/b/new/deep", Type: "tmpfs", Source: "tmpfs"},
			specs.Mount{Destination: "/shared/a/b/newfile", Type: "bind", Source: file, Options: []string{"bind"}},
			specs.Mount{Destination: "/shared/a/b/plain", Type: "bind", Source: file, Options: []string{"bind"}})
		b.Linux.Devices = []specs.LinuxDevice{{Path: "/shared/a/b/pipe", Type: "p"}, {Path: "/shared/a/b/c/null", Type: "c", Major: 1, Minor: 3}}
		b.Process.Cwd = "/shared/a/b/cwd/deep"
		b.Linux.MaskedPaths = append(b.Linux.MaskedPaths, "/shared/a/b/plain")
		b.Linux.ReadonlyPaths = append(b.Linux.ReadonlyPaths, "/shared/a/b")
		b.save()
		b.link("link", canary)
		must(t, os.MkdirAll(b.rootfs(canary), 0o755)) // where the link leads in the container
		stop := exchange(t, b.rootfs(parent), b.rootfs("link"))
		made, failed := 0, ""
		for range rounds(40) {
			if r := minirunc(t, "run", "--bundle", b.dir, b.id); r.code == 0 {
				made++
			} else {
				failed = r.err
				oneLine(t, r.err)
			}
		}
		stop()
		inside, _ := filepath.Glob(b.rootfs(canary) + "/*")
		t.Logf("/%s: %d made, else %s; where the link leads inside: %q", parent, made, failed, inside)
		if made == 0 {
			t.Errorf("/%s: none was made: %s", parent, failed)
		}
	}
}
