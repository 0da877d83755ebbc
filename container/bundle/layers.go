package bundle

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A container is held back by several layers of protection: namespaces, capabilities, a
// seccomp filter, masks. What one of them lets through, another one may stop. To show what
// each is for, `minirun run --without NAME` leaves one out. The container is then less
// protected, which [Request.Warnings] says.

// A layer is one kind of protection.
type layer struct {
	name    string
	without string                 // what the container can do without it
	take    func(spec *specs.Spec) // removes it from a spec; nil: it cannot be removed
}

// layers are all of them, in the order of the matrix in SECURITY.md.
var layers = []layer{
	{"pid", "it sees the host's processes, and may signal them", func(s *specs.Spec) {
		s.Linux.Namespaces = lessOf(s.Linux.Namespaces, specs.PIDNamespace)
		if os.Geteuid() != 0 { // a procfs shows a pid namespace: only its owner may mount one
			show(s, "/proc", specs.Mount{Type: "bind", Source: "/proc", Options: []string{"rbind", "nosuid", "noexec", "nodev"}})
		}
	}},
	// The namespace stays: the host's files are what it holds back, and without one nothing can be mounted before Linux 6.15.
	{"mount", "the host's files are in it, at /host: it may read and change what its user may", func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/host", Type: "bind", Source: "/", Options: []string{"rbind", "rprivate"}})
	}},
	{"net", "it has the host's network: devices, ports, services on loopback, abstract sockets", func(*specs.Spec) {}}, // see [Request.mounts]
	{"user", "", nil},
	{"cgroup", "it sees and, as root, changes the host's cgroups, its own limits among them", func(s *specs.Spec) {
		s.Linux.Namespaces = lessOf(s.Linux.Namespaces, specs.CgroupNamespace)
		if os.Geteuid() != 0 { // as with /proc
			show(s, "/sys/fs/cgroup", specs.Mount{Type: "bind", Source: "/sys/fs/cgroup", Options: []string{"rbind", "nosuid", "noexec", "nodev"}})
		}
		writable(s, "/sys/fs/cgroup")
	}},
	{"capabilities", "its root has every privilege that minirun has", func(s *specs.Spec) {
		all := slices.Clone(plan.Capabilities)
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	}},
	{"seccomp", "it may make every system call", func(s *specs.Spec) { s.Linux.Seccomp = nil }},
	{"no_new_privs", "setuid programs in it give more privileges", func(s *specs.Spec) { s.Process.NoNewPrivileges = false }},
	{"masks", "it reads and writes all of /proc and /sys that its user may", func(s *specs.Spec) {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		writable(s, "/sys")
	}},
	{"devices", "it may open every device of the machine, disks among them", func(s *specs.Spec) {
		if s.Linux.Resources == nil {
			s.Linux.Resources = &specs.LinuxResources{}
		}
		s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}},
}

// LayerNames are those that [Request].Without takes, in the order of the
// matrix in SECURITY.md.
func LayerNames() (names []string) {
	for _, l := range layers {
		names = append(names, l.name)
	}
	return names
}

// Warnings say what the container can do because layers were left out; nil if it has all.
// A layer that cannot be left out is an error (takeAway), and nothing to warn of. And
// they say which name server it asks if the host has none for it.
func (r Request) Warnings() (list []string) {
	if r.Network == "bridge" {
		text, _ := hostResolv("/")
		if _, lost := r.resolvConf(text, true); lost {
			list = append(list, "the host names no name server that a container reaches: it asks "+fallback+" (--dns names another)")
		}
	}
	for _, l := range layers {
		if l.take != nil && slices.Contains(r.Without, l.name) {
			list = append(list, fmt.Sprintf("--without %s: %s", l.name, l.without))
		}
	}
	return list
}

// takeAway removes the layers of r.Without from a spec. The user namespace of an ordinary
// user's container cannot be removed: without it the user may make no other namespace.
func (r Request) takeAway(spec *specs.Spec) error {
	for _, name := range r.Without {
		i := slices.Index(LayerNames(), name)
		switch {
		case i < 0:
			return fmt.Errorf("--without %q: want one of %s", name, strings.Join(LayerNames(), ", "))
		case layers[i].take == nil && os.Geteuid() == 0:
			return errors.New("--without user: root's containers have no user namespace that could be taken away")
		case layers[i].take == nil:
			return errors.New("--without user: an ordinary user can make no container without a user namespace")
		}
		layers[i].take(spec)
	}
	return nil
}

// lessOf is list without the namespaces of one kind: the container stays in the host's.
func lessOf(list []specs.LinuxNamespace, kind specs.LinuxNamespaceType) []specs.LinuxNamespace {
	return slices.DeleteFunc(list, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

// show replaces the mount on a path by another one.
func show(s *specs.Spec, path string, m specs.Mount) {
	i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == path })
	m.Destination = path
	s.Mounts[i] = m
}

// writable removes the options that make the mount on a path read-only.
func writable(s *specs.Spec, path string) {
	i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == path })
	m := &s.Mounts[i]
	m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "ro" || o == "rro" })
}
