package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: who is not root cannot give a directory away")
	}
}

// TestOwners: who may own, or write to, a part of the way, and the directory itself.
func TestOwners(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		change func(way, dir string) error // way is above dir
		want   string                      // of the error; "" for none
	}{
		"root's": {func(way, dir string) error { return nil }, ""},
		"group above": {func(way, dir string) error {
			return errors.Join(os.Chown(way, 0, 50), os.Chmod(way, 0o775|os.ModeSetgid))
		}, ""},
		"sticky above":           {func(way, dir string) error { return os.Chmod(way, 0o777|os.ModeSticky) }, ""},
		"everybody's above":      {func(way, dir string) error { return os.Chmod(way, 0o777) }, "everybody can exchange what is in "},
		"another's above":        {func(way, dir string) error { return os.Chown(way, 1000, 1000) }, "/way is user 1000's, who can exchange what is in it"},
		"another's sticky above": {func(way, dir string) error { return errors.Join(os.Chown(way, 1000, 0), os.Chmod(way, 0o1777)) }, "/way is user 1000's"},
		"another's":              {func(way, dir string) error { return os.Chown(dir, 1000, 1000) }, "it is user 1000's"},
		"group writes":           {func(way, dir string) error { return os.Chmod(dir, 0o770) }, "others may write to it (mode 0770)"},
		"everybody writes":       {func(way, dir string) error { return os.Chmod(dir, 0o1777) }, "others may write to it (mode 0777)"},
		"a file":                 {func(way, dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			must(t, os.Chmod(top, 0o755))
			way := filepath.Join(top, "way")
			dir := filepath.Join(way, "dir")
			must(t, os.MkdirAll(dir, 0o700))
			must(t, c.change(way, dir))
			for what, open := range map[string]func(string) (*Dir, error){"Open": States.Open, "Make": Store.Make} {
				d, err := open(dir)
				if err == nil {
					d.Close()
				}
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s() = %v, want %q", what, err, c.want)
				}
			}
		})
	}
}

// TestLinksOnTheWay: root's links are followed, as /var/run -> /run is, and other users' are
// not.
func TestLinksOnTheWay(t *testing.T) {
	needRoot(t)
	top := t.TempDir()
	must(t, os.Chmod(top, 0o755))
	must(t, os.MkdirAll(top+"/a/real", 0o755))
	for link, target := range map[string]string{
		"absolute": top + "/a", "relative": "a", "upwards": "a/../a/", "chain": "absolute", "last": "a/real", "loop": "loop",
	} {
		must(t, os.Symlink(target, top+"/"+link))
	}
	must(t, os.Symlink("a", top+"/others"))
	must(t, os.Lchown(top+"/others", 1000, 1000))
	for path, want := range map[string]string{
		"absolute/real": "", "relative/real": "", "upwards/real": "", "chain/real": "", "last": "",
		"loop/real": "too many levels of symbolic links", "others/real": "/others is user 1000's", "others": "/others is user 1000's", "missing/real": "no such file",
	} {
		d, err := States.Open(top + "/" + path)
		if err == nil {
			if !d.Is(".", d) || !samePath(t, d, top+"/a/real") {
				t.Errorf("%s leads elsewhere than to a/real", path)
			}
			d.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Open(%s) = %v, want %q", path, err, want)
		}
	}
	if _, err := States.Open(top + "/missing/real"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is missing: %v, want %v", err, fs.ErrNotExist)
	}
}

func samePath(t *testing.T, d *Dir, path string) bool {
	there, err := os.Stat(path)
	must(t, err)
	here, err := d.Stat()
	must(t, err)
	return os.SameFile(here, there)
}

// TestExchangedWay: another user exchanges a directory on the way, in a loop, with one of
// root's that is a trap. Whatever is opened is not the trap.
func TestExchangedWay(t *testing.T) {
	needRoot(t)
	top := t.TempDir()
	must(t, os.Chmod(top, 0o755))
	must(t, os.MkdirAll(top+"/way/dir", 0o755))
	must(t, os.MkdirAll(top+"/trap/dir", 0o755))
	must(t, os.Symlink(top+"/trap", top+"/link"))
	must(t, os.Lchown(top+"/link", 1000, 1000))
	stop := atomic.Bool{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() { // as whoever owns the directory above can
			unix.Renameat2(unix.AT_FDCWD, top+"/way", unix.AT_FDCWD, top+"/link", unix.RENAME_EXCHANGE)
		}
	}()
	opened, refused := 0, 0
	for range 3000 {
		d, err := States.Open(top + "/way/dir")
		if err != nil {
			refused++
			continue
		}
		if samePath(t, d, top+"/trap/dir") {
			t.Fatal("opened the trap by another user's link")
		}
		d.Close()
		opened++
	}
	stop.Store(true)
	<-done
	if opened == 0 || refused == 0 {
		t.Errorf("opened %d times, refused %d times: nothing was exchanged", opened, refused)
	}
}

