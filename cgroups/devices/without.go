package devices

import (
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is about a container of the host's root that has no cgroup of its own,
// because its caller wants that (--cgroup-manager disabled). No filter can be attached
// then, and rules that deny a device have no force. Engines always send such rules:
// "deny all", and the devices that they want; and Podman's containers have CAP_MKNOD.
// So the rules alone are no error, but they are never dropped silently:
//
//	linux.devices     an error if the rules deny the device: the spec contradicts itself
//	mounts            the same for a bind mount of a device node
//	CAP_MKNOD         a warning: its owner can make, and then open, the node of any device
//	CAP_SYS_ADMIN     the same: it can mount a file system with such nodes
//	anything else     a warning: the image, or a mounted directory, may have such nodes

// Without checks the rules of a spec for a container that gets no cgroup. If they
// deny nothing, there is no warning. In a user namespace the two capabilities give
// access to no device.
func (f *Filter) Without(spec *specs.Spec, bundle string, userNS bool) (warnings []string, err error) {
	const property = "linux.resources.devices"
	if f.allowed && len(f.list) == 0 || spec.Linux.Resources == nil || len(spec.Linux.Resources.Devices) == 0 {
		return nil, nil
	}
	refuse := func(what string) ([]string, error) {
		return nil, fmt.Errorf("%s: without a cgroup nothing denies a device, and the container could use them: it has %s", property, what)
	}
	for i, d := range spec.Linux.Devices {
		if !f.allows(kindOf[d.Type], d.Major, d.Minor) {
			return refuse(fmt.Sprintf("linux.devices[%d] %q", i, d.Path))
		}
	}
	for i, m := range spec.Mounts {
		var s unix.Stat_t
		source := m.Source
		if !filepath.IsAbs(source) {
			source = filepath.Join(bundle, source)
		}
		if slices.Contains(m.Options, "nodev") || unix.Stat(source, &s) != nil {
			continue // it is no file of the host's, or the mount itself will fail
		}
		kind := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[s.Mode&unix.S_IFMT]
		if !f.allows(kindOf[kind], int64(unix.Major(s.Rdev)), int64(unix.Minor(s.Rdev))) {
			return refuse(fmt.Sprintf("mounts[%d] %q", i, m.Destination))
		}
	}
	warning := property + ": without a cgroup nothing denies a device: nodes in the image and in mounted directories can be used"
	if c := spec.Process.Capabilities; c != nil && !userNS {
		for _, name := range []string{"CAP_MKNOD", "CAP_SYS_ADMIN"} {
			if slices.Contains(slices.Concat(c.Bounding, c.Permitted), name) {
				return []string{warning + ", and any other with " + name}, nil
			}
		}
	}
	return []string{warning}, nil
}

// kindOf are the kinds of linux.devices; a FIFO is no device.
var kindOf = map[string]uint32{"c": character, "u": character, "b": block}

// allows says whether a device may be read and written. A kind of 0 is no device.
func (f *Filter) allows(kind uint32, major, minor int64) bool {
	var excepted uint32
	for _, e := range f.list {
		if e.covers(deviceSet{kind, major, minor}) {
			excepted |= e.access
		}
	}
	if f.allowed {
		return kind == 0 || excepted&(reading|writing) == 0
	}
	return kind == 0 || excepted&(reading|writing) == reading|writing
}
