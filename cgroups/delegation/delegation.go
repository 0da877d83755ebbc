// Package delegation gives a container's group to the container's user.
//
// The owner of a group's directory may make groups below it, and the owner of its
// file cgroup.procs may move processes among those (cgroup-v2.rst, "Delegation").
// The limits of the group itself stay with the host, because the files of the
// limits keep their owner. A container needs that if it runs a container runtime
// or systemd, as an ordinary user or in a user namespace.
//
// runtime-spec asks for it when the container sees the group as the root of its
// own cgroup namespace and mounts it writable (config-linux.md, "Cgroup
// ownership").
//
// [New] looks whether the spec asks, [Delegation.Record] records the chowns.
//
// Man page: [cgroups(7)], "Cgroups delegation".
//
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
package delegation

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// A Delegation says whom a group is given to.
type Delegation struct {
	uid   uint32   // the user's number on the host
	files []string // that belong to the owner of a group
}

// New returns nil if the group stays root's: because the spec does not ask for a
// delegation, or because the user is root anyway. toHost returns the number that an
// id of the container has on the host; false if it has none. files is [Files], or a
// fake.
func New(spec *specs.Spec, toHost func(id uint32) (uint32, bool), files func() ([]string, error)) (*Delegation, error) {
	if !hasOwnNamespace(spec.Linux) || !slices.ContainsFunc(spec.Mounts, isWritableCgroup) {
		return nil, nil
	}
	uid, ok := toHost(spec.Process.User.UID)
	if !ok || uid == 0 {
		return nil, nil
	}
	list, err := files()
	if err != nil {
		return nil, err
	}
	return &Delegation{uid, list}, nil
}

// Record records that the group dir is given to the user. Files that the kernel
// does not have are left out. A nil Delegation records nothing.
//
// Privileges: CAP_CHOWN.
func (d *Delegation) Record(p *plan.Plan, dir plan.FD) {
	if d == nil {
		return
	}
	const same = 1<<32 - 1
	p.Note("the container mounts the group writable, so it may make groups below: then the group belongs to its user")
	p.Fchownat(dir, "", d.uid, same, unix.AT_EMPTY_PATH)
	for _, f := range d.files {
		p.Fchownat(dir, f, d.uid, same, unix.AT_SYMLINK_NOFOLLOW).Tolerate(unix.ENOENT)
	}
}

// Files are the files that belong to the owner of a group, from
// /sys/kernel/cgroup/delegate (Linux 4.15). Where sysfs is hidden they are the
// three that every cgroup v2 has.
func Files() ([]string, error) {
	text, err := os.ReadFile("/sys/kernel/cgroup/delegate")
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}, nil
	}
	return strings.Fields(string(text)), err
}

func hasOwnNamespace(linux *specs.Linux) bool {
	return slices.ContainsFunc(linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.CgroupNamespace && n.Path == ""
	})
}

func isWritableCgroup(m specs.Mount) bool {
	return (m.Type == "cgroup" || m.Type == "cgroup2") && !slices.Contains(m.Options, "ro") && !slices.Contains(m.Options, "rro")
}
