// Package devices reads the device files that a spec asks for (linux.devices), besides
// those that every container has.
//
// A device file gives no right alone: the device filter of the container's cgroup says
// which devices may be opened (package cgroups/devices).
//
// Man pages: [mknod(2)].
//
// [mknod(2)]: https://man7.org/linux/man-pages/man2/mknod.2.html
package devices

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var types = map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}

// New adds the devices of a spec to its root. It refuses those that mknod(2) could not
// make.
func New(list []specs.LinuxDevice, root *rootfs.Root) error {
	for i, d := range list {
		if _, ok := types[d.Type]; !ok {
			return fmt.Errorf("linux.devices[%d].type %q: want c, b, u or p", i, d.Type)
		}
		if !filepath.IsAbs(d.Path) {
			return fmt.Errorf("linux.devices[%d].path %q: not an absolute path", i, d.Path)
		}
		if err := plan.CheckDepth(d.Path); err != nil {
			return fmt.Errorf("linux.devices[%d].path: %w", i, err)
		}
		root.Extra = append(root.Extra, device(d))
	}
	return nil
}

// device is a device of the spec. Without a mode every user may open it, as far as the
// device filter allows.
func device(d specs.LinuxDevice) rootfs.Device {
	c := rootfs.Device{Path: filepath.Clean(d.Path), Kind: types[d.Type], Major: uint32(d.Major), Minor: uint32(d.Minor), Mode: 0o666}
	if d.FileMode != nil {
		c.Mode = uint32(*d.FileMode & os.ModePerm)
	}
	if d.UID != nil {
		c.UID = *d.UID
	}
	if d.GID != nil {
		c.GID = *d.GID
	}
	return c
}
