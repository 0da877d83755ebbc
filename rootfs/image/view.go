package image

// An image's root directory as a container sees it: before there is one, and without
// mounting anything. Who the image's USER is depends on it.
//
// The rules are overlayfs's (overlayfs.rst, "Upper and Lower"). A name is looked up in
// each layer, the topmost first. What is found first counts; directories are merged
// with those of the same name below, until a layer has a whiteout or something else in
// its place, or the directory is opaque. Symbolic links are followed in the result of
// that, so a link in one layer leads to files of another.

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSteps bounds the directories that one lookup goes through. Each is looked for in
// every layer.
const maxSteps = 1000

// A View is an image's root directory, and what is mounted in it.
type View struct {
	trees  []tree
	layers int            // how many of trees, from the first on, are layers
	mounts map[string]int // which tree is mounted at a place
	opaque string         // the attribute of opaque directories
}

// A tree is a directory of the host's that is seen at a place in the root directory.
type tree struct{ dir, place string }

// View is the root directory that the layers make.
func (i *Image) View() *View {
	v := &View{mounts: map[string]int{}, opaque: i.store.options.Ownership.opaqueAttribute()}
	for _, dir := range i.Layers() {
		v.trees = append(v.trees, tree{dir: dir})
	}
	v.layers = len(v.trees)
	return v
}

// Mount covers destination with a file or a directory of the host's.
func (v *View) Mount(source, destination string) {
	if real, err := filepath.EvalSymlinks(source); err == nil {
		source = real
	}
	place := path.Join("/", destination)[1:]
	if there, err := v.walk(place); err == nil {
		place = there.place
	}
	v.mounts[place] = len(v.trees)
	v.trees = append(v.trees, tree{source, place})
}

// host is the path on the host of a place in tree i.
func (v *View) host(i int, place string) string {
	return filepath.Join(v.trees[i].dir, strings.TrimPrefix(place, v.trees[i].place))
}

// Locate returns where a file is on the host: a directory and the path below it, on which
// there are no symbolic links unless somebody else is changing a volume. Package
// rootfs/file opens such files.
func (v *View) Locate(name string) (dir, below string, err error) {
	f, err := v.walk(name)
	if err != nil {
		return "", "", &fs.PathError{Op: "open", Path: name, Err: err}
	}
	t := v.trees[f.trees[0]]
	if f.place == t.place { // a volume that is a file
		return filepath.Dir(t.dir), filepath.Base(t.dir), nil
	}
	return t.dir, strings.TrimPrefix(f.place, t.place), nil
}

// Find returns the place of a file, its path without links and without the first slash,
// and what is there.
func (v *View) Find(path string) (place string, stat unix.Stat_t, err error) {
	f, err := v.walk(path)
	if err != nil {
		return "", stat, &fs.PathError{Op: "find", Path: path, Err: err}
	}
	return f.place, f.stat, nil
}

// found is where a walk is: at a place that one tree has, or that several have as a
// directory, the topmost first.
type found struct {
	place string
	trees []int
	stat  unix.Stat_t // of the topmost
}

// walk follows a path.
func (v *View) walk(name string) (found, error) {
	at := found{stat: unix.Stat_t{Mode: unix.S_IFDIR | 0o755}}
	for i := range v.layers {
		at.trees = append(at.trees, i)
	}
	from := []found{at} // the directories that led here; the root first
	rest := backwards(name)
	for steps, followed := 0, 0; len(rest) > 0; steps++ {
		part := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		at = from[len(from)-1]
		switch {
		case steps == maxSteps:
			return at, unix.ELOOP
		case at.stat.Mode&unix.S_IFMT != unix.S_IFDIR:
			return at, unix.ENOTDIR
		case part == "", part == ".":
			continue
		case part == "..":
			from = from[:max(1, len(from)-1)]
			continue
		}
		next, err := v.lookup(at, part)
		if err != nil {
			return at, err
		}
		if next.stat.Mode&unix.S_IFMT != unix.S_IFLNK {
			from = append(from, next)
			continue
		}
		target, err := os.Readlink(v.host(next.trees[0], next.place))
		if followed++; err != nil || followed > maxFollowed {
			return at, errors.Join(err, unix.ELOOP)
		}
		if strings.HasPrefix(target, "/") {
			from = from[:1]
		}
		rest = append(rest, backwards(target)...)
	}
	return from[len(from)-1], nil
}

// lookup looks for part in a directory.
func (v *View) lookup(at found, part string) (found, error) {
	next := found{place: path.Join(at.place, part)}
	candidates := at.trees
	if mounted, ok := v.mounts[next.place]; ok {
		candidates = []int{mounted}
	}
	for _, i := range candidates {
		var stat unix.Stat_t
		host := v.host(i, next.place)
		if err := unix.Lstat(host, &stat); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return next, err
		}
		directory := stat.Mode&unix.S_IFMT == unix.S_IFDIR
		switch {
		case len(next.trees) == 0 && !isWhiteoutMark(&stat):
			next.stat, next.trees = stat, []int{i}
		case directory:
			next.trees = append(next.trees, i)
		}
		if !directory || v.isOpaque(host) {
			break
		}
	}
	if len(next.trees) == 0 {
		return next, unix.ENOENT
	}
	return next, nil
}

func (v *View) isOpaque(directory string) bool {
	value := make([]byte, 2)
	n, err := unix.Lgetxattr(directory, v.opaque, value) // ENODATA: it is not
	return err == nil && string(value[:n]) == "y"
}
