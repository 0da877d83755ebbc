// Package files writes what must be whole, where the caller of a command says. What is in
// directories of our own is written and read by package private (rootfs/image/private).
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"minirun/namespaces"
)

// Replace writes a file by renaming a new one over it, so that nobody ever reads half
// of it. The new one has a name that nobody else has: what others have laid beside the
// file, in a directory that they can write to, stays. The mode is perm, whatever the
// caller's umask.
func Replace(path string, data []byte, perm os.FileMode) error {
	if err := CheckRegular(path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".minirun-*")
	var failed *fs.PathError
	if errors.As(err, &failed) { // whoever reads the error knows the file only by its own name
		return &fs.PathError{Op: failed.Op, Path: path, Err: failed.Err}
	} else if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(perm), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// CheckRegular refuses a path at which there is something else than a regular file: to
// replace /dev/null, which root can, would harm the whole machine.
func CheckRegular(path string) error {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return &fs.PathError{Op: "write", Path: path, Err: errors.New("not a regular file")}
	}
	return nil // what cannot be looked at cannot be written either
}

// Mkdir makes a directory with exactly this mode, whatever the caller's umask.
func Mkdir(path string, perm os.FileMode) error {
	if err := os.Mkdir(path, perm); err != nil {
		return err
	}
	return os.Chmod(path, perm)
}

// DefaultRoot is where the states of the calling user's containers are. Rootless Podman runs us as root of a
// user namespace with $USER unchanged; we then use that user's directory, not /run.
func DefaultRoot() string {
	uid, dir := os.Geteuid(), Absolute("XDG_RUNTIME_DIR")
	switch {
	case uid == 0 && (os.Getenv("USER") == "root" || dir == "" || namespaces.InitialUser()):
		return "/run/minirun"
	case dir != "":
		return filepath.Join(dir, "minirun")
	}
	return fmt.Sprintf("/tmp/minirun-%d", uid)
}

// Absolute is a directory that an environment variable names, or "". A relative path is
// ignored, as the XDG Base Directory Specification wants: it would be another directory
// for each command.
func Absolute(variable string) string {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return dir
	}
	return ""
}
