package below

import (
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

// layers makes three directories, the topmost first, with files that hide each other as
// overlayfs lets them.
func layers(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	list := []string{dir + "/upper", dir + "/middle", dir + "/lower"}
	for path, mode := range map[string]os.FileMode{
		"lower/etc": 0o750, "lower/opaque/old": 0o700, "lower/opaque/same": 0o701, "lower/gone": 0o755, "lower/file/in": 0o755, "lower/only/deep": 0o711,
		"lower/cut/in": 0o755, "middle/opaque": 0o755, "middle/opaque/same": 0o702, "middle/etc/conf": 0o733, "middle/link": 0o755, "upper/etc": 0o751, "upper/new": 0o700,
	} {
		must(t, os.MkdirAll(filepath.Join(dir, path), 0o755))
		must(t, os.Chmod(filepath.Join(dir, path), mode))
	}
	for path, to := range map[string]string{
		"lower/link/x": "", "lower/var": "", // directories
		"lower/etc/localtime": "/usr/share/zone", "lower/var/run": "../run", "upper/run": "new/run", "lower/loop": "loop", "upper/cut": "/only",
		"lower/out": "../../../../only/deep", "lower/opaque/hidden": "/nowhere", "lower/to": "/etc/conf", "lower/chain": "var/run", "lower/linked": "file/in/x",
	} {
		at := filepath.Join(dir, path)
		if to == "" {
			must(t, os.MkdirAll(at, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		must(t, os.Symlink(to, at))
	}
	must(t, os.WriteFile(dir+"/middle/file", nil, 0o640))
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// places are what Look finds in layers, with a whiteout and an opaque directory.
var places = map[string]Place{
	"/":                   {Path: "/"},
	"/etc":                {Path: "/etc", Mode: 0o751},
	"/etc/conf":           {Path: "/etc/conf", Mode: 0o733},
	"/to":                 {Path: "/etc/conf", Mode: 0o733},
	"/out":                {Path: "/only/deep", Mode: 0o711},
	"/cut":                {Path: "/only", Mode: 0o755},
	"/cut/deep":           {Path: "/only/deep", Mode: 0o711},
	"/cut/in":             {Path: "/only/in"},
	"/file":               {Path: "/file", Mode: 0o640},
	"/opaque/same":        {Path: "/opaque/same", Mode: 0o702},
	"/opaque/old":         {Path: "/opaque/old"},
	"/opaque/hidden":      {Path: "/opaque/hidden"}, // the link is hidden
	"/gone":               {Path: "/gone"},
	"/gone/in":            {Path: "/gone/in"},
	"/missing/a/b":        {Path: "/missing/a/b"},
	"/loop":               {Path: "/loop"},
	"/etc/localtime":      {Path: "/usr/share/zone", Dangling: true},
	"/var/run":            {Path: "/new/run", Dangling: true},
	"/var/run/x/../y":     {Path: "/new/run/y", Dangling: true},
	"/chain":              {Path: "/new/run", Dangling: true},
	"/linked":             {Path: "/file/in/x", Dangling: true}, // behind a file: to make it will fail
	"/etc/conf/localtime": {Path: "/etc/conf/localtime"},
}

// TestLook: what the layers have together is what overlayfs shows of them.
func TestLook(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: whiteouts and overlays are root's")
	}
	list := layers(t)
	must(t, unix.Mknod(list[1]+"/gone", unix.S_IFCHR, 0))
	must(t, unix.Setxattr(list[1]+"/opaque", "trusted.overlay.opaque", []byte("y"), 0))
	merged := t.TempDir()
	must(t, unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(list, ":")))
	defer unix.Unmount(merged, unix.MNT_DETACH)
	for path, want := range places {
		for name, dirs := range map[string][]string{"the layers": list, "overlayfs": {merged}} {
			got := Look(dirs, path)
			if name == "overlayfs" && !got.Dangling && got.Mode != 0 { // one call has found it: not by which way
				got.Path = want.Path
			}
			if path == "/" {
				got.Mode = 0
			}
			if got != want {
				t.Errorf("%s: Look(%s) = %+v, want %+v", name, path, got, want)
			}
		}
	}
}

// TestNew: what becomes of the mounts, and which paths are looked for.
func TestNew(t *testing.T) {
	dangling := func(list []string, path string) Place {
		switch list[0] + " " + path {
		case rootfstest.Bundle + "/rootfs /var/run/x", "/up /var/run/x":
			return Place{Path: "/run/x", Dangling: true}
		case "/srv ./in":
			return Place{Path: "/in", Mode: 0o711}
		case rootfstest.Bundle + "/rootfs /deep":
			return Place{Path: strings.Repeat("/d", 300), Dangling: true}
		}
		return Place{Path: path}
	}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc"}, {Destination: "/plain", Type: "tmpfs"}, {Destination: "/mode", Type: "tmpfs", Options: []string{"mode=1770"}},
		{Destination: "/mode", Type: "tmpfs"}, {Destination: "/mode/in", Type: "tmpfs"}, {Destination: "/data", Source: "/srv"}, {Destination: "/data/in", Type: "tmpfs"},
	}
	r := root(t, mounts...)
	New(r, dangling)
	var modes []string
	for _, m := range r.All() {
		modes = append(modes, m.Destination+" "+strings.Join(m.Options, ","))
	}
	if got, want := strings.Join(modes, "; "), "/proc ; /plain mode=755; /mode mode=1770; /mode mode=1770; /mode/in mode=755; /data ; /data/in mode=711"; got != want {
		t.Errorf("the options are %s, want %s", got, want)
	}
	for path, want := range map[string]string{"/": "/", "/dev": "/dev", "/var/run/x": "/run/x", "/mode/var/run/x": "/mode/var/run/x", "/data/x": "/data/x", "/deep": "/deep"} {
		if got := r.Follow(path); got != want {
			t.Errorf("Follow(%s) = %s, want %s", path, got, want)
		}
	}
	r = root(t, specs.Mount{Destination: "/", Type: "overlay", Options: []string{"lowerdir=/a:/b", "upperdir=/up", "workdir=/work"}})
	New(r, dangling)
	if got := r.Follow("/var/run/x"); got != "/run/x" {
		t.Errorf("in an overlay Follow(/var/run/x) = %s, want /run/x", got)
	}
	if got := strings.Join(layersOf([]string{"lowerdir=/a:/b", "lowerdir+=/c", "upperdir=/up", "userxattr"}), " "); got != "/up /a /b /c" {
		t.Errorf("layersOf() = %s", got)
	}
}

func root(t *testing.T, mounts ...specs.Mount) *rootfs.Root {
	t.Helper()
	r, err := rootfs.New(rootfstest.Spec(mounts...), plan.Facts{}, rootfstest.Has(specs.MountNamespace), rootfstest.Bundle, rootfstest.IsDir)
	must(t, err)
	return r
}

// FuzzLook: no path and no link leads out of the layers, or round for ever.
func FuzzLook(f *testing.F) {
	for path := range places {
		f.Add(path, "../run")
		f.Add("/a/b", path)
	}
	f.Fuzz(func(t *testing.T, path, link string) {
		dir := t.TempDir()
		os.Symlink(link, dir+"/a") // an empty or endless target: then it is not there
		for _, list := range [][]string{{dir}, {dir, dir}} {
			if got := Look(list, path); got.Dangling && (!filepath.IsAbs(got.Path) || filepath.Clean(got.Path) != got.Path) {
				t.Errorf("Look(%q) with a link to %q = %+v, want a clean path", path, link, got)
			}
		}
	})
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