// TestRead: only regular files are read, up to a limit, and through no link.
func TestRead(t *testing.T) {
	top := t.TempDir()
	d, err := Store.Open(top)
	must(t, err)
	defer d.Close()
	must(t, os.WriteFile(top+"/file", []byte("text"), 0o600))
	must(t, os.Symlink("file", top+"/link"))
	must(t, os.Symlink("/dev/zero", top+"/zero"))
	must(t, os.Mkdir(top+"/directory", 0o700))
	must(t, unix.Mkfifo(top+"/fifo", 0o600))
	if os.Geteuid() == 0 {
		must(t, unix.Mknod(top+"/device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))))
	}
	for name, want := range map[string]string{
		"file": "", "link": "not a regular file", "zero": "not a regular file", "directory": "not a regular file", "fifo": "not a regular file", "missing": "no such file",
		"device": "not a regular file",
	} {
		if name == "device" && os.Geteuid() != 0 {
			continue
		}
		text, err := d.ReadFile(name, 4)
		if want == "" && (err != nil || string(text) != "text") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("ReadFile(%s) = %q, %v; want %q", name, text, err, want)
		}
		if want != "" && !IsDamage(err) {
			t.Errorf("IsDamage(%v) is false", err)
		}
	}
	if text, err := d.ReadFile("file", 3); err == nil || !strings.Contains(err.Error(), "longer than 3 bytes") {
		t.Errorf("ReadFile() of four bytes, at most three = %q, %v", text, err)
	}
	if IsDamage(unix.EMFILE) || IsDamage(nil) {
		t.Error("EMFILE, or nothing, is taken for damage")
	}
}

// TestRemoveAllStays: what is removed is never what a link leads to, nor what is mounted.
func TestRemoveAllStays(t *testing.T) {
	needRoot(t)
	top, outside := t.TempDir(), t.TempDir()
	d, err := Store.Open(top)
	must(t, err)
	defer d.Close()
	must(t, os.WriteFile(outside+"/kept", nil, 0o600))
	must(t, os.Symlink(outside, top+"/link"))
	must(t, d.RemoveAll("link"))
	for _, at := range []string{"mount", "deep/er/mount", "mount/below"} {
		name, _, _ := strings.Cut(at, "/")
		must(t, os.MkdirAll(filepath.Join(top, at), 0o700))
		must(t, unix.Mount(outside, filepath.Join(top, at), "", unix.MS_BIND, ""))
		err := d.RemoveAll(name)
		must(t, unix.Unmount(filepath.Join(top, at), unix.MNT_DETACH))
		if err == nil || !strings.Contains(err.Error(), "a file system is mounted there") {
			t.Errorf("RemoveAll() of a directory with a mount at %s = %v", at, err)
		}
		must(t, d.RemoveAll(name))
	}
	if _, err := os.Stat(outside + "/kept"); err != nil {
		t.Error(err)
	}
	if left, err := d.Readdirnames(-1); len(left) != 0 {
		t.Errorf("there is left: %q, %v", left, err)
	}
}

// TestExchangedBelow: somebody exchanges a directory with a link while it is removed, in a
// loop. Nothing of what the link leads to goes.
func TestExchangedBelow(t *testing.T) {
	top, outside := t.TempDir(), t.TempDir()
	d, err := Store.Open(top)
	must(t, err)
	defer d.Close()
	must(t, os.Symlink(outside, top+"/link"))
	for round := range 60 {
		name := fmt.Sprint("dir", round)
		for _, dir := range []string{outside, filepath.Join(top, name, "a")} {
			must(t, os.MkdirAll(dir+"/b", 0o755))
			for i := range 20 {
				must(t, os.WriteFile(fmt.Sprint(dir, "/b/", i), nil, 0o600))
			}
		}
		stop := atomic.Bool{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !stop.Load() {
				unix.Renameat2(unix.AT_FDCWD, filepath.Join(top, name, "a"), unix.AT_FDCWD, top+"/link", unix.RENAME_EXCHANGE)
			}
		}()
		d.RemoveAll(name) // it may fail: what it has opened is exchanged
		stop.Store(true)
		<-done
		if left, err := os.ReadDir(outside + "/b"); len(left) != 20 {
			t.Fatalf("round %d: of 20 files outside there are %d left, %v", round, len(left), err)
		}
		os.RemoveAll(filepath.Join(top, name))
		os.RemoveAll(top + "/link")
		must(t, os.Symlink(outside, top+"/link"))
	}
}
