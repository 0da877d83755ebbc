package below

import (
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file looks into a root directory, link by link: the kernel says that a path is
// missing, but not which part of it, nor where a link on the way has led.

// maxLinks is how many links the kernel follows in one path (path_resolution(7)).
const maxLinks = 40

// Look finds where path leads in a root directory that is stacked from layers, the
// topmost first. What cannot be found out, such as a layer that may not be read, is as
// if it were missing, and not behind a link.
func Look(layers []string, path string) Place {
	v := open(layers)
	defer v.close()
	if len(v) == 1 { // nearly always there is one, and the path is there: two calls
		if s, ok := stat(v[0], path, unix.O_PATH, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS); ok {
			return Place{Path: path, Mode: s.Mode & 0o7777}
		}
	}
	return v.walk(path)
}

// walk goes through the parts of a path. The first that is missing decides: only if a
// link has brought it in, the path is dangling.
func (v view) walk(path string) Place {
	at, mode := "/", uint32(0)
	rest := parts(path)
	linked, links := 0, 0 // of rest, the first so many come from links
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		fromLink := linked > 0
		linked = max(0, linked-1)
		next := filepath.Join(at, name)
		if name == ".." {
			at = next
			continue
		}
		s, target, ok := v.find(next)
		switch {
		case !ok:
			return Place{Path: filepath.Join(next, filepath.Join(rest...)), Dangling: fromLink}
		case s.Mode&unix.S_IFMT != unix.S_IFLNK:
			at, mode = next, s.Mode&0o7777
			continue
		}
		if links++; links > maxLinks {
			return Place{Path: path}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		added := parts(target)
		rest, linked = append(added, rest...), linked+len(added)
	}
	return Place{Path: at, Mode: mode}
}

// parts are the names in a path.
func parts(path string) (names []string) {
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// A view is the open layers of a root directory, the topmost first.
type view []int

func open(layers []string) (v view) {
	for _, dir := range layers {
		if fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			v = append(v, fd)
		}
	}
	return v
}

func (v view) close() {
	for _, fd := range v {
		unix.Close(fd)
	}
}

// find looks for a path of whose directories none is a link. As in an overlay, the
// topmost layer that has it decides, and a layer hides those below it by a file in
// place of one of the directories, or by an opaque directory.
func (v view) find(path string) (s unix.Stat_t, target string, ok bool) {
	for i, layer := range v {
		fd, err := openat(layer, path, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
		if err == unix.ENOENT && (i == len(v)-1 || !opaque(layer, filepath.Dir(path))) {
			continue
		} else if err != nil {
			return s, "", false
		}
		defer unix.Close(fd)
		if unix.Fstat(fd, &s) != nil || s.Mode&unix.S_IFMT == unix.S_IFCHR && s.Rdev == 0 { // a whiteout
			return s, "", false
		}
		if s.Mode&unix.S_IFMT == unix.S_IFLNK {
			b := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(fd, "", b)
			return s, string(b[:max(0, n)]), err == nil
		}
		return s, "", true
	}
	return s, "", false
}

// opaque says whether a directory of a layer, or one above it, hides what the layers
// below have there: by an extended attribute, which has another name in a user's layers.
func opaque(layer int, path string) bool {
	for ; path != "/"; path = filepath.Dir(path) {
		fd, err := openat(layer, path, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
		if err != nil {
			continue // a directory that this layer does not have
		}
		b := make([]byte, 1)
		for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
			if n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(fd), name, b); err == nil && n == 1 && b[0] == 'y' {
				unix.Close(fd)
				return true
			}
		}
		unix.Close(fd)
	}
	return false
}

func openat(dir int, path string, flags int, resolve uint64) (int, error) {
	return plan.Openat2(dir, path, unix.OpenHow{Flags: uint64(flags), Resolve: resolve})
}

// stat is openat and fstat(2).
func stat(dir int, path string, flags int, resolve uint64) (s unix.Stat_t, ok bool) {
	fd, err := openat(dir, path, flags, resolve)
	if err != nil {
		return s, false
	}
	defer unix.Close(fd)
	return s, unix.Fstat(fd, &s) == nil
}
