package testbed

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCut: the program cut changes the file or pipe that it is given, and no device.
func TestCut(t *testing.T) {
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		Must(t, err)
		return info.Mode().Perm()
	}
	dir := t.TempDir()
	file, pipe, device := filepath.Join(dir, "file"), filepath.Join(dir, "pipe"), filepath.Join(dir, "device")
	Must(t, os.WriteFile(file, []byte("before"), 0o600))
	Must(t, unix.Mkfifo(pipe, 0o600))
	for _, path := range []string{file, pipe} {
		if cut(path); mode(path) != 0o777 {
			t.Errorf("cut(%s) leaves mode %o, want 777", path, mode(path))
		}
	}
	if text, err := os.ReadFile(file); err != nil || len(text) > 0 {
		t.Errorf("cut leaves %q, %v in the file", text, err)
	}
	if os.Geteuid() != 0 {
		t.Skip("no root: no device to be spared")
	}
	Must(t, unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	if cut(device); mode(device) != 0o600 {
		t.Errorf("cut(a device) leaves mode %o, want 600", mode(device))
	}
}
