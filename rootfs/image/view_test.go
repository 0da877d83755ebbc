package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// helpLook mounts an overlay on args[0] with the options args[1], and prints what is at
// each of the other paths in it.
func helpLook(args []string) error {
	if err := privately("overlay", args[0], "overlay", args[1]); err != nil {
		return err
	}
	root, err := unix.Open(args[0], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for _, name := range args[2:] {
		fd, err := plan.Openat2(root, name, unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT})
		var stat unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &stat)
		}
		fmt.Println(name, seen(stat, os.NewFile(uintptr(fd), name), err))
	}
	return nil
}

// seen describes a file, or why it cannot be seen.
func seen(stat unix.Stat_t, f *os.File, err error) string {
	if err != nil {
		return "error: " + cause(err).Error()
	}
	defer f.Close()
	text := ""
	if stat.Mode&unix.S_IFMT == unix.S_IFREG {
		content, err := io.ReadAll(f)
		text = fmt.Sprintf("%s %v", content, err)
	}
	return fmt.Sprintf("%o %d %d %s", stat.Mode, stat.Uid, stat.Gid, text)
}

// viewed is what a View says about a path, in the same words. What belongs to an ordinary
// user here is root's in the user namespace in which the kernel is asked.
func viewed(v *View, name string) string {
	_, stat, err := v.Find(name)
	if ownership() != Keep {
		stat.Uid -= uint32(os.Geteuid())
		stat.Gid -= uint32(os.Getegid())
	}
	if err != nil {
		return seen(stat, nil, errors.Unwrap(err))
	}
	var f *os.File
	if stat.Mode&unix.S_IFMT == unix.S_IFREG {
		f, err = openAt(v.Locate(name))
	}
	return seen(stat, f, err)
}

func openAt(dir, below string, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	return os.Open(filepath.Join(dir, below))
}

var viewNames = []string{"etc", "passwd", "a", "b", "c"}

func randomPath(r *rand.Rand, names []string, most int) string {
	var parts []string
	for range 1 + r.IntN(most) {
		parts = append(parts, names[r.IntN(len(names))])
	}
	return path.Join(parts...)
}

// randomLayer is a layer of directories, files, links, whiteouts and opaque directories.
func randomLayer(r *rand.Rand, number int) (entries []entry) {
	for i := range 2 + r.IntN(8) {
		name := randomPath(r, viewNames, 3)
		switch r.IntN(8) {
		case 0, 1, 2:
			entries = append(entries, withMode(file(name, fmt.Sprint(number, "/", i)), int64(0o600+r.IntN(64))))
		case 3, 4:
			entries = append(entries, withMode(dir(name), int64(0o700+r.IntN(64))))
		case 5:
			target := strings.Repeat("../", r.IntN(3)) + randomPath(r, viewNames, 3)
			if r.IntN(2) == 0 {
				target = "/" + target
			}
			entries = append(entries, symlink(name, target))
		case 6:
			entries = append(entries, file(path.Join(path.Dir(name), ".wh."+path.Base(name)), ""))
		case 7:
			entries = append(entries, file(path.Join(name, opaqueName), ""))
		}
	}
	return entries
}

// TestView compares what a View says with what the kernel's overlayfs shows.
func TestView(t *testing.T) {
	target := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	options, isRoot := "", ownership() == Keep
	if !isRoot {
		options = "userxattr,"
	}
	compared, there := 0, 0
	for range 60 {
		s := newStore(t, Options{})
		layers := []testLayer{plainLayer(archive(t, dir("etc")))}
		for i := range 2 + r.IntN(4) {
			layers = append(layers, plainLayer(archive(t, randomLayer(r, i)...)))
		}
		images, err := s.Load(bytes.NewReader(dockerArchive(t, "x", "", layers...)))
		if err != nil {
			continue // a link on the way to a file that is not there
		}
		var paths []string
		for range 100 {
			paths = append(paths, randomPath(r, append([]string{"..", "."}, viewNames...), 4))
		}
		cmd := helper(t, "look", isRoot, append([]string{target, options + "lowerdir=" + strings.Join(images[0].Layers(), ":")}, paths...)...)
		if !isRoot {
			inUserNamespace(t, cmd, 1)
		}
		out, err := cmd.CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err != nil || len(lines) != len(paths) {
			t.Fatalf("%v: %s", err, out)
		}
		v := images[0].View()
		for i, name := range paths {
			compared++
			got := name + " " + viewed(v, name)
			if place, _, err := v.Find(name); err == nil && place == "" {
				continue // the root's own mode is not looked for
			}
			if !strings.Contains(lines[i], "error") {
				there++
			}
			if strings.TrimSpace(lines[i]) != strings.TrimSpace(got) {
				t.Errorf("%q: View says %q, overlayfs %q; layers %v", name, got, lines[i], images[0].Layers())
			}
		}
	}
	if t.Logf("%d paths compared, %d of them there", compared, there); there < 500 {
		t.Errorf("only %d of %d paths were there: the layers are too small", there, compared)
	}
}

// TestViewMounts: a volume covers what the image has, and links lead into it and out.
func TestViewMounts(t *testing.T) {
	s := newStore(t, Options{})
	image := load(t, s, dockerArchive(t, "x", "", plainLayer(archive(t, symlink("etc", "sys/etc"), dir("sys/etc"), file("sys/etc/passwd", "image"), file("sys/etc/group", "image"), file("x/outside", "image")))))
	host := t.TempDir()
	for name, text := range map[string]string{"passwd": "host", "users/passwd": "users"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(host, name)), 0o755), os.WriteFile(filepath.Join(host, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("/x/outside", filepath.Join(host, "users/group")), os.Symlink("users", filepath.Join(host, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mounts [][2]string
		want   []string // passwd, group
	}{
		{nil, []string{"image", "image"}},
		{[][2]string{{"passwd", "/etc/passwd"}}, []string{"host", "image"}},
		{[][2]string{{"link", "/etc"}}, []string{"users", "image"}},
		{[][2]string{{"link", "/sys/etc"}}, []string{"users", "image"}},
		{[][2]string{{"users", "/sys/etc"}, {"passwd", "/etc/passwd"}}, []string{"host", "image"}},
	} {
		v := image.View()
		for _, m := range c.mounts {
			v.Mount(filepath.Join(host, m[0]), m[1])
		}
		var got []string
		for _, name := range []string{"etc/passwd", "/etc/../etc/group"} {
			f, err := openAt(v.Locate(name))
			if err != nil {
				got = append(got, err.Error())
				continue
			}
			content, _ := io.ReadAll(f)
			f.Close()
			got = append(got, string(content))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("with %v: passwd and group are %q, want %q", c.mounts, got, c.want)
		}
	}
}

// TestViewBounds: what a lookup costs does not depend on what links lead through.
func TestViewBounds(t *testing.T) {
	s := newStore(t, Options{})
	image := load(t, s, dockerArchive(t, "x", "", plainLayer(archive(t, append(through(0, 39, 1600), entry{name: "loop", kind: tar.TypeSymlink, link: "loop"})...))))
	for _, name := range []string{"l38/x", "loop"} {
		if _, _, err := image.View().Find(name); !errors.Is(err, unix.ELOOP) {
			t.Errorf("Find(%s): %v, want ELOOP", name, err)
		}
	}
}
