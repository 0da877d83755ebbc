package image

// What needs a process of its own: a private mount namespace, or an end by
// SIGKILL.

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// registerHelpers fills helpers; a table would refer to itself.
func registerHelpers() {
	helpers["full disk"] = helpFullDisk
	helpers["overlay"] = helpOverlay
	helpers["look"] = helpLook
	helpers["stuck"] = helpStuck
	helpers["mapped"] = helpMapped
}

// privately mounts something where only this process sees it.
func privately(source, target, kind, options string) error {
	// Why private first? A shared mount would carry ours to the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}

func runHelper(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Wherever the disk gets full there is one line, and nothing is left.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.tar")
	var entries []entry
	for i := range 100 {
		entries = append(entries, file(fmt.Sprintf("d%d/f", i), strings.Repeat("x", 16<<10)))
	}
	if err := os.WriteFile(path, dockerArchive(t, "x", "", plainLayer(archive(t, entries...))), 0o644); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "store")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	runHelper(t, helper(t, "full disk", true, path, target))
}

func helpFullDisk(args []string) error {
	for _, size := range []string{"64k", "1m", "2m", "3m", "4m"} {
		if err := privately("tmpfs", args[1], "tmpfs", "mode=700,size="+size); err != nil {
			return err
		}
		if err := loadFull(args[0], args[1]); err != nil {
			return fmt.Errorf("size %s: %w", size, err)
		}
		if err := unix.Unmount(args[1], unix.MNT_DETACH); err != nil {
			return err
		}
	}
	return nil
}

func loadFull(path, root string) error {
	s, err := Open(root, Options{})
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = s.Load(f)
	if size := freeBlocks(root); err == nil && size > 0 {
		return nil // it fitted
	}
	if !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "\n") || !strings.HasSuffix(err.Error(), ": no space left on device") {
		return fmt.Errorf("load = %w, want one line about no space left", err)
	}
	for _, name := range []string{"tmp", "layers", "blobs/sha256"} {
		if left, err := os.ReadDir(filepath.Join(root, name)); err != nil || len(left) != 0 {
			return fmt.Errorf("%s holds %v, %w", name, left, err)
		}
	}
	return nil
}

func freeBlocks(path string) uint64 {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0
	}
	return stat.Bfree
}

func overlayLayers(t testing.TB) []testLayer {
	bottom := plainLayer(archive(t, file("gone", "x"), file("kept", "x"), file("opaque/old", "x"), file("merged/old", "x"), file("merged/gone", "x"), file("replaced/old", "x"), file("changed", "old"), file("etc", "")))
	top := plainLayer(archive(t, file(".wh.gone", ""), file("opaque/.wh..wh..opq", ""), file("opaque/new", "x"), file("merged/new", "x"), file("merged/.wh.gone", ""), file(".wh.replaced", ""), file("replaced/new", "x"), file("changed", "new")))
	return []testLayer{bottom, top}
}

// The kernel's overlayfs has the last word on whiteouts and opaque directories.
func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(filepath.Join(dir, "store"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	needRoot(t, "mounting takes CAP_SYS_ADMIN")
	image := load(t, s, dockerArchive(t, "x", "", overlayLayers(t)...))
	target := filepath.Join(dir, "merged")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	// The name of a test may not hold colons or commas here.
	runHelper(t, helper(t, "overlay", true, target, "lowerdir="+strings.Join(image.Layers(), ":")))
	// The same layers for everybody: user.overlay.opaque, option userxattr.
	mine, err := Open(filepath.Join(dir, "mine"), Options{Ownership: Mine})
	if err != nil {
		t.Fatal(err)
	}
	image = load(t, mine, dockerArchive(t, "x", "", overlayLayers(t)...))
	runHelper(t, helper(t, "overlay", true, target, "userxattr,lowerdir="+strings.Join(image.Layers(), ":")))
}

// An ordinary user, root only in a user namespace, sees the same. Nothing but
// the user's own id is mapped.
func TestRootlessOverlay(t *testing.T) {
	s := newStore(t, Options{Ownership: Mine})
	image := load(t, s, dockerArchive(t, "x", "", overlayLayers(t)...))
	target := t.TempDir()
	cmd := helper(t, "overlay", false, target, "userxattr,lowerdir="+strings.Join(image.Layers(), ":"))
	inUserNamespace(t, cmd, 1)
	runHelper(t, cmd)
}

// Root of a user namespace with a range of ids keeps owners, as the namespace
// sees them, and is told which device nodes it cannot make.
func TestMapped(t *testing.T) {
	needRoot(t, "writing a map of several ids takes CAP_SETUID")
	root := t.TempDir()
	if err := os.Chown(root, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	// The directories above belong to the host's root, which is not mapped.
	for dir := filepath.Dir(root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	cmd := helper(t, "mapped", false, root)
	inUserNamespace(t, cmd, 10)
	runHelper(t, cmd)
	var stat unix.Stat_t
	l := plainLayer(mappedLayer(t, 3))
	if err := unix.Stat(filepath.Join(root, "layers", l.diffID().Hex(), "f"), &stat); err != nil || stat.Uid != 1003 {
		t.Errorf("owner of f: %d, %v, want 1003, which is 3 inside", stat.Uid, err)
	}
}

func mappedLayer(t testing.TB, uid int) []byte {
	return archive(t, entry{name: "f", uid: uid}, entry{name: "null", kind: tar.TypeChar, dev: [2]int64{1, 3}}, file("o/.wh..wh..opq", ""))
}

func helpMapped(args []string) error {
	t := &testing.T{} // only to build archives, which does not fail
	var skipped []string
	s, err := Open(args[0], Options{Ownership: Mapped, Skipped: func(s Skip) { skipped = append(skipped, s.Name) }})
	if err != nil {
		return err
	}
	l := plainLayer(mappedLayer(t, 3))
	images, err := s.Load(bytes.NewReader(dockerArchive(t, "x", "", l)))
	if err != nil {
		return err
	}
	if got := xattr(filepath.Join(images[0].Layers()[0], "o"), "user.overlay.opaque"); got != "y" || fmt.Sprint(skipped) != "[null]" {
		return fmt.Errorf("opaque = %q, skipped %q, want y, null", got, skipped)
	}
	_, err = s.Load(bytes.NewReader(dockerArchive(t, "y", "", plainLayer(mappedLayer(t, 11)))))
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "does not map") {
		return fmt.Errorf("an id that is not mapped: %w", err)
	}
	return nil
}

// inUserNamespace lets cmd be root in new user and mount namespaces in which
// size ids are mapped.
func inUserNamespace(t *testing.T, cmd *exec.Cmd, size int) {
	t.Helper()
	uid, gid := os.Getuid(), os.Getgid()
	if size > 1 {
		uid, gid = 1000, 1000
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		cmd.SysProcAttr.Credential = &syscall.Credential{} // root, inside
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: size}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: size}}
	if content, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err != nil || string(content) == "0\n" {
		t.Skip("needs user namespaces: sysctl user.max_user_namespaces is 0")
	}
}

