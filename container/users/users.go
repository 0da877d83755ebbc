// Package users opens the files that say which users a container has: /etc/passwd
// and /etc/group in its root. Package passwd of process reads them.
//
// Their text is whatever the container wants it to be, and so may be the files
// themselves: a link to somewhere else, a FIFO that never ends, as long as the disk.
package users

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/process/passwd"
	"minirun/rootfs/file"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Open opens a file, such as "etc/passwd", below a container's root directory. A file
// that is missing, or that is no regular file, is empty.
func Open(root, path string) (io.ReadCloser, error) { return orEmpty(file.Open(root, path)) }

// Of opens a file of the container whose process this is, as that sees it now.
func Of(pid int, path string) (io.ReadCloser, error) {
	return Open(fmt.Sprintf("/proc/%d/root", pid), path)
}

func orEmpty(f *os.File, err error) (io.ReadCloser, error) {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, file.ErrNotRegular):
		return io.NopCloser(strings.NewReader("")), nil
	case err != nil:
		return nil, err
	}
	return f, nil
}

// Lookup finds a user and the home directory, see [passwd.Lookup], in the files of a
// root directory, in which open opens them.
func Lookup(user string, open func(path string) (*os.File, error)) (specs.User, string, error) {
	users, groups := read(open, "etc/passwd"), read(open, "etc/group")
	defer users.Close()
	defer groups.Close()
	return passwd.Lookup(user, users, groups)
}

// LookupOf is Lookup in the root directory that a process sees now.
func LookupOf(user string, pid int) (specs.User, string, error) {
	return Lookup(user, func(path string) (*os.File, error) { return file.Open(fmt.Sprintf("/proc/%d/root", pid), path) })
}

// read opens a file. That it cannot be opened is an error of reading it: who is given
// as numbers does not need it.
func read(open func(path string) (*os.File, error), path string) io.ReadCloser {
	f, err := orEmpty(open(path))
	if err != nil {
		return unreadable{err}
	}
	return f
}

type unreadable struct{ err error }

func (u unreadable) Read([]byte) (int, error) { return 0, u.err }
func (u unreadable) Close() error             { return nil }
