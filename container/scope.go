package container

import (
	"path/filepath"

	"minirun/cgroups"
	"minirun/cgroups/systemd"
	"minirun/plan"
)

// With --systemd-cgroup it is systemd that makes the container's group, as a
// scope (package systemd). What differs:
//
//	create   the child is not born in its group: it waits at a gate to be moved there
//	update   systemd is told the limits, too
//	delete   systemd removes the unit, and with it the group
//
// All else goes to the group itself, by its directory, and systemd is not asked.

// findUnit is findGroup for a group that systemd makes.
func (b *builder) findUnit(h *cgroups.Hierarchy) (err error) {
	user := !b.facts.Privileged()
	if b.unit, err = systemd.New(b.spec.Linux.CgroupsPath, b.ID, b.spec.Annotations, user); err != nil {
		return err
	}
	top, err := b.host.systemd(user)
	if err != nil {
		return err
	}
	if b.cgroup, err = h.Group(top + b.unit.Path()); err != nil {
		return err
	}
	b.units = filepath.Join(h.Mount, top)
	b.Cgroup, b.Unit, b.UserUnit = b.cgroup.Dir, b.unit.Name, user
	return nil
}

// scope records how systemd moves the child that waits at this gate into its group,
// and what is done to the group then.
func (b *builder) scope(p *plan.Plan) error {
	if b.unit == nil {
		return nil
	}
	group, err := b.unit.Add(p, b.cgroup, b.units, b.limits)
	if err != nil {
		return err
	}
	b.filter.Record(p, group)
	b.delegation.Record(p, group)
	return nil
}

// stopUnit lets systemd forget a unit that is empty by now. If there is no systemd
// to ask any more, such as the one of a user who has logged out, nobody remembers
// the unit.
func (c *Container) stopUnit() error {
	if c.Unit == "" {
		return nil
	}
	unit := systemd.Unit{Name: c.Unit, User: c.UserUnit}
	return ignore(unit.Stop(), systemd.ErrNotRunning)
}
