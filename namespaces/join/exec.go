package join

import (
	"golang.org/x/sys/unix"

	"minirun/namespaces"
	"minirun/plan"
)

// Exec records the birth of one more process in a running container. The set lists
// the container's namespaces; container is a pidfd of its process (setns(2), Linux
// 5.8). Afterwards the plan is on the child's side.
//
// Processes of the container see the child from its birth. Making the child not
// dumpable is not enough: a process with CAP_SYS_PTRACE in a container without a
// user namespace can look into any process that it sees (CVE-2016-9962). So an
// intermediate process, which the container does not see, joins everything first.
// The child is born with the container's root directory, and without a descriptor
// that leads to the host. (An ordinary user needs an intermediate process anyway,
// because the user namespace is joined.) The runtime gets no pidfd then.
//
// A mount namespace brings its root directory along. For a container without one,
// root is the directory to change to; nil otherwise.
func Exec(p *plan.Plan, set *namespaces.Set, container, root plan.FD, c plan.Clone, facts plan.Facts) {
	var all uint64
	for _, k := range namespaces.Kinds {
		if set.Makes(k.Name) || set.Joins(k.Name) {
			all |= k.Flag
		}
	}
	if all&(unix.CLONE_NEWPID|unix.CLONE_NEWUSER) == 0 { // the container shares its pid namespace with the host anyway
		p.Clone3(c)
		p.On(plan.Child)
		enterAsRoot(p, container, all)
		changeRoot(p, root)
		return
	}
	group := c.Cgroup
	c = intermediate(p, c, "the container sees the child from its birth, but this process not at all")
	namespaces.NotDumpable(p, "processes of the container must not look into this one, nor into the child")
	if group != nil {
		p.Note("the child is born in this process's cgroup, and must not have a directory of the host's")
		p.Close(group)
	}
	ordinary := facts.Euid != 0 && all&unix.CLONE_NEWUSER != 0
	if ordinary {
		p.Setns(container, int(all)) // the kernel takes the user namespace first
	} else {
		enterAsRoot(p, container, all)
	}
	changeRoot(p, root)
	p.Clone3(c).Reported()
	p.ExitGroup(0)
	p.On(plan.Child)
	if ordinary {
		becomeRoot(p)
	}
}

// enterAsRoot records how a process of root's joins the container's namespaces: the
// user namespace last, because joining it ends the privileges over the others.
func enterAsRoot(p *plan.Plan, container plan.FD, all uint64) {
	if rest := all &^ unix.CLONE_NEWUSER; rest != 0 {
		p.Setns(container, int(rest))
	}
	if all&unix.CLONE_NEWUSER == 0 {
		return
	}
	p.Setns(container, unix.CLONE_NEWUSER)
	becomeRoot(p)
	namespaces.NotDumpable(p, "again: a change of the user may have undone it (fs.suid_dumpable)")
}

func changeRoot(p *plan.Plan, root plan.FD) {
	if root == nil {
		return
	}
	p.Note("the container is in the host's mount namespace, but sees no more of it than this directory")
	p.Fchdir(root)
	p.Chroot(".")
	p.Close(root)
}
