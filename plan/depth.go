package plan

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// errTooDeep is the error of CheckDepth that is no errno.
var errTooDeep = errors.New("more than 256 directories, one in another")

// CheckDepth refuses a path of the container that is too long or too deep, for
// paths whose missing directories are made. Each directory is then a step, which
// opens it by its path from the root. So the work grows with the square of the
// depth, and the author of an image must not choose that.
func CheckDepth(file string) error {
	switch {
	case len(file) >= unix.PathMax:
		return unix.ENAMETOOLONG
	case strings.Count(path.Clean("/"+file), "/") > 256:
		return errTooDeep
	}
	return nil
}
