package private

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRemoveAll: what a container may leave, deeper than there are descriptors,
// and closed to its owner.
func TestRemoveAll(t *testing.T) {
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 90, Max: old.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for _, mode := range []uint32{0o755, 0} {
		outside := t.TempDir()
		must(t, os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600))
		dir := filepath.Join(t.TempDir(), "dir")
		must(t, os.Mkdir(dir, 0o755))
		at, err := unix.Open(dir, unix.O_PATH, 0)
		must(t, err)
		for range 300 {
			must(t, unix.Mkdirat(at, "deep", 0o755))
			must(t, unix.Mkdirat(at, ".moved-1", 0o755))
			must(t, unix.Symlinkat(outside, at, "link"))
			next, err := unix.Openat(at, "deep", unix.O_PATH, 0)
			must(t, err)
			if mode == 0 {
				must(t, unix.Fchmodat(at, ".moved-1", 0, 0))
			}
			unix.Close(at)
			at = next
		}
		unix.Close(at)
		if mode == 0 {
			must(t, os.Chmod(filepath.Join(dir, "deep/deep"), 0))
			must(t, os.Chmod(filepath.Join(dir, "deep"), 0o500))
		}
		must(t, removeAll(t, dir))
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("mode %o: Lstat() after RemoveAll() = %v, want that it is not there", mode, err)
		}
		if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
			t.Errorf("mode %o: a link was followed: %v", mode, err)
		}
	}
	if err := removeAll(t, filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("RemoveAll() of nothing = %v, want nil", err)
	}
}

func removeAll(t *testing.T, path string) error {
	d, err := Store.Open(filepath.Dir(path))
	must(t, err)
	defer d.Close()
	return d.RemoveAll(filepath.Base(path))
}
