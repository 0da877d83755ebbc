package container

import (
	"fmt"
	"path/filepath"

	"minirun/cgroups"
	"minirun/cgroups/delegation"
	"minirun/cgroups/devices"
	"minirun/cgroups/resctrl"
	"minirun/cgroups/resources"
	"minirun/cgroups/systemd"
	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file decides which cgroup the container gets, and by whom it is made.
//
// With --systemd-cgroup it is systemd that makes the container's group, as a
// scope (package systemd). What differs:
//
//	create   the child is not born in its group: it waits at a gate to be moved there
//	update   systemd is told the limits, too
//	delete   systemd removes the unit, and with it the group
//
// All else goes to the group itself, by its directory, and systemd is not asked.

// checkGroup looks at the cgroup's part of the spec: limits, where the group is, the
// device filter, and whether the group gets another owner. The last two need
// privileges over the host. Without them no filter is needed: in a user namespace
// nobody can make device files.
func (b *builder) checkGroup() (err error) {
	if b.Class, err = resctrl.New(b.spec.Linux.IntelRdt, b.ID, b.host.resctrl); err != nil {
		return err
	}
	if b.limits, err = resources.New(b.spec.Linux.Resources); err != nil {
		return err
	}
	if err := b.findGroup(); err != nil || b.cgroup == nil || !b.facts.Privileged() {
		return err
	}
	var rules []specs.LinuxDeviceCgroup
	if r := b.spec.Linux.Resources; r != nil {
		rules = r.Devices
	}
	if b.filter, err = devices.New(rules); err != nil {
		return err
	}
	b.delegation, err = delegation.New(b.spec, namespaces.IDMap(b.spec.Linux.UIDMappings).ToHost, b.host.delegated)
	return err
}

// findGroup decides which cgroup the container is born in.
func (b *builder) findGroup() error {
	h, err := b.host.hierarchy()
	if err != nil {
		return err
	}
	if b.options.Systemd {
		return b.findUnit(h)
	}
	path := b.spec.Linux.CgroupsPath
	if path == "" {
		path = "minirun-" + b.ID
		if b.facts.Privileged() {
			path = "/" + path
		}
	}
	if b.cgroup, err = h.Group(path); err != nil {
		return err
	}
	var without string
	switch {
	case b.options.NoCgroup:
		without = "there is to be no cgroup (--cgroup-manager disabled)"
	case !b.facts.Privileged() && !b.cgroup.Writable():
		without = "an ordinary user needs a delegated cgroup for it"
	}
	if without != "" {
		for _, w := range b.limits {
			if !w.Optional {
				return fmt.Errorf("limit %s for cgroup %s: %s", w, b.cgroup.Dir, without)
			}
		}
		b.cgroup = nil // without limits the caller's own group does as well
		return nil
	}
	b.Cgroup = b.cgroup.Dir
	return nil
}

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

// makeGroup records the container's group and what is done to it: before the process
// is cloned into it; or, if systemd makes it, while the child waits at a gate for
// systemd to move it there.
func (b *builder) makeGroup(p *plan.Plan) (group plan.FD, err error) {
	if b.unit != nil {
		group, err = b.unit.Add(p, b.cgroup, b.units, b.limits)
	} else {
		group, err = b.cgroup.Add(p, b.limits)
	}
	if err != nil {
		return nil, err
	}
	b.filter.Record(p, group)
	b.delegation.Record(p, group)
	return group, nil
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
