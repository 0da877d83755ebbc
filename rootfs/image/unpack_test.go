package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

// newUnpacker unpacks one layer into a new directory.
func newUnpacker(t testing.TB, o Options) *unpacker {
	t.Helper()
	o = o.withDefaults()
	if o.Ownership == Keep {
		o.Ownership = ownership()
	}
	base := t.TempDir()
	open := func(name string) *os.File {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(filepath.Join(base, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	return &unpacker{root: open("layer"), trash: open("trash"), ownership: o.Ownership, skipped: o.Skipped, budget: newBudget(o.Limits)}
}

// unpackTo unpacks one layer into a new directory and gives its path.
func unpackTo(t testing.TB, o Options, content []byte) (string, error) {
	t.Helper()
	u := newUnpacker(t, o)
	err := u.unpack(bytes.NewReader(content))
	if left, _ := os.ReadDir(u.trash.Name()); len(left) != 0 {
		t.Errorf("trash holds %v", left)
	}
	return u.root.Name(), err
}

func unpackOK(t testing.TB, entries ...entry) string {
	t.Helper()
	root, err := unpackTo(t, Options{}, archive(t, entries...))
	if err != nil {
		t.Fatalf("unpack: %v", err)
	}
	return root
}

// canary is a directory outside the layer that must stay as it is.
type canary struct {
	path   string
	before string
}

func newCanary(t testing.TB) canary {
	t.Helper()
	c := canary{path: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.path, "file"), []byte("alive"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(c.path, "dir"), 0o750); err != nil {
		t.Fatal(err)
	}
	c.before = snapshot(t, c.path)
	return c
}

func (c canary) check(t testing.TB) {
	t.Helper()
	if after := snapshot(t, c.path); after != c.before {
		t.Errorf("the canary changed:\n%s\nwas\n%s", after, c.before)
	}
}

// snapshot describes a tree: names, modes, owners, links, times and contents.
func snapshot(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		fmt.Fprintln(&b, path, info.Mode(), stat.Uid, stat.Gid, stat.Nlink, stat.Size, stat.Mtim)
		if info.Mode().IsRegular() {
			fmt.Fprintln(&b, read(t, path))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}

// hostile archives: fails says whether the archive is refused, or unpacked
// with what it aims at made inside the layer. C stands for the canary's path.
var hostile = []struct {
	name    string
	fails   bool
	entries []entry
}{
	{"dot dot", true, []entry{file("../escaped", "x")}},
	{"dot dot below", true, []entry{file("a/../../escaped", "x")}},
	{"dot dot after slash", true, []entry{file("/../escaped", "x")}},
	{"dot dot directory", true, []entry{dir("..")}},
	{"dot dot inside is fine", false, []entry{file("a/../b", "x")}},
	{"absolute name", false, []entry{file("C/file", "dead")}},
	{"file through link", false, []entry{symlink("l", "/"), file("l/C/file", "dead")}},
	{"file through absolute link is confined", true, []entry{symlink("l", "C"), file("l/file", "dead")}},
	{"file through relative link", false, []entry{symlink("l", "../../../../../../../.."), file("l/C/file", "dead")}},
	{"file over link", false, []entry{symlink("file", "C/file"), file("file", "dead")}},
	{"directory over link", false, []entry{symlink("d", "C/dir"), withMode(dir("d"), 0o777), file("d/new", "x")}},
	{"directory over link, then link again", true, []entry{dir("d"), symlink("d", "C"), file("d/file", "dead")}},
	{"mode through link", false, []entry{withMode(dir("d"), 0o777), file("d/x", "x"), symlink("d", "C/dir")}},
	{"links in a chain", true, []entry{symlink("a", "b"), symlink("b", "C"), file("a/file", "dead")}},
	{"links in a circle", true, []entry{symlink("a", "b"), symlink("b", "a"), file("a/file", "x")}},
	{"hard link outside", true, []entry{hardlink("h", "C/file"), file("h", "dead")}},
	{"hard link with dot dot", true, []entry{hardlink("h", "../../../../../../etc/passwd")}},
	{"hard link through link", true, []entry{symlink("l", "C"), hardlink("h", "l/file")}},
	{"hard link to link, then through it", true, []entry{symlink("l", "C"), hardlink("h", "l"), file("h/file", "dead")}},
	{"hard link to link, then over it", false, []entry{symlink("l", "C/file"), hardlink("h", "l"), file("h", "dead")}},
	{"hard link to itself", true, []entry{file("h", "x"), hardlink("h", "h")}},
	{"hard link to a directory", true, []entry{dir("d"), hardlink("h", "d")}},
	{"hard link to the root", true, []entry{hardlink("h", "/")}},
	{"hard link to a lower layer", true, []entry{hardlink("bin/new", "bin/old")}},
	{"hard link replaces the target's directory", true, []entry{file("d/f", "x"), hardlink("d", "d/f")}},
	{"whiteout of dot dot", true, []entry{file(".wh...", "")}},
	{"whiteout of dot", true, []entry{file("a/.wh..", "")}},
	{"whiteout of nothing", true, []entry{file(".wh.", "")}},
	{"whiteout through link", true, []entry{symlink("l", "C"), file("l/.wh.file", "")}},
	{"opaque through link", true, []entry{symlink("l", "C/dir"), file("l/.wh..wh..opq", "")}},
	{"below a whiteout", true, []entry{file(".wh.a/b", "x")}},
	{"far below a whiteout", true, []entry{file("a/.wh.b/c/d", "x")}},
	{"below an opaque mark", true, []entry{file(".wh..wh..opq/b", "x")}},
	{"below aufs's bookkeeping", false, []entry{symlink(".wh..wh.aufs", "C"), file(".wh..wh.aufs/file", "dead")}},
	{"aufs's links elsewhere", true, []entry{symlink(".wh..wh.plnk", "C"), file(".wh..wh.plnk/file", "dead")}},
	{"root replaced", true, []entry{symlink(".", "C")}},
	{"root replaced with slash", true, []entry{symlink("/", "C")}},
	{"root is a file", true, []entry{file("./.", "x")}},
	{"below a file", true, []entry{file("a", "x"), file("a/b", "x")}},
	{"unknown type", true, []entry{{name: "a", kind: 'Z'}}},
	{"huge owner", true, []entry{{name: "a", uid: 1 << 32}}},
	{"negative owner", true, []entry{{name: "a", gid: 1<<32 - 1}}},
	{"long name", true, []entry{file(strings.Repeat("a", 256), "x")}},
	{"long path", true, []entry{file(strings.Repeat("a/", 2048)+"a", "x")}},
	{"too deep", true, []entry{file(strings.Repeat("a/", 256)+"a", "x")}},
	{"deep path", false, []entry{file(strings.Repeat("a/", 255)+"a", "x")}},
	{"nothing is made at the end of a link", true, []entry{symlink("l", "/new/../C"), file("l/file", "dead")}},
	{"directory below a link", false, []entry{dir("d"), symlink("l", "d"), file("l/new/file", "x")}},
	{"mode of a directory that a link led to", false, []entry{dir("d"), symlink("l", "d"), withMode(dir("l/e"), 0o777), symlink("l", "C/dir"), symlink("d", "C")}},
	{"dot dot in a link above the root", false, []entry{dir("d"), symlink("d/l", "../../../d/.."), file("d/l/file", "x")}},
	{"name with control characters", false, []entry{file("a\x1b[2J\n", "x")}},
}

func TestHostileArchives(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			canary := newCanary(t)
			var entries []entry
			for _, e := range c.entries {
				e.name, e.link = strings.Replace(e.name, "C/", canary.path+"/", 1), strings.Replace(e.link, "C", canary.path, 1)
				entries = append(entries, e)
			}
			_, err := unpackTo(t, Options{}, archive(t, entries...))
			if (err != nil) != c.fails {
				t.Errorf("unpack = %v, want an error: %v", err, c.fails)
			}
			canary.check(t)
		})
	}
}

func TestErrorsNameEntryAndLayer(t *testing.T) {
	s := newStore(t, Options{})
	l := plainLayer(archive(t, file("ok", "x"), file("../bad\x1b", "x")))
	_, err := s.Load(bytes.NewReader(dockerArchive(t, "x", "", l)))
	want := fmt.Sprintf(`load: layer %s: unpack "../bad\x1b": "../bad\x1b" leads out of the layer`, l.diffID())
	if err == nil || err.Error() != want {
		t.Errorf("Load = %v, want %s", err, want)
	}
	wantEmpty(t, s)
}

// TestDeepTree: links must not lead deeper than names may.
func TestDeepTree(t *testing.T) {
	deep := strings.Repeat("d/", 200)
	_, err := unpackTo(t, Options{}, archive(t, dir(deep), symlink("l", deep), file("l/"+deep+"end", "x")))
	if err == nil || !strings.HasSuffix(err.Error(), ": more than 255 directories deep") {
		t.Errorf("unpack = %.100q, want a refusal of what is too deep", fmt.Sprint(err))
	}
}

// TestDiscardDeepTree: a container can nest directories deeper than a path or a
// process's descriptors can be.
func TestDiscardDeepTree(t *testing.T) {
	top, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	at, err := unix.Dup(int(top.Fd()))
	for i := 0; err == nil && i < 9*250; i++ {
		if err = unix.Mkdirat(at, "d", 0o700); err == nil {
			var next int
			next, err = unix.Openat(at, "d", unix.O_PATH|unix.O_CLOEXEC, 0)
			unix.Close(at)
			at = next
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(at)
	if err := private.Discard(top, "d"); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(top.Name()); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

func TestFileKinds(t *testing.T) {
	root := unpackOK(t, withMode(dir("."), 0o711), withMode(dir("d"), 0o1777), withMode(file("d/suid", "x"), 0o6755), withMode(file("d/low", "y"), 0o001),
		symlink("d/link", "../nowhere"), hardlink("hard", "d/suid"), entry{name: "fifo", kind: tar.TypeFifo, mode: 0o622}, file("implied/f", "z"))
	for name, want := range map[string]fs.FileMode{
		".": fs.ModeDir | 0o711, "d": fs.ModeDir | fs.ModeSticky | 0o777, "d/suid": fs.ModeSetuid | fs.ModeSetgid | 0o755, "d/low": 0o001,
		"d/link": fs.ModeSymlink | 0o777, "hard": fs.ModeSetuid | fs.ModeSetgid | 0o755, "fifo": fs.ModeNamedPipe | 0o622, "implied": fs.ModeDir | 0o755,
	} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
		if name != "implied" && !info.ModTime().Equal(stamp) {
			t.Errorf("%s: time %v, want %v", name, info.ModTime(), stamp)
		}
	}
	if target, _ := os.Readlink(filepath.Join(root, "d/link")); target != "../nowhere" {
		t.Errorf("link points to %q", target)
	}
	a, _ := os.Stat(filepath.Join(root, "hard"))
	b, _ := os.Stat(filepath.Join(root, "d/suid"))
	if !os.SameFile(a, b) {
		t.Error("the hard link is another file")
	}
}

func TestReplacing(t *testing.T) {
	root := unpackOK(t, file("a", "1"), file("a", "2"), file("b/x", "x"), file("b", "file now"), file("c", "x"), dir("c"), file("c/y", "y"),
		symlink("e", "a"), file("e", "3"), withMode(dir("f"), 0o700), file("f/keep", "kept"), withMode(dir("f"), 0o750))
	for name, want := range map[string]string{"a": "2", "b": "file now", "c/y": "y", "e": "3", "f/keep": "kept"} {
		if got := read(t, filepath.Join(root, name)); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "f")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("f: %v, %v, want the later mode", info.Mode(), err)
	}
}

// A directory without permissions can still be filled, also without root.
func TestUnwritableDirectory(t *testing.T) {
	root := unpackOK(t, withMode(dir("a"), 0o555), withMode(dir("a/b"), 0o000), file("a/b/c", "x"), file("a/d", "y"))
	info, err := os.Stat(filepath.Join(root, "a"))
	want := fs.FileMode(0o555)
	if ownership() == Mine {
		want = 0o755
	}
	if err != nil || info.Mode().Perm() != want {
		t.Errorf("a: %v, %v, want %v", info.Mode(), err, want)
	}
}

func TestOwners(t *testing.T) {
	needRoot(t, "chown takes CAP_CHOWN")
	root := unpackOK(t, entry{name: "f", uid: 12, gid: 34, mode: 0o4755}, entry{name: "d", kind: tar.TypeDir, uid: 56, gid: 78}, entry{name: "l", kind: tar.TypeSymlink, link: "f", uid: 9, gid: 1<<32 - 2})
	for name, want := range map[string][2]uint32{"f": {12, 34}, "d": {56, 78}, "l": {9, 1<<32 - 2}} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != want[0] || stat.Gid != want[1] {
			t.Errorf("%s: owner %d:%d, want %v", name, stat.Uid, stat.Gid, want)
		}
	}
	if info, _ := os.Stat(filepath.Join(root, "f")); info.Mode()&fs.ModeSetuid == 0 {
		t.Error("chown cleared setuid")
	}
	mine, err := unpackTo(t, Options{Ownership: Mine}, archive(t, entry{name: "f", uid: 12, gid: 34}))
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(filepath.Join(mine, "f")); info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("Mine kept the owner")
	}
}

