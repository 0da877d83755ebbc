// Package below looks at the directories that the container's mounts are going to cover.
//
// Two properties of a mount depend on what is in the root directory:
//
//   - Where it goes. In an image, /etc/localtime may be a link to a file that the image
//     does not have, and /var/run a link to a /run that is missing. mkdirat(2) and
//     mknodat(2) make nothing behind such a dangling link. So the mount point, or the
//     directory of a device or of the program, is made where the link leads.
//   - Which mode a tmpfs has that asks for none: that of the directory below it. The
//     kernel's own choice is 1777, and a /run that is covered would be writable for all.
//
// Both are decided while the plan is written, so that the plan shows them. The files are
// hostile, but nothing that is found here gives anybody a right: the child opens the path
// below its root anew, with openat2(2), and no link leads out of that. A root that is
// stacked from layers is not mounted yet; it is looked at as overlayfs will show it.
//
// Left out: links in a volume to a mount point below it, and links that change between
// this look and the child's steps. Then the mount fails (ENOENT).
//
// Man pages: [openat2(2)], [path_resolution(7)], [tmpfs(5)].
//
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
// [path_resolution(7)]: https://man7.org/linux/man-pages/man7/path_resolution.7.html
// [tmpfs(5)]: https://man7.org/linux/man-pages/man5/tmpfs.5.html
package below

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"minirun/plan"
	"minirun/rootfs"
)

// A Place is where a path leads in a root directory.
type Place struct {
	Path     string // with all links followed
	Dangling bool   // a link leads to what is missing there
	Mode     uint32 // the permission bits of what is there; 0 if nothing is
}

// newDirectory is the mode of the mount points that the child makes.
const newDirectory = 0o755

// A look is the function Look, or a test's own.
type look func(layers []string, path string) Place

// New lets a root follow dangling links, and gives each tmpfs without a mode that of the
// directory below it.
func New(root *rootfs.Root, look look) {
	r := below{root: root, look: look, layers: []string{root.Path()}}
	for i, m := range root.All() {
		if m.Destination == "/" {
			r.layers = layersOf(m.Options)
		}
		if m.Type == "tmpfs" && !hasMode(m.Options) {
			m.Options = append(m.Options, "mode="+strconv.FormatUint(uint64(r.mode(root.All()[:i], m.Destination)), 8))
		}
	}
	root.Follow = r.follow
}

type below struct {
	root   *rootfs.Root
	look   look
	layers []string // of the root directory, the topmost first
}

// follow is where a mount point, or a directory of the container, is made. What lies
// below another mount is not looked for, because that mount is not there yet. /dev is
// not either: no image has a link there, and nearly every container has a mount. The
// mount point of procfs and sysfs must not be reached through a link at all.
func (r below) follow(path string) string {
	if m := cover(r.root.All(), path); m != nil && m.Destination == path && m.IsKernelView() {
		return path
	}
	if path == "/" || path == "/dev" || cover(r.root.All(), filepath.Dir(path)) != nil {
		return path
	}
	if to := r.look(r.layers, path); to.Dangling && plan.CheckDepth(to.Path) == nil {
		return to.Path
	}
	return path
}

// mode is that of the directory at path below the mounts after earlier.
func (r below) mode(earlier []*rootfs.Mount, path string) uint32 {
	layers, rest, m := r.layers, path, cover(earlier, path)
	switch {
	case m == nil:
	case m.Type == "":
		layers, rest = []string{m.Source}, "."+strings.TrimPrefix(path, m.Destination)
	case m.Destination == path && hasMode(m.Options):
		i := slices.IndexFunc(m.Options, isMode)
		mode, _ := strconv.ParseUint(strings.TrimPrefix(m.Options[i], "mode="), 8, 32) // 0: the kernel will refuse it
		return uint32(mode)
	default:
		return newDirectory
	}
	if mode := r.look(layers, rest).Mode; mode != 0 {
		return mode
	}
	return newDirectory
}

// cover is the last of the mounts that path is in, or at; nil if it is in the root.
func cover(mounts []*rootfs.Mount, path string) *rootfs.Mount {
	for _, m := range slices.Backward(mounts) {
		if m.Destination != "/" && (path == m.Destination || strings.HasPrefix(path, m.Destination+"/")) {
			return m
		}
	}
	return nil
}

func isMode(option string) bool     { return strings.HasPrefix(option, "mode=") }
func hasMode(options []string) bool { return slices.ContainsFunc(options, isMode) }

// layersOf are the directories in the options of an overlay, the topmost first
// (https://docs.kernel.org/filesystems/overlayfs.html).
func layersOf(options []string) (layers []string) {
	for _, o := range options {
		switch key, value, _ := strings.Cut(o, "="); key {
		case "upperdir":
			layers = slices.Insert(layers, 0, value)
		case "lowerdir":
			layers = append(layers, strings.Split(value, ":")...)
		case "lowerdir+":
			layers = append(layers, value)
		}
	}
	return layers
}
