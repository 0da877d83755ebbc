package container

import (
	"errors"

	"minirun/cgroups"
	"minirun/plan"
)

// With --systemd-cgroup it is systemd that makes the container's group, as a
// scope (package cgroups, systemd.go). What differs:
//
//	create   the child is not born in its group: it waits at a gate to be moved there
//	update   systemd is told the limits, too
//	delete   systemd removes the unit, and with it the group
//
// All else goes to the group itself, by its directory, and systemd is not asked.

// findUnit is findGroup for a group that systemd makes.
func (b *builder) findUnit(h *cgroups.Hierarchy) (err error) {
	user := !b.facts.Privileged()
	if b.unit, err = cgroups.NewUnit(b.spec.Linux.CgroupsPath, b.ID, user); err != nil {
		return err
	}
	if err := b.unit.Annotate(b.spec.Annotations); err != nil {
		return err
	}
	if b.units, err = b.host.systemd(user); err != nil {
		return err
	}
	if b.cgroup, err = h.Group(b.units + b.unit.Path()); err != nil {
		return err
	}
	b.Cgroup, b.Unit, b.UserUnit = b.cgroup.Dir, b.unit.Name, user
	return nil
}

// scope records how systemd takes the child that waits at this gate into its
// group, and what is then done to that.
func (b *builder) scope(p *plan.Plan) error {
	if b.unit == nil {
		return nil
	}
	group, err := b.cgroup.AddUnit(p, b.unit, b.units, b.ID, b.spec.Linux.Resources)
	if err != nil {
		return err
	}
	return errors.Join(b.devices(p, group), b.delegate(p, group))
}

// stopUnit lets systemd forget a unit that is empty by now. If there is no systemd
// to ask any more, such as the one of a user who has logged out, nobody remembers
// the unit.
func (c *Container) stopUnit() error {
	if c.Unit == "" {
		return nil
	}
	unit := cgroups.Unit{Name: c.Unit, User: c.UserUnit}
	return ignore(unit.Stop(), cgroups.ErrNoSystemd)
}