func rdev(t *testing.T, path string) (kind uint32, number uint64) {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		t.Errorf("lstat %s: %v", path, err)
	}
	return stat.Mode & unix.S_IFMT, stat.Rdev
}

func TestDevices(t *testing.T) {
	entries := []entry{
		{name: "null", kind: tar.TypeChar, dev: [2]int64{1, 3}, mode: 0o666}, {name: "sda", kind: tar.TypeBlock, dev: [2]int64{8, 0}, mode: 0o660}, {name: "gone", kind: tar.TypeChar},
	}
	var skips []string
	root, err := unpackTo(t, Options{Ownership: Mine, Skipped: func(s Skip) { skips = append(skips, s.Name) }}, archive(t, entries...))
	if err != nil || fmt.Sprint(skips) != "[null sda]" {
		t.Errorf("unpack without privileges = %v, skipped %v, want null and sda", err, skips)
	}
	if kind, number := rdev(t, filepath.Join(root, "gone")); kind != unix.S_IFCHR || number != 0 {
		t.Errorf("gone is %o %x, want a whiteout", kind, number)
	}
	needRoot(t, "mknod of devices takes CAP_MKNOD")
	root = unpackOK(t, entries...)
	if kind, number := rdev(t, filepath.Join(root, "null")); kind != unix.S_IFCHR || number != unix.Mkdev(1, 3) {
		t.Errorf("null is %o %x", kind, number)
	}
	if kind, number := rdev(t, filepath.Join(root, "sda")); kind != unix.S_IFBLK || number != unix.Mkdev(8, 0) {
		t.Errorf("sda is %o %x", kind, number)
	}
	if info, _ := os.Lstat(filepath.Join(root, "null")); info.Mode().Perm() != 0o666 {
		t.Errorf("null has mode %v, want 0666", info.Mode())
	}
}

