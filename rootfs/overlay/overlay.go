// Package overlay stacks a container's root directory from the layers of an image.
//
// overlayfs shows several directories as one. The lower ones are an image's layers, which
// nothing is ever written to; every change goes into the upper one, the container's. That
// is why many containers can share an image. The overlay is mounted in the container's
// own mount namespace: it goes with the last process of the container, and nobody has to
// clean up.
//
// A spec asks for it by a mount on "/", of type overlay, with the options of mount(8):
// lowerdir, upperdir, workdir. The runtime-spec does not have this; package bundle of
// container writes it. Such a root is not there before the container is. So a bind mount
// whose source is its own destination below the root directory is made inside: the same
// files, but writable in a read-only root, as the volumes of an image are.
//
// # More than a page of options
//
// mount(2) takes one page of options, and cuts the rest off: without an error, if what is
// left are fewer layers. So the layers are named relative to their common directory; and
// what is still too long is given to fsconfig(2) piece by piece, which takes Linux 6.5
// (lowerdir+). fsconfig takes up to 255 bytes for one option, so the same is done with the
// layers of overlays on other destinations.
//
// Man pages: [mount(2)], [fsconfig(2)]; the kernel's [overlayfs.rst].
//
// [mount(2)]: https://man7.org/linux/man-pages/man2/mount.2.html
// [fsconfig(2)]: https://man7.org/linux/man-pages/man2/fsconfig.2.html
// [overlayfs.rst]: https://docs.kernel.org/filesystems/overlayfs.html
package overlay

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	page    = 4096 // of options for mount(2), with the zero byte; some machines take more
	longest = 255  // bytes that fsconfig(2) takes
)

// dirs are the options that name directories.
var dirs = map[string]bool{"lowerdir": true, "upperdir": true, "workdir": true}

// New prepares the overlays of a spec, in its root, and refuses a stacked root directory
// whose layers have relative names, which could not be shortened.
func New(spec *specs.Spec, root *rootfs.Root) error {
	for i, m := range root.All() {
		switch {
		case m.Type == "overlay" && m.Destination == "/":
			if err := check(m.Options); err != nil {
				return rootfs.MountError(i, spec.Mounts[i], err)
			}
			root.Stack = func(p *plan.Plan) plan.FD { return mount(p, m, root) }
		case m.Type == "overlay":
			m.Options = pieces(m.Options)
		case m.Type == "" && root.Stack != nil:
			m.Own = spec.Mounts[i].Source == filepath.Join(root.Path(), m.Destination)
		}
	}
	return nil
}

func check(options []string) error {
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		if dirs[key] && slices.ContainsFunc(strings.Split(value, ":"), func(dir string) bool { return !filepath.IsAbs(dir) }) {
			return fmt.Errorf("option %q: not absolute paths", o)
		}
	}
	return nil
}

// mount records a root directory that is stacked from an image's layers.
func mount(p *plan.Plan, m *rootfs.Mount, root *rootfs.Root) plan.FD {
	base, short := relative(m.Options)
	options := strings.Join(short, ",")
	if len(options) >= page {
		return mountPieces(p, m, root.Path())
	}
	return root.MountOverlay(p, base, options)
}

func mountPieces(p *plan.Plan, m *rootfs.Mount, path string) plan.FD {
	dir := p.Openat(plan.CWD, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root directory")
	m.Options = pieces(m.Options)
	p.Note("the image's layers, read-only, below a directory for what the container writes: more than mount(2) has room for")
	tree := m.Create(p, "")
	p.MoveMount(tree, dir)
	return tree
}

// pieces makes of a list of layers that is too long for fsconfig(2) an option for each of
// them. A list with escaped characters, or with layers for data only, stays as it is.
func pieces(options []string) (list []string) {
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		if key != "lowerdir" || len(value) <= longest || strings.Contains(value, `\`) || strings.Contains(value, "::") {
			list = append(list, o)
			continue
		}
		for dir := range strings.SplitSeq(value, ":") {
			list = append(list, "lowerdir+="+dir)
		}
	}
	return list
}

// relative makes the directories in overlay options relative to the directory that all of
// them are in.
func relative(options []string) (base string, short []string) {
	var all []string
	for _, o := range options {
		if key, value, ok := strings.Cut(o, "="); ok && dirs[key] {
			all = append(all, strings.Split(value, ":")...)
		}
	}
	base = "/"
	if len(all) > 0 {
		base = filepath.Dir(all[0])
	}
	prefix := func() string { return strings.TrimSuffix(base, "/") + "/" }
	for _, d := range all {
		for !strings.HasPrefix(d, prefix()) {
			base = filepath.Dir(base)
		}
	}
	for _, o := range options {
		if key, value, ok := strings.Cut(o, "="); ok && dirs[key] {
			o = key + "=" + strings.ReplaceAll(strings.TrimPrefix(value, prefix()), ":"+prefix(), ":")
		}
		short = append(short, o)
	}
	return base, short
}
