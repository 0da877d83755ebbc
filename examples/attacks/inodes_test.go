package attacks

import (
	"archive/tar"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An inode is the host's or the container's, whatever the path to it: who may change
// its mode, owner and times through one mount has changed it for all. So the
// container's root gets at none of the host's, but through mounts that are read-only.

const masked = "/proc/keys" // a file that is hidden

// untouched says whether the host's devices are what they were, and makes them so.
func untouched(t *testing.T, what, before string) {
	t.Helper()
	after := strings.Join(devices(), "\n")
	if after == before {
		return
	}
	t.Errorf("%s has changed the host's devices:\n%s\nthey were\n%s", what, after, before)
	for name := range hosts { // the world's own: see ownDevices
		must(t, os.Chown("/dev/"+name, 0, 0))
		must(t, os.Chmod("/dev/"+name, 0o666))
		must(t, os.Chtimes("/dev/"+name, quiet, quiet))
	}
}

// Every way to a device that a bundle's container has, as its program and as one that
// enters: its descriptors are the host's null device, as engines give it.
func hostDevices(t *testing.T) {
	before := strings.Join(devices(), "\n")
	for kind, change := range map[string]func(*box){
		"a container":       func(*box) {},
		"a user namespace":  func(b *box) { inUserNamespace(b) },
		"without CAP_MKNOD": func(*box) {},
		"no masks":          func(b *box) { b.Linux.MaskedPaths = nil },
		"a /dev of its own": func(b *box) { ownDev(b, map[string]string{"null": "/tmp/trap"}); b.file("tmp/trap", "") },
		"a null among its devices": func(b *box) {
			b.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/null", Type: "c", Major: 1, Minor: 3}}
		},
	} {
		b := newBox(t, "spoil", masked)
		b.Process.Capabilities = inEverySet("CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE")
		change(b)
		b.save()
		call := func(args ...string) *exec.Cmd {
			if kind == "without CAP_MKNOD" {
				return command("/usr/bin/setpriv", append([]string{"--bounding-set=-mknod", runner}, args...)...)
			}
			return command(runner, args...)
		}
		if r := finish(t, call("run", "--bundle", b.dir, b.id)); r.code != 0 || !strings.Contains(r.out, "/proc/self/fd/0") {
			t.Errorf("%s: %v; want success, and standard input a device", kind, r)
		}
		untouched(t, kind, before)
		b.Process.Args = []string{"/probe", "sleep"}
		b.save()
		if r := finish(t, call("run", "--detach", "--bundle", b.dir, b.id)); r.code != 0 {
			t.Errorf("%s: %v", kind, r)
			continue
		}
		for _, flag := range []string{"--insulate=false", "--detach"} {
			if err := call("exec", flag, b.id, "/probe", "spoil", masked).Run(); err != nil { // its descriptors 0, 1 and 2 are the host's null device
				t.Errorf("%s: exec %s: %v", kind, flag, err)
			}
			time.Sleep(100 * time.Millisecond) // --detach does not wait
			untouched(t, kind+": exec "+flag, before)
		}
	}
}

// The containers of images, root's and an ordinary user's, and detached ones.
func hostDevicesOfImages(t *testing.T) {
	before := strings.Join(devices(), "\n")
	for who, cmd := range map[string]func(args ...string) result{
		"root":   func(args ...string) result { return minirun(t, args...) },
		"a user": func(args ...string) result { return finish(t, asUser(t, people, args...)) },
	} {
		if r := cmd("import", imageTar(t, nil), "spoiler"); r.code != 0 {
			t.Fatalf("import: %v", r)
		}
		spoil := []string{"/probe", "spoil", masked, "/proc/timer_list", "/proc/kcore"}
		if r := cmd(append([]string{"run", "--rm", "spoiler"}, spoil...)...); r.code != 0 || !strings.Contains(r.out, masked) {
			t.Errorf("%s: run: %v; want success, and a masked file that is a device", who, r)
		}
		untouched(t, who+": run", before)
		if r := cmd("run", "--rm", "spoiler", "/probe", "use", masked, "/dev/null", "/proc/self/fd/0"); r.out != "used" {
			t.Errorf("%s: the null device cannot be used: %v", who, r)
		}
		cmd("run", "-d", "--name", "spoilt", "spoiler", "/probe", "sleep")
		for _, flag := range []string{"-i", "-d"} {
			if r := cmd(append([]string{"exec", flag, "spoilt"}, spoil...)...); r.code != 0 {
				t.Errorf("%s: exec %s: %v", who, flag, r)
			}
			time.Sleep(100 * time.Millisecond)
			untouched(t, who+": exec "+flag, before)
		}
		if r := cmd(append([]string{"exec", "spoilt"}, spoil...)...); r.code != 0 || !strings.Contains(r.out, "/proc/self/fd/0") {
			t.Errorf("%s: exec: %v; want success, and standard input a device", who, r)
		}
		untouched(t, who+": exec", before)
		cmd("rm", "-f", "spoilt")
		cmd("rmi", "spoiler")
	}
}

// Who listens at a null device of his own does not hear the host use its.
func hostUses(t *testing.T) {
	stop := make(chan bool)
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if f, err := os.OpenFile("/dev/null", os.O_WRONLY, 0); err == nil {
				f.Write([]byte("x"))
				f.Close()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	b := newBox(t, "sleep")
	b.start()
	for _, path := range []string{masked, "/dev/null", "/proc/self/fd/0"} {
		for what, r := range map[string]result{"exec": b.exec(nil, "hear", path), "run": newBox(t, "hear", path).run()} {
			if r.out != "nothing" {
				t.Errorf("%s: at %s the container hears: %v; want nothing", what, path, r)
			}
		}
	}
}

// The modes of all files in a container are those that are meant, whatever the caller's
// umask: with 077, a user in it would not get through its root directory.
func callerUmask(t *testing.T) {
	volume := openDir(t)
	masked := func(umask, program string, args ...string) result {
		t.Helper()
		cmd := command("/bin/sh", append([]string{"-c", "umask " + umask + `; exec "$0" "$@"`, program}, args...)...)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=/run/nobody") // a socket in the container, too
		return finish(t, cmd)
	}
	tar := imageTar(t, []tar.Header{{Name: "deep/in/it/file", Typeflag: tar.TypeReg, Mode: 0o644}})
	want := map[string]string{}
	for _, umask := range []string{"022", "0", "077"} {
		if r := masked(umask, people, "import", tar, "umask"); r.code != 0 {
			t.Fatalf("import: %v", r)
		}
		b := newBox(t, "modes")
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/a/b", Type: "bind", Source: volume, Options: []string{"bind"}})
		b.Process.Cwd = "/c/d"
		b.save()
		for what, r := range map[string]result{
			"an image's":           masked(umask, people, "run", "--rm", "-v", volume+":/a/b", "-w", "/c/d", "umask", "/probe", "modes"),
			"an image's, a user's": masked(umask, people, "run", "--rm", "-u", "1000", "umask", "/probe", "modes"),
			"a bundle's":           masked(umask, runner, "run", "--bundle", b.dir, b.id),
		} {
			if r.code != 0 || want[what] == "" && strings.Contains(r.out, "permission denied") {
				t.Errorf("%s, umask %s: %v", what, umask, r)
			}
			if want[what] == "" {
				want[what] = r.out
			}
			if left := leftovers.Changes(want[what], r.out); left != "" {
				t.Errorf("%s, with the umask %s instead of 022:\n%s", what, umask, left)
			}
		}
		if r := minirun(t, "rmi", "umask"); r.code != 0 {
			t.Errorf("rmi: %v", r)
		}
	}
}

// A file for the process id is made where a regular file may be, and nowhere else; what
// others have laid beside it stays.
func pidFiles(t *testing.T) {
	dir := openDir(t)
	fifo, link, file := dir+"/fifo", dir+"/link", dir+"/file"
	must(t, unix.Mkfifo(fifo, 0o600))
	must(t, os.Symlink(canary+"/plain", link))
	must(t, os.Mkdir(dir+"/dir", 0o755))
	must(t, os.WriteFile(file, []byte("old"), 0o600))
	must(t, os.WriteFile(file+".new", []byte("a stranger's"), 0o600))
	for _, path := range []string{"/dev/null", fifo, link, dir + "/dir", file} {
		for _, args := range [][]string{{"create"}, {"run", "--detach"}} {
			b := newBox(t, "sleep")
			b.save()
			before, err := os.Lstat(path)
			must(t, err)
			r := minirunc(t, append(args, "--pid-file", path, "--bundle", b.dir, b.id)...)
			after, err := os.Lstat(path)
			must(t, err)
			if path == file {
				text, _ := os.ReadFile(file)
				if _, err := strconv.Atoi(string(text)); r.code != 0 || err != nil || after.Mode() != 0o644 {
					t.Errorf("%s --pid-file %s: %v; it holds %q, mode %v", args[0], path, r, text, after.Mode())
				}
			} else if r.code == 0 || !os.SameFile(before, after) || !strings.Contains(r.err, "not a regular file") {
				t.Errorf("%s --pid-file %s: %v; the file is %v, was %v", args[0], path, r, after.Mode(), before.Mode())
			}
		}
	}
	if text, err := os.ReadFile(file + ".new"); string(text) != "a stranger's" {
		t.Errorf("%s.new holds %q, %v", file, text, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 5 {
		t.Errorf("left: %v", left)
	}
}