func xattr(path, name string) string {
	value := make([]byte, 100)
	n, err := unix.Lgetxattr(path, name, value)
	if err != nil {
		return err.Error()
	}
	return string(value[:n])
}

func TestXattrs(t *testing.T) {
	// Version 2, effective, CAP_NET_BIND_SERVICE (linux/capability.h).
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	pax := map[string]string{}
	for _, name := range []string{"user.note", "trusted.overlay.redirect", "trusted.x", "user.overlay.redirect", "security.selinux"} {
		pax[xattrRecord+name] = "value"
	}
	pax[xattrRecord+"user.long"] = strings.Repeat("x", 64<<10+1)
	skipped := map[string]bool{}
	o := Options{Skipped: func(s Skip) { skipped[strings.Split(s.Reason, `"`)[1]] = true }}
	withCapability := map[string]string{xattrRecord + "security.capability": capability}
	root, err := unpackTo(t, o, archive(t, entry{name: "f", pax: pax}, entry{name: "d", kind: tar.TypeDir, pax: pax}, entry{name: "c", uid: 1, pax: withCapability}, entry{name: "l", kind: tar.TypeSymlink, link: "f", pax: pax}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "d"} {
		for attribute, want := range map[string]string{"user.note": "value", "trusted.overlay.redirect": "no data available", "trusted.x": "no data available", "user.overlay.redirect": "no data available", "user.long": "no data available"} {
			if got := xattr(filepath.Join(root, name), attribute); got != want {
				t.Errorf("%s: %s = %q, want %q", name, attribute, got, want)
			}
		}
	}
	for _, name := range []string{"trusted.overlay.redirect", "trusted.x", "user.overlay.redirect", "security.selinux", "user.long"} {
		if !skipped[name] {
			t.Errorf("%s was not reported as skipped", name)
		}
	}
	if os.Getuid() != 0 {
		if !skipped["security.capability"] {
			t.Error("security.capability was not reported as skipped")
		}
	} else if got := xattr(filepath.Join(root, "c"), "security.capability"); got != capability {
		t.Errorf("security.capability = %q, want %q", got, capability)
	}
}

func opaque(path string) string {
	if ownership() == Mine {
		return xattr(path, "user.overlay.opaque")
	}
	return xattr(path, "trusted.overlay.opaque")
}

func TestWhiteouts(t *testing.T) {
	root := unpackOK(t, file("a/.wh.gone", ""), file(".wh.top", ""), file("o/.wh..wh..opq", ""), file("o/new", "x"), file("aufs/.wh..wh.plnk", ""),
		file("both", "x"), file(".wh.both", ""), file("dir/x", "x"), file(".wh.dir", ""),
		file(".wh.first", ""), file("first", "x"), file(".wh.firstdir", ""), dir("firstdir"), file(".wh.implied", ""), file("implied/x", "x"))
	for _, name := range []string{"a/gone", "top"} {
		if kind, number := rdev(t, filepath.Join(root, name)); kind != unix.S_IFCHR || number != 0 {
			t.Errorf("%s is %o %x, want a whiteout", name, kind, number)
		}
	}
	for name, want := range map[string]string{"o": "y", "dir": "y", "firstdir": "y", "implied": "y", "a": "no data available"} {
		if got := opaque(filepath.Join(root, name)); got != want {
			t.Errorf("%s: opaque = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"both", "first", "dir/x", "implied/x", "o/new"} {
		if got := read(t, filepath.Join(root, name)); got != "x" {
			t.Errorf("%s = %q, want x", name, got)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(root, "aufs")); len(left) != 0 {
		t.Errorf("aufs holds %v", left)
	}
}

// TestAufs: what the aufs file system notes for itself is in no root, and hard links to
// its links are files.
func TestAufs(t *testing.T) {
	root := unpackOK(t, file(".wh..wh.aufs", ""), dir(".wh..wh.orph"), file(".wh..wh.orph/1", "x"), dir(".wh..wh.plnk"), file(".wh..wh.plnk/7.8", "linked"),
		hardlink("bin/a", ".wh..wh.plnk/7.8"), hardlink("b", ".wh..wh.plnk/7.8"), dir("d/.wh..wh.plnk"), file("d/.wh..wh.plnk/x", ""), file("d/.wh.gone", ""))
	var got []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		got = append(got, strings.TrimPrefix(path, root))
		return err
	})
	if want := []string{"", "/b", "/bin", "/bin/a", "/d", "/d/gone"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("the layer holds %q, %v; want %q", got, err, want)
	}
	for _, name := range []string{"b", "bin/a"} {
		if text := read(t, filepath.Join(root, name)); text != "linked" {
			t.Errorf("%s = %q, want what it is a link to", name, text)
		}
	}
}

func TestTruncatedLayers(t *testing.T) {
	whole := archive(t, file("a", strings.Repeat("x", 2000)), dir("d"), file("d/b", "y"))
	// What is lost of the end mark or the last padding, only the digest tells.
	const tail = 1024 + 512
	for at := 1; at < len(whole)-tail; at += 100 {
		if _, err := unpackTo(t, Options{}, whole[:at]); err == nil && at%512 != 0 {
			t.Errorf("cut at %d: no error", at)
		}
	}
}

// TestKept: what has to be remembered of an image to the end is bounded, too.
func TestKept(t *testing.T) {
	u := &unpacker{budget: &budget{kept: 100}}
	for i, name := range []string{strings.Repeat("a", 50), strings.Repeat("b", 50), "c"} {
		if err := u.remember(metadata{name: name}); errors.Is(err, ErrLimit) != (i == 2) {
			t.Errorf("after %d bytes: %v", 50*(i+1), err)
		}
	}
	if err := (&budget{kept: 100}).keep(metadata{name: "d", xattrs: map[string]string{"user.a": strings.Repeat("x", 100)}}); !errors.Is(err, ErrLimit) {
		t.Errorf("an attribute that is too long: %v, want ErrLimit", err)
	}
}

func TestLimits(t *testing.T) {
	big := plainLayer(archive(t, file("a", strings.Repeat("\x00", 1<<20))))
	bomb := testLayer{blob: gzipped(t, big.plain), plain: big.plain, mediaType: MediaTypeLayerGzip}
	many := plainLayer(archive(t, file("a/b/c/d/e/f/g/h/i/j/k", "")))
	twice := plainLayer(archive(t, file("a", strings.Repeat("x", 1<<10))))
	for name, c := range map[string]struct {
		limits Limits
		layers []testLayer
	}{
		"archive": {Limits{Bytes: 1 << 20}, []testLayer{big}}, "bomb": {Limits{Bytes: 1 << 19}, []testLayer{bomb}},
		"implied directories": {Limits{Entries: 10}, []testLayer{many}}, "sum of layers": {Limits{Bytes: 10000}, []testLayer{twice, twice, twice, twice}},
	} {
		s := newStore(t, Options{Limits: c.limits})
		_, err := s.Load(bytes.NewReader(dockerArchive(t, "x", "", c.layers...)))
		if !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v, want ErrLimit", name, err)
		}
		wantEmpty(t, s)
	}
	load(t, newStore(t, Options{Limits: Limits{Bytes: 1 << 21}}), dockerArchive(t, "x", "", bomb))
}

// sparseArchive is a file of size zeros that takes no space in the archive
// (PAX sparse format 1.0, which GNU tar writes).
func sparseArchive(t testing.TB, size int64) []byte {
	t.Helper()
	pax := map[string]string{}
	var b bytes.Buffer
	body := fmt.Sprintf("1\n%d\n0\n", size)
	body += strings.Repeat("\x00", 512-len(body))
	// The tar package reads the sparse records but refuses to write them, so
	// they are written under names of the same length and then changed.
	for key, value := range map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse", "GNU.sparse.realsize": fmt.Sprint(size)} {
		pax[strings.Replace(key, "GNU.", "GNX.", 1)] = value
	}
	b.Write(archive(t, entry{name: "x", body: body, pax: pax}))
	return bytes.ReplaceAll(b.Bytes(), []byte("GNX."), []byte("GNU."))
}

