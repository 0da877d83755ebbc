package container

import (
	"errors"
	"io"

	"minirun/container/hooks"
	"minirun/container/users"
	"minirun/namespaces"
	"minirun/namespaces/clocks"
	"minirun/namespaces/join"
	"minirun/namespaces/netdevices"
	"minirun/namespaces/subids"
	"minirun/namespaces/sysctls"
	"minirun/rootfs"
	"minirun/rootfs/copyup"
	"minirun/rootfs/detached"
	"minirun/rootfs/idmap"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Every room has two doors. This file goes through the first of each: New looks at a
// part of the spec, and refuses what cannot be done before anything is changed on the
// host. If the spec has no such part, New returns nil or a zero value, whose second
// door does nothing. The second doors record steps, and are in [builder.plan].

// check lets every room look at its part of the spec.
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

// checkNamespaces reads the namespaces, and what the spec changes in them.
func (b *builder) checkNamespaces() (err error) {
	linux := b.spec.Linux
	if b.namespaces, err = namespaces.New(b.spec, b.facts, b.host.ownNS); err != nil {
		return err
	}
	b.subids = subids.New(linux, b.namespaces, b.facts)
	var errs [4]error
	b.joins, errs[0] = join.New(b.namespaces, b.facts)
	b.clocks, errs[1] = clocks.New(linux, b.namespaces)
	b.sysctls, errs[2] = sysctls.New(linux, b.namespaces)
	b.netdevices, errs[3] = netdevices.New(linux, b.namespaces)
	return errors.Join(errs[:]...)
}

// checkIdentity reads who the process is. It leaves out the capabilities that the
// runtime does not have itself; only in a user namespace can a process have more.
func (b *builder) checkIdentity() (err error) {
	if b.identity, err = newIdentity(b.spec.Process, b.spec.Linux); err != nil {
		return err
	}
	i, userNS := b.identity, b.namespaces.Has(specs.UserNamespace)
	i.ExecFifo, i.KeepFDs, i.NoNewKeyring = b.options.Wait, b.options.keptFDs(), b.options.OldKeys
	i.SetgroupsDenied = b.facts.NoSetgroups || b.subids.DeniesSetgroups()
	i.limitedByRuntime = userNS && (b.facts.Euid == 0 || b.joins.Indirectly())
	if !userNS && b.facts.Euid == 0 {
		own, err := b.host.grants()
		if err != nil {
			return err
		}
		i.LimitCapabilities(own)
	}
	b.warn(i.Warnings)
	return nil
}

// checkRoot reads the root directory and the mounts in it. HOME comes from a file
// there.
func (b *builder) checkRoot() (err error) {
	if b.root, err = rootfs.New(b.spec, b.facts, b.namespaces.Has, b.Bundle, b.host.isDir); err != nil {
		return err
	}
	if b.idmaps, err = idmap.New(b.spec, b.root); err != nil {
		return err
	}
	uids, gids := namespaces.IDMap(b.spec.Linux.UIDMappings), namespaces.IDMap(b.spec.Linux.GIDMappings)
	if err := copyup.New(b.spec, b.root, b.host.tree, uids.ToContainer, gids.ToContainer); err != nil {
		return err
	}
	if !b.namespaces.Has(specs.MountNamespace) {
		if b.detached, err = detached.New(b.spec, b.root); err != nil {
			return err
		}
	}
	b.warn(b.root.Warnings)
	b.Rootfs = b.root.Path()
	return b.identity.home(func() (io.ReadCloser, error) { return users.Open(b.Rootfs, "etc/passwd") })
}

func (b *builder) warn(warnings []string) {
	if b.options.Warn != nil {
		for _, w := range warnings {
			b.options.Warn(w)
		}
	}
}
