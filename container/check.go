package container

import (
	"errors"
	"io"
	"time"

	"minirun/cgroups"
	"minirun/cgroups/delegation"
	"minirun/cgroups/devices"
	"minirun/cgroups/resctrl"
	"minirun/cgroups/resources"
	"minirun/cgroups/systemd"
	"minirun/container/hooks"
	"minirun/container/host"
	"minirun/container/mounts"
	"minirun/container/users"
	"minirun/namespaces"
	"minirun/namespaces/clocks"
	"minirun/namespaces/join"
	"minirun/namespaces/netdevices"
	"minirun/namespaces/subids"
	"minirun/namespaces/sysctls"
	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/detached"
	"minirun/rootfs/idmap"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Every room has two doors. This file goes through the first of each: New looks at a
// part of the spec, and refuses what cannot be done before anything is changed on the
// host. If the spec has no such part, New returns nil or a zero value, whose second
// door does nothing. The second doors record steps, and are in [builder.plan].
//
// Where New needs to know something of the host, it gets b.facts or a function of
// b.host, so that a test can say what the host is like.

// A builder turns a spec into a plan, once: for a new container ([newBuilder]) or for one
// more process of a container ([Container.newExec]). The second kind has only namespaces
// and identity.
type builder struct {
	*Container
	spec    *specs.Spec
	options Options
	facts   plan.Facts
	host    host.Host
	sources bool // the plan remembers which function recorded each step, to be printed

	hooks      *hooks.Hooks
	namespaces *namespaces.Set
	joins      *join.Joins     // nil: all namespaces are new
	subids     *subids.Maps    // nil: root, or no new user namespace
	clocks     *clocks.Offsets // nil: no new time namespace
	netdevices netdevices.List
	sysctls    sysctls.List
	root       *rootfs.Root
	idmaps     idmap.Mounts
	detached   *detached.Root // nil: the container has a mount namespace
	identity   *identity
	cgroup     *cgroups.Group // nil: the caller's own
	limits     []cgroups.Write
	filter     *devices.Filter        // nil: none
	delegation *delegation.Delegation // nil: the group stays the host's
	unit       *systemd.Unit          // the unit as which systemd makes the group; nil: the runtime makes it
	tasks      []plan.FD              // open files of the resctrl class, by which the container process joins it

	given    map[plan.Inherited]int // the descriptors that the plan uses but does not open, by their names in it
	hostProc bool                   // exec: the host's /proc is one of those descriptors
	unmet    error                  // why this host cannot set a limit: the plan is only for printing; nil: it can
	listener error                  // why the seccomp listener did not reach its agent; nil: it did
}

// newBuilder begins a new container: it puts into the state what is known before the
// process exists.
func newBuilder(c *Container, bundle string, spec *specs.Spec, o Options) *builder {
	c.Bundle, c.Hooks, c.Annotations, c.Namespaces = bundle, spec.Hooks, spec.Annotations, spec.Linux.Namespaces
	c.Created = time.Now().UTC()
	b := &builder{Container: c, spec: spec, options: o, facts: host.Facts(), host: host.This(), given: map[plan.Inherited]int{}}
	c.Owner = b.facts.Euid
	return b
}

// check lets every room look at its part of the spec. Namespaces come first, because
// the other rooms ask which ones are new. The root comes after the identity, for which it
// finds HOME.
func (b *builder) check() (err error) {
	if b.hooks, err = hooks.New(b.spec, b.forHooks(), b.facts); err != nil {
		return err
	}
	for _, check := range []func() error{b.checkNamespaces, b.checkIdentity, b.checkRoot, b.checkGroup} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkNamespaces reads the namespaces, and what the spec changes in them. Only a
// namespace that is the container's own may be changed, since a sysctl or a network
// device in the host's would change the host.
func (b *builder) checkNamespaces() (err error) {
	linux := b.spec.Linux
	if b.namespaces, err = namespaces.New(b.spec, b.facts, b.host.IsOwn); err != nil {
		return err
	}
	b.subids = subids.New(linux, b.namespaces, b.facts)
	var errs [4]error // joined, so that the user learns of all that is wrong here at once
	b.joins, errs[0] = join.New(b.namespaces, b.facts)
	b.clocks, errs[1] = clocks.New(linux, b.namespaces)
	b.sysctls, errs[2] = sysctls.New(linux, b.namespaces)
	b.netdevices, errs[3] = netdevices.New(linux, b.namespaces)
	return errors.Join(errs[:]...)
}

// checkIdentity reads who the process is: user, groups, capabilities, limits.
//
// It leaves out the capabilities that the runtime does not have itself, because capset(2)
// refuses to add one. A process in a new user namespace starts with all capabilities
// there (user_namespaces(7)), so nothing is left out for it.
func (b *builder) checkIdentity() (err error) {
	if b.identity, err = newIdentity(b.spec.Process, b.spec.Linux); err != nil {
		return err
	}
	i, userNS := b.identity, b.namespaces.Has(specs.UserNamespace)
	i.ExecFifo, i.KeepFDs, i.NoNewKeyring = b.options.Wait, b.options.keptFDs(), b.options.OldKeys
	i.SetgroupsDenied = b.facts.NoSetgroups || b.subids.DeniesSetgroups()
	i.limitedByRuntime = userNS && (b.facts.Euid == 0 || b.joins.Indirectly())
	if !userNS && b.facts.Euid == 0 {
		own, err := b.host.Grants()
		if err != nil {
			return err
		}
		i.LimitCapabilities(own)
	}
	b.warn(i.Warnings)
	return nil
}

// checkRoot reads the root directory and the mounts in it. A container without a mount
// namespace cannot have pivot_root(2), which would change the host's root: it gets a
// detached copy of the root directory and chroot(2). The variable HOME comes from
// /etc/passwd below the root directory; the file may be hostile (package users).
func (b *builder) checkRoot() (err error) {
	if b.root, err = rootfs.New(b.spec, b.facts, b.namespaces.Has, b.Bundle, b.host.IsDir); err != nil {
		return err
	}
	if b.idmaps, err = mounts.New(b.spec, b.root, b.namespaces, b.facts, b.host); err != nil {
		return err
	}
	if b.detached, err = detached.New(b.spec, b.root, b.namespaces.Has(specs.MountNamespace)); err != nil {
		return err
	}
	b.warn(b.root.Warnings)
	b.Rootfs = b.root.Path()
	return b.identity.home(func() (io.ReadCloser, error) { return users.Open(b.Rootfs, "etc/passwd") })
}

// checkGroup looks at the cgroup's part of the spec: limits, where the group is, the
// device filter, and whether the group gets another owner. The last two need
// privileges over the host. Without them no filter is needed, because in a user
// namespace nobody can make device nodes: mknod(2) asks for CAP_MKNOD in the initial one.
func (b *builder) checkGroup() (err error) {
	if b.Class, err = resctrl.New(b.spec.Linux.IntelRdt, b.ID, b.host.Resctrl); err != nil {
		return err
	}
	if b.limits, err = resources.New(b.spec.Linux.Resources); err != nil {
		return err
	}
	if err := b.findGroup(); err != nil || !b.facts.Privileged() {
		return err
	}
	if b.filter, err = devices.New(b.spec.Linux.Resources); err != nil {
		return err
	}
	if b.cgroup == nil {
		warnings, err := b.filter.Without(b.spec, b.Bundle, b.namespaces.Has(specs.UserNamespace))
		b.warn(warnings)
		return err
	}
	b.delegation, err = delegation.New(b.spec, namespaces.IDMap(b.spec.Linux.UIDMappings).ToHost, b.host.Delegated)
	return err
}

// findGroup decides which cgroup the container is born in. Nothing is made yet.
//
//	cgroupsPath "/a/b"   that group, from the root of the hierarchy
//	cgroupsPath "a/b"    that group, beside the runtime's own
//	no cgroupsPath       /minirun-<id>; for an ordinary user minirun-<id>
//	--systemd-cgroup     slice:prefix:name, the scope that systemd will make
//
// A container without any limit can do without a group, and stays in the caller's. With a
// limit that would be wrong: the limit would be silently missing.
func (b *builder) findGroup() error {
	h, err := b.host.Hierarchy()
	if err != nil {
		return err
	}
	if b.options.Systemd {
		user := !b.facts.Privileged()
		if b.unit, b.cgroup, err = systemd.NewGroup(h, b.spec.Linux.CgroupsPath, b.ID, b.spec.Annotations, user, b.host.Systemd); err == nil {
			b.Cgroup, b.Unit, b.UserUnit = b.cgroup.Dir, b.unit.Name, user
		}
		return err
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
		if b.unmet = resources.Refuse(b.limits, b.cgroup.Dir, without); b.unmet == nil {
			b.cgroup = nil // without limits the caller's own group does as well
			return nil
		}
	}
	b.Cgroup = b.cgroup.Dir
	return nil
}

// warn hands on what a room has left out of the spec.
func (b *builder) warn(warnings []string) {
	if b.options.Warn != nil {
		for _, w := range warnings {
			b.options.Warn(w)
		}
	}
}
