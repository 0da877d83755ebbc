package sourceflags

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// steps are the flags that are taken away from a mount with these options, one word each.
func steps(t *testing.T, options string, locked bool, has int64) (string, error) {
	t.Helper()
	spec := rootfstest.Spec(specs.Mount{Destination: "/m", Source: "/srv", Options: strings.Split(options, ",")})
	r, err := rootfs.New(spec, plan.Facts{}, rootfstest.Has(), rootfstest.Bundle, rootfstest.IsDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := New(spec, r, locked, func(string) int64 { return has }); err != nil {
		return "", err
	}
	p := &plan.Plan{}
	if m := r.All()[0]; m.Change != nil {
		m.Change(p, plan.CWD)
	}
	var words []string
	for _, s := range p.Steps {
		_, name, _ := strings.Cut(s.Note, "the source has ")
		name, _, _ = strings.Cut(name, ";")
		words = append(words, name)
		if len(s.Tolerated) != 1 || s.Tolerated[0] != unix.EPERM {
			t.Errorf("%s: %s tolerates %v, want EPERM: the flag may be locked", options, s, s.Tolerated)
		}
	}
	return strings.Join(words, " "), nil
}

// TestNew: which flags of the source go.
func TestNew(t *testing.T) {
	const all = unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | 0x2000 | unix.ST_RELATIME
	for _, c := range []struct {
		options       string
		has           int64
		want, refused string
	}{
		{"bind", all, "", ""},
		{"rbind,rslave", all, "", ""},
		{"bind,nosuid", 0, "", ""},
		{"bind,nosuid", unix.ST_RELATIME, "", ""},
		{"bind,nosuid", all, "ro nodev noexec nosymfollow", ""},
		{"bind,ro,nosuid,nodev,noexec,nosymfollow", all, "", ""},
		{"bind,noatime", unix.ST_NODEV, "nodev", ""},
		{"bind,rw", unix.ST_RDONLY | unix.ST_NODEV, "", `option "rw"`},
		{"bind,rrw", unix.ST_RDONLY, "", `option "rw"`},
		{"bind,nodev,exec", unix.ST_NOEXEC | unix.ST_NOSUID, "nosuid", `option "exec"`},
		{"bind,dev", unix.ST_NOEXEC, "", ""},
	} {
		if got, err := steps(t, c.options, false, c.has); err != nil || got != c.want {
			t.Errorf("%s of %#x: %q, %v; want %q", c.options, c.has, got, err, c.want)
		}
		got, err := steps(t, c.options, true, c.has)
		if c.refused == "" && (err != nil || got != "") || c.refused != "" && (err == nil || !strings.Contains(err.Error(), `mounts[0] "/m": `+c.refused)) {
			t.Errorf("%s of %#x in a user namespace: %q, %v; want nothing taken away, and refused: %s", c.options, c.has, got, err, c.refused)
		}
	}
}

// TestOf: the numbers of statfs(2), as the kernel has them.
func TestOf(t *testing.T) {
	if got := Of("/nowhere/at/all"); got != 0 {
		t.Errorf("Of() of a missing path = %#x, want 0", got)
	}
	if os.Geteuid() != 0 {
		t.Skip("no root: only root may mount")
	}
	dir := t.TempDir()
	for _, f := range flags {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_set: f.attr})
		got := Of(dir)
		unix.Unmount(dir, unix.MNT_DETACH)
		if err != nil || got&f.statfs == 0 || got&^(f.statfs|unix.ST_RELATIME|0x20) != 0 { // ST_VALID
			t.Errorf("%s: Of() = %#x, %v; want %#x", f.name, got, err, f.statfs)
		}
	}
}
