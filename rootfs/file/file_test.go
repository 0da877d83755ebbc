package file

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
)

// TestOpen: what the container may put in the place of a file.
func TestOpen(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	for path, text := range map[string]string{secret: "host", filepath.Join(root, "plain"): "container"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"absolute": "/plain", "dots": "../../../plain", "host": secret, "out": "../" + filepath.Base(outside) + "/secret",
		"loop": "loop", "magic": "/proc/self/exe",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(root, "dir"), 0o700), unix.Mkfifo(filepath.Join(root, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "/plain", "../plain", "absolute", "dots"} {
		f, err := Open(root, name)
		if err != nil {
			t.Errorf("Open(%q) = %v", name, err)
			continue
		}
		if text, err := io.ReadAll(f); err != nil || string(text) != "container" {
			t.Errorf("Open(%q) reads %q, %v; want container", name, text, err)
		}
		f.Close()
	}
	for name, want := range map[string]error{
		"missing": fs.ErrNotExist, "dir": ErrNotRegular, "pipe": ErrNotRegular, "host": fs.ErrNotExist, "out": fs.ErrNotExist,
		"magic": fs.ErrNotExist, "loop": unix.ELOOP,
	} {
		if f, err := Open(root, name); !errors.Is(err, want) {
			t.Errorf("Open(%q) = %v, %v; want %v", name, f, err, want)
		}
	}
	// What the kernel answers is not read: /proc/kmsg would take the host's log away, and wait for more.
	for _, name := range []string{"proc/version", "proc/kmsg", "proc/self/status"} {
		if f, err := Open("/", name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("Open(/, %s) = %v, %v; want %v", name, f, err, ErrNotRegular)
		}
	}
}

// TestOpenAgain: what others rename meanwhile, anywhere, is no reason to fail.
func TestOpenAgain(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "a/b/c"), 0o700), os.WriteFile(filepath.Join(root, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	end, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for one, other := filepath.Join(root, "x"), filepath.Join(root, "y"); ; one, other = other, one {
			os.Mkdir(one, 0o700)
			os.Rename(one, other)
			select {
			case <-end:
				return
			default:
			}
		}
	}()
	for range 2000 {
		f, err := Open(root, "a/b/c/../../../a/../file")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	close(end)
	<-ended
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
