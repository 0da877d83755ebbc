package copyup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// tree is what the directories of a made-up root directory have.
func tree(_, path string) ([]Entry, error) {
	switch path {
	case "/run":
		return []Entry{
			{Path: ".", Mode: fs.ModeDir | fs.ModeSticky | 0o777, GID: 5},
			{Path: "a", Mode: fs.ModeDir | 0o750, UID: 33, GID: 33},
			{Path: "a/file", Mode: 0o640, UID: 1001, Size: 12},
			{Path: "a/setuid", Mode: fs.ModeSetuid | 0o755},
			{Path: "link", Mode: fs.ModeSymlink | 0o777, GID: 7, Target: "../../etc/passwd"},
		}, nil
	case "/etc":
		return nil, fs.ErrPermission
	}
	return nil, nil
}

func newRoot(t *testing.T, spec *specs.Spec, kinds ...specs.LinuxNamespaceType) *rootfs.Root {
	t.Helper()
	r, err := rootfs.New(spec, plan.Facts{}, rootfstest.Has(kinds...), rootfstest.Bundle, rootfstest.IsDir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden compares what a filled tmpfs becomes.
func TestGolden(t *testing.T) {
	for name, spec := range map[string]*specs.Spec{
		"copy up": rootfstest.Spec(
			specs.Mount{Destination: "/run", Type: "tmpfs", Options: []string{"tmpcopyup", "nosuid"}},
			specs.Mount{Destination: "/var/run", Type: "tmpfs", Options: []string{"tmpcopyup", "mode=700"}},
		),
		"copy up mapped": rootfstest.Mapped(rootfstest.Spec(
			specs.Mount{Destination: "/run", Type: "tmpfs", Options: []string{"tmpcopyup", "mode=700", "uid=3", "gid=4"}},
		)),
	} {
		kinds := []specs.LinuxNamespaceType{specs.MountNamespace, specs.PIDNamespace}
		if len(spec.Linux.UIDMappings) > 0 {
			kinds = append(kinds, specs.UserNamespace)
		}
		root := newRoot(t, spec, kinds...)
		if err := New(spec, root, tree, ids(spec), ids(spec)); err != nil {
			t.Fatal(err)
		}
		rootfstest.Golden(t, name, rootfstest.Inside(root, root.Open, root.PivotRoot))
	}
}

// ids maps the ids of the host's for a spec whose maps are none or rootfstest.Map.
func ids(spec *specs.Spec) func(uint32) (uint32, bool) {
	m := rootfstest.Map[0]
	return func(id uint32) (uint32, bool) {
		if len(spec.Linux.UIDMappings) == 0 {
			return id, true
		}
		return id - m.HostID, id >= m.HostID && id < m.HostID+m.Size
	}
}

// TestRefused: what cannot be filled, and how that is said.
func TestRefused(t *testing.T) {
	up := []string{"tmpcopyup"}
	for want, spec := range map[string]*specs.Spec{
		`mounts[0] "/x": option "tmpcopyup": only a tm`: rootfstest.Spec(specs.Mount{Destination: "/x", Type: "proc", Options: up}),
		`mounts[1] "/x/y": option "tmpcopyup": below`:   rootfstest.Spec(specs.Mount{Destination: "/x", Type: "tmpfs"}, specs.Mount{Destination: "/x/y", Type: "tmpfs", Options: up}),
		`mounts[0] "/etc": option "tmpcopyup": permis`:  rootfstest.Spec(specs.Mount{Destination: "/etc", Type: "tmpfs", Options: up}),
	} {
		if err := New(spec, newRoot(t, spec), tree, ids(spec), ids(spec)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
}

// TestTree: a directory is listed as the container sees it; what is not copied is
// left out.
func TestTree(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "real/sub"), 0o750), os.WriteFile(filepath.Join(root, "real/sub/file"), []byte("x"), 0o640),
		os.Symlink("/real", filepath.Join(root, "run")), os.Symlink("/etc/passwd", filepath.Join(root, "real/link")),
		unix.Mkfifo(filepath.Join(root, "real/pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	list, err := Tree(root, "/run")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Path+" "+e.Mode.String()+" "+e.Target)
	}
	want := ". drwxr-x--- |link Lrwxrwxrwx /etc/passwd|sub drwxr-x--- |sub/file -rw-r----- "
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("Tree() = %s, want %s", text, want)
	}
	if list, err := Tree(root, "/missing"); list != nil || err != nil {
		t.Errorf("Tree(missing) = %v, %v; want nothing", list, err)
	}
}

// TestBounds: neither the number nor the size of files is the image's to choose.
func TestBounds(t *testing.T) {
	root := t.TempDir()
	huge := filepath.Join(root, "huge")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, maxSize+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := Tree(root, "/"); !errors.Is(err, unix.EFBIG) {
		t.Errorf("Tree() with a huge file = %v, want EFBIG", err)
	}
	if err := os.Remove(huge); err != nil {
		t.Fatal(err)
	}
	for n := range maxEntries {
		if err := os.Symlink("x", filepath.Join(root, strings.Repeat("a", 1+n%200)+string(rune('A'+n/200)))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Tree(root, "/"); err == nil || err.Error() != "more than 4096 files" {
		t.Errorf("Tree() of %d files = %v, want a refusal", maxEntries+1, err)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
