// Package owner says whose a group is.
//
// The path of a group does not say it. When a container has ended, its group may be
// removed, and another container's may be made with the same path. Or the empty group is
// left, and another container is put into it: then even the inode is the same. Whoever
// remembers only the path, or only the inode, kills the other container.
//
// So each container marks its group before it has a process in it, with a random
// number of its own, and its state keeps the number. The mark is an extended attribute of
// the group's directory:
//
//	trusted.minirun   if the runtime is root. Only root of the host can change it
//	user.minirun      else. Whoever owns the group can change it
//
// The mark goes with the group: when it is removed, and when the machine boots again. The
// next container in the group writes its own mark over it.
//
// A class of resctrl (package resctrl) is a directory of the same kind, and is marked, too.
//
// Linux 5.7 for user.minirun. Man pages: [xattr(7)], [setxattr(2)].
//
// [xattr(7)]: https://man7.org/linux/man-pages/man7/xattr.7.html
// [setxattr(2)]: https://man7.org/linux/man-pages/man2/setxattr.2.html
package owner

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// The names of the attribute, in the order in which they are looked for.
const (
	trusted = "trusted.minirun"
	user    = "user.minirun"
)

// A Mark is a container's, in the form in which its state keeps it. The state of a container
// that was made before there were marks has "": it owns what has no mark.
type Mark string

// Printed is the mark in a plan that is only printed.
const Printed Mark = "00000000000000000000000000000000"

// New returns a mark that nobody has had before.
func New() Mark { return Mark(fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())) }

// Note is what a plan says of the call.
const Note = "whose it is: a later delete, kill or ps acts on it only if it finds this number, which is in state.json"

// Set is the arguments of setxattr(2) by which a directory gets the mark. privileged says
// that the runtime is root of the host.
func (m Mark) Set(dir string, privileged bool) []plan.Arg {
	return []plan.Arg{plan.String(dir), plan.String(name(privileged)), plan.String(m), plan.Num(len(m)), plan.Num(0)}
}

// Restore is how the call is undone if the plan fails: the directory gets back the mark that
// it has now. Its last owner may still have to remove it.
func (Mark) Restore(dir string, privileged bool) (text string, undo func() error) {
	old, err := of(dir)
	return "the mark that it had", func() error {
		set := unix.Removexattr(dir, name(privileged))
		if err == nil && old != "" {
			set = unix.Setxattr(dir, name(privileged), []byte(old), 0)
		}
		if set == unix.ENOENT { // systemd has removed the group with its unit
			return nil
		}
		return set
	}
}

func name(privileged bool) string {
	if privileged {
		return trusted
	}
	return user
}

// of returns the mark of a directory; "" if it has none. A directory that was removed is
// ENOENT.
func of(dir string) (Mark, error) {
	for _, name := range []string{trusted, user} {
		mark := make([]byte, 64)
		n, err := unix.Getxattr(dir, name, mark)
		switch {
		case err == nil:
			return Mark(mark[:n]), nil
		case err != unix.ENODATA && err != unix.EOPNOTSUPP: // EOPNOTSUPP: no file system for marks, so there is none
			return "", fmt.Errorf("getxattr %s %s: %w", dir, name, err)
		}
	}
	return "", nil
}

// On says whether a directory is there and has this mark.
func (m Mark) On(dir string) (bool, error) {
	found, err := of(dir)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return err == nil && found == m, err
}

// Sweep removes a directory that has no mark, because its maker was killed between mkdir(2)
// and the mark. The kernel removes no group with processes (EBUSY): those are another's.
func (Mark) Sweep(dir string) error {
	unmarked, err := Mark("").On(dir)
	if err != nil || !unmarked {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT && err != unix.EBUSY {
		return fmt.Errorf("rmdir %s: %w", dir, err)
	}
	return nil
}
