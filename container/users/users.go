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
	"strings"

	"minirun/rootfs/file"
)

// longest is more than any honest file has.
const longest = 1 << 20

// Open opens a file, such as "etc/passwd", below a container's root directory. A file
// that is missing, or that is no regular file, is empty; one that is too long is cut.
func Open(root, path string) (io.ReadCloser, error) {
	f, err := file.Open(root, path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, file.ErrNotRegular) {
		return io.NopCloser(strings.NewReader("")), nil
	} else if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, longest), f}, nil
}

// Of opens a file of the container whose process this is, as that sees it now.
func Of(pid int, path string) (io.ReadCloser, error) {
	return Open(fmt.Sprintf("/proc/%d/root", pid), path)
}
