package container

import (
	"slices"

	"minirun/cgroups"
	"minirun/namespaces"
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
	uid, ok := namespaces.IDMap(b.spec.Linux.UIDMappings).ToHost(b.spec.Process.User.UID)
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
