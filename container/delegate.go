package container

import (
	"slices"

	"minirun/cgroups"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// delegate records that the group belongs to the container's user, if the
// container sees it as the root of its own cgroup namespace, and can write to
// it (runtime-spec, config-linux.md, "Cgroup ownership").
func (b *builder) delegate(p *plan.Plan, group plan.FD) error {
	if !b.facts.Privileged() || !b.namespaces.Makes(specs.CgroupNamespace) || !slices.ContainsFunc(b.spec.Mounts, writableGroup) {
		return nil
	}
	uid, ok := hostID(b.spec.Process.User.UID, b.spec.Linux.UIDMappings)
	if !ok || uid == 0 {
		return nil
	}
	files, err := b.host.delegated()
	if err != nil {
		return err
	}
	cgroups.Delegate(p, group, uid, files)
	return nil
}

func writableGroup(m specs.Mount) bool {
	return (m.Type == "cgroup" || m.Type == "cgroup2") && !slices.Contains(m.Options, "ro") && !slices.Contains(m.Options, "rro")
}

// hostID is the number on the host of an id in the container; false if it has none.
func hostID(id uint32, mappings []specs.LinuxIDMapping) (uint32, bool) {
	if len(mappings) == 0 {
		return id, true
	}
	for _, m := range mappings {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}
