package stdio

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// TestBelow: what is called dev/null is opened only if it is the null device.
func TestBelow(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"nothing":         func(string) error { return nil },
		"a file":          func(path string) error { return os.WriteFile(path, nil, 0o666) },
		"a pipe":          func(path string) error { return unix.Mkfifo(path, 0o666) },
		"a directory":     func(path string) error { return os.Mkdir(path, 0o777) },
		"a link":          func(path string) error { return os.Symlink("/dev/null", path) },
		"the zero device": func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
		"a block device":  func(path string) error { return unix.Mknod(path, unix.S_IFBLK|0o666, int(unix.Mkdev(1, 3))) },
		"the null device": func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) },
	} {
		root := t.TempDir()
		path := filepath.Join(root, "dev/null")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), make(path)); errors.Is(err, unix.EPERM) {
			t.Logf("%s: no mknod: not tried", name)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		null, err := below(dir)
		unix.Close(dir)
		if (err == nil) != (name == "the null device") {
			t.Errorf("%s: %v", name, err)
		}
		null.Close()
	}
}

// TestReopenNull: each null device is replaced by one that is another inode, and nothing else.
func TestReopenNull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make devices")
	}
	hosts, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer hosts.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("/bin/sleep", "60")
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: "/", Cloneflags: unix.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := Of(int(w.Fd())); got != Pipe {
		t.Errorf("Of(a pipe) = %v", got)
	}
	in, out, diagnostics := hosts, w, hosts
	null, err := ReopenNull(cmd.Process.Pid, &in, &out, &diagnostics)
	if err != nil {
		t.Fatal(err)
	}
	if null == nil || in != null || out != w || diagnostics != null || Of(int(null.Fd())) != Null {
		t.Errorf("ReopenNull: %v, %v, %v, %v", null, in, out, diagnostics)
	}
	null.Close()
	cmd.Process.Kill()
	cmd.Wait()
	in = hosts
	if _, err := ReopenNull(cmd.Process.Pid, &in); !errors.Is(err, plan.ErrJoinedEnded) {
		t.Errorf("ReopenNull of one that has ended: %v", err)
	}
}

// TestCreate: a new null device is nobody else's.
func TestCreate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make devices")
	}
	defer unix.Umask(unix.Umask(0o777))
	null, err := create()
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var own, hosts unix.Stat_t
	if err := errors.Join(unix.Fstat(int(null.Fd()), &own), unix.Stat("/dev/null", &hosts)); err != nil {
		t.Fatal(err)
	}
	if own.Dev == hosts.Dev || own.Mode != unix.S_IFCHR|0o666 || Of(int(null.Fd())) != Null {
		t.Errorf("device %d mode %o; the host's is on device %d", own.Dev, own.Mode, hosts.Dev)
	}
	if _, err := null.WriteString("text"); err != nil {
		t.Error(err)
	}
}