func helpOverlay(args []string) error {
	if err := privately("overlay", args[0], "overlay", args[1]); err != nil {
		return err
	}
	const want = "changed etc kept merged merged/new merged/old opaque opaque/new replaced replaced/new"
	var names []string
	err := filepath.WalkDir(args[0], func(path string, _ os.DirEntry, err error) error {
		if path != args[0] {
			names = append(names, strings.TrimPrefix(path, args[0]+"/"))
		}
		return err
	})
	if got := strings.Join(names, " "); err != nil || got != want {
		return fmt.Errorf("overlay shows %q, %w, want %q", got, err, want)
	}
	if content, err := os.ReadFile(filepath.Join(args[0], "changed")); err != nil || string(content) != "new" {
		return fmt.Errorf("changed = %q, %w, want new", content, err)
	}
	return nil
}

// A load that is killed is not seen, and the next one sweeps up after it.
func TestKilledLoad(t *testing.T) {
	l := plainLayer(archive(t, file("a", strings.Repeat("x", 100<<10)), file("b", "y")))
	content := dockerArchive(t, "x", "", l)
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, stop := range []string{"1", "2", "3"} {
		s := newStore(t, Options{})
		killStuck(t, path, s.root, stop)
		if len(contents(t, s, "tmp")) == 0 {
			t.Error("nothing in tmp: the load was not killed in the middle")
		}
		if images, err := s.List(); err != nil || len(images) != 0 {
			t.Errorf("List = %v, %v, want nothing", images, err)
		}
		load(t, s, content)
		if left := contents(t, s, "tmp"); len(left) != 0 {
			t.Errorf("tmp holds %q after the next load", left)
		}
	}
}

// killStuck runs a load that stops in the middle, and kills it there.
func killStuck(t *testing.T, args ...string) {
	t.Helper()
	cmd := helper(t, "stuck", false, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "stuck\n" {
		t.Errorf("the helper said %q, %v", line, err)
	}
	cmd.Process.Kill()
	cmd.Wait() // says that it was killed, which is what we want
}

// helpStuck loads args[0] into args[1] and stops at the args[2]th read of a layer.
func helpStuck(args []string) error {
	reads := 0
	stop := func(p Progress) {
		if p.Layer != "" {
			reads++
		}
		if fmt.Sprint(reads) == args[2] {
			fmt.Println("stuck")
			time.Sleep(time.Minute)
		}
	}
	s, err := Open(args[1], Options{Ownership: ownership(), Progress: stop})
	if err != nil {
		return err
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = s.Load(f)
	return err
}

// While somebody loads, tmp is not swept; what is held is not removed.
func TestSweepSparesTheLiving(t *testing.T) {
	s := newStore(t, Options{})
	pipe, writer := io.Pipe()
	done := make(chan error)
	content := dockerArchive(t, "slow", "", plainLayer(archive(t, file("a", "x"))))
	go func() {
		_, err := s.Load(pipe)
		done <- err
	}()
	if _, err := writer.Write(content[:1000]); err != nil {
		t.Fatal(err)
	}
	load(t, s, dockerArchive(t, "fast", "2", plainLayer(archive(t, file("b", "x")))))
	if _, err := io.Copy(writer, bytes.NewReader(content[1000:])); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if err := <-done; err != nil {
		t.Errorf("the slow load: %v", err)
	}
}

func TestHoldKeepsRemoveWaiting(t *testing.T) {
	s := newStore(t, Options{})
	load(t, s, dockerArchive(t, "x", ""))
	release, err := s.Hold()
	if err != nil {
		t.Fatal(err)
	}
	removed := make(chan error)
	go func() {
		_, err := s.Remove("x", nil)
		removed <- err
	}()
	select {
	case <-removed:
		t.Error("Remove did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	if _, err := s.Find("x"); err != nil {
		t.Errorf("Find while held: %v", err)
	}
	release()
	if err := <-removed; err != nil {
		t.Error(err)
	}
}