func TestSparse(t *testing.T) {
	root, err := unpackTo(t, Options{}, sparseArchive(t, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(root, "sparse"))
	if err != nil || info.Size() != 64<<20 || info.Sys().(*syscall.Stat_t).Blocks > 128 {
		t.Errorf("%v, %v: want 64 MiB that take no space", info, err)
	}
	if _, err := unpackTo(t, Options{}, sparseArchive(t, 1<<50)); !errors.Is(err, ErrLimit) {
		t.Errorf("a petabyte: %v, want ErrLimit", err)
	}
	root = unpackOK(t, file("end", strings.Repeat("\x00", 100<<10)+"x"))
	if got := read(t, filepath.Join(root, "end")); len(got) != 100<<10+1 || got[len(got)-1] != 'x' {
		t.Errorf("end has %d bytes", len(got))
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "./a": "a", "/a": "a", "//a/./b/": "a/b", "a/../b": "b", ".": ".", "./": ".", "/": ".", "...": "..."} {
		if got, err := cleanName(in); err != nil || got != want {
			t.Errorf("cleanName(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "..", "../a", "/..", "a/../..", strings.Repeat("a", 4096)} {
		if got, err := cleanName(in); err == nil {
			t.Errorf("cleanName(%q) = %q, want an error", in, got)
		}
	}
}
