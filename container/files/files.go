// Package files writes what must be whole, and finds out whether what is there can be
// trusted: for the states of containers, and the store of bundles.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"minirun/namespaces"
)

// Replace writes a file by renaming a new one over it, so that nobody ever reads half
// of it. The temporary name may be in use, by a file of ours from before a kill, or by
// a link that another user has laid there: it goes first.
func Replace(path string, data []byte, perm os.FileMode) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, path)
}

// CheckOwner refuses a directory that another user has made, or can write to. One that
// does not exist is none. name and option are for the error: what it is, and by which
// option another one can be given.
func CheckOwner(dir, name, option string) error {
	link, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	target, err := os.Stat(dir)
	if err != nil {
		return err
	}
	for _, info := range []fs.FileInfo{link, target} {
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && int(owner) != os.Geteuid() {
			return fmt.Errorf("%s %s: it is user %d's: remove it, or give another one by %s", name, dir, owner, option)
		}
	}
	if mode := target.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s %s: others may write to it (mode %#o): chmod go-w it, or give another one by %s", name, dir, mode, option)
	}
	return nil
}

// DefaultRoot is where the states of the calling user's containers are. Rootless Podman runs us as root of a
// user namespace with $USER unchanged; we then use that user's directory, not /run.
func DefaultRoot() string {
	uid, dir := os.Geteuid(), os.Getenv("XDG_RUNTIME_DIR")
	switch {
	case uid == 0 && (os.Getenv("USER") == "root" || dir == "" || namespaces.InitialUser()):
		return "/run/minirun"
	case dir != "":
		return filepath.Join(dir, "minirun")
	}
	return fmt.Sprintf("/tmp/minirun-%d", uid)
}
