package join

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is about the container process; exec.go about those of exec.

// byThread are the namespaces that one thread of several can join.
const byThread = unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// Joins are the existing namespaces that a container joins. Nil means none.
type Joins struct {
	set        *namespaces.Set
	facts      plan.Facts
	namespaces []joined // in the order of namespaces.Kinds; with descriptors once Open is recorded
	ownThread  bool     // recorded steps change the runtime's thread
}

type joined struct {
	namespaces.Kind
	fd plan.FD
}

// New returns what a container joins; nil if all of its namespaces are new. It
// refuses the host's mount namespace: mounts for the container would appear on
// the whole host, and pivot_root would change everybody's root. (A container
// without any mount namespace in its spec shares the host's, and mounts nothing.)
func New(set *namespaces.Set, facts plan.Facts) (*Joins, error) {
	j := &Joins{set: set, facts: facts}
	for _, k := range namespaces.Kinds {
		if set.Joins(k.Name) {
			j.namespaces = append(j.namespaces, joined{Kind: k})
		}
	}
	if len(j.namespaces) == 0 {
		return nil, nil
	}
	if set.Joins(specs.MountNamespace) {
		if err := set.Require(specs.MountNamespace, "linux.namespaces"); err != nil {
			return nil, fmt.Errorf("%w: its root would be changed", err)
		}
	}
	return j, nil
}

// Open records that the runtime opens the namespaces and checks that each is of
// its kind (ioctl_ns(2)): a container that is to join a network must not end up in
// another's user namespace. Nor must a namespace be the host's if the spec changes
// what is in it. The spec's path was checked for that too, but it may lead
// elsewhere by now.
func (j *Joins) Open(p *plan.Plan) {
	if j == nil {
		return
	}
	for i, n := range j.namespaces {
		path := j.set.Path(n.Name)
		fd := p.Openat(plan.CWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0).As(n.File + " namespace")
		p.Ioctl(fd, unix.NS_GET_NSTYPE, 0).Expect(int(n.Flag), fmt.Errorf("%s is not a %s namespace: %w", path, n.Name, unix.EINVAL))
		if hostsError := j.set.HostsError(n.Name); hostsError != nil {
			p.Note("the spec changes something in this namespace, so it must not be the host's")
			p.Do("fstat(<"+n.File+" namespace>): not that of "+ownPath(n.Kind), func(r *plan.Process) error {
				var stat unix.Stat_t
				if err := unix.Fstat(r.Result(fd), &stat); err != nil {
					return err
				}
				if own, err := isOwn(stat, n.Kind); err != nil || !own {
					return err
				}
				return hostsError
			})
		}
		j.namespaces[i].fd = fd
	}
}

// IsOwn says whether a path is the namespace in which the runtime itself is, and
// so the host's. One namespace has many paths: /proc/self/ns/net, /proc/1/ns/net, a
// file to which it is bound. All have the same inode number (namespaces(7)). A
// path that does not exist is not the runtime's; it cannot be joined either.
func IsOwn(path string, kind namespaces.Kind) bool {
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil {
		return false
	}
	own, err := isOwn(s, kind)
	return own && err == nil
}

// isOwn compares a file with the namespace of the calling thread.
func isOwn(s unix.Stat_t, k namespaces.Kind) (bool, error) {
	var own unix.Stat_t
	if err := unix.Stat(ownPath(k), &own); err != nil {
		return false, fmt.Errorf("stat %s: %w", ownPath(k), err)
	}
	return s.Dev == own.Dev && s.Ino == own.Ino, nil
}

func ownPath(k namespaces.Kind) string { return "/proc/thread-self/ns/" + k.File }

// Indirectly says whether the container process is cloned by an intermediate
// process. The runtime then learns its id at a gate, and gets no pidfd.
func (j *Joins) Indirectly() bool {
	return j != nil && (j.set.Joins(specs.UserNamespace) || j.facts.Confined)
}

// Clone records the birth of the container process like [namespaces.Set.Clone], in
// the namespaces that it must be born in. It is recorded on the side of the
// runtime or the monitor; afterwards the plan may be on another side. If j is nil, all
// namespaces in set are new, and it is no more than set's own Clone.
func (j *Joins) Clone(p *plan.Plan, set *namespaces.Set, c plan.Clone) *plan.Step {
	if j == nil {
		return set.Clone(p, c)
	}
	if j.Indirectly() {
		return j.cloneIndirectly(p, c)
	}
	leave := j.visit(p)
	child := j.set.Clone(p, c)
	leave()
	return child
}

// visit records that the thread which clones joins namespaces, so that the child
// is born in them; leave records its way back.
func (j *Joins) visit(p *plan.Plan) (leave func()) {
	var back []joined
	for _, n := range j.namespaces {
		if n.Flag&byThread == 0 {
			continue
		}
		if n.Flag == unix.CLONE_NEWPID {
			namespaces.NotDumpable(p, "processes in that pid namespace see the child from its birth: they must not look into it")
		}
		if len(back) == 0 {
			p.Note("joined before clone3, because the child may not have the privileges; first a descriptor for the way back")
		}
		own := p.Openat(plan.CWD, ownPath(n.Kind), unix.O_RDONLY|unix.O_CLOEXEC, 0).As("own " + n.File + " namespace")
		back = append(back, joined{n.Kind, own})
		p.Setns(n.fd, int(n.Flag))
		j.ownThread = p.Side() == plan.Runtime
	}
	return func() {
		for _, n := range back {
			p.Setns(n.fd, int(n.Flag))
		}
	}
}

// cloneIndirectly records a process that joins everything and clones the child:
// an intermediate one, or the monitor, which has no threads either. Root joins the
// user namespace last, because until then the process has root's privileges over
// the other namespaces. An ordinary user joins it first, because it gives him all
// the privileges that he has over them.
func (j *Joins) cloneIndirectly(p *plan.Plan, c plan.Clone) *plan.Step {
	monitor := p.Side() == plan.Monitor
	if !monitor {
		why := "the runtime has threads, so it cannot join a user namespace"
		if !j.set.Joins(specs.UserNamespace) {
			why = "the runtime, root of a user namespace, could join others, but not return to the host's"
		}
		c = intermediate(p, c, why)
	}
	namespaces.NotDumpable(p, "processes in the namespaces that are joined must not look into this one")
	order := j.namespaces
	userLast := j.facts.Euid == 0 && order[0].Name == specs.UserNamespace
	if userLast {
		order = append(order[1:len(order):len(order)], order[0])
	}
	for _, n := range order {
		if userLast && n.Name == specs.UserNamespace {
			p.Note("the user namespace last, because joining it ends the privileges over the others; new ones will belong to it")
		}
		p.Setns(n.fd, int(n.Flag))
	}
	child := j.set.Clone(p, c).Reported()
	if !monitor {
		p.ExitGroup(0)
	}
	return child
}

// intermediate records the birth of an intermediate process, and returns how that
// is to clone: with CLONE_PARENT, so that the child is the runtime's to wait for.
func intermediate(p *plan.Plan, c plan.Clone, why string) plan.Clone {
	p.Note("an intermediate process: " + why)
	p.Clone3(plan.Clone{Cgroup: c.Cgroup})
	p.On(plan.Intermediate)
	return plan.Clone{Flags: c.Flags | unix.CLONE_PARENT}
}

// Enter records the joins that are left to the child, and that it becomes root of
// a user namespace in which it is. It follows the clocks, because with the mount
// namespace the child leaves the host's /proc.
func (j *Joins) Enter(p *plan.Plan) {
	if j == nil {
		return
	}
	for _, n := range j.namespaces {
		if n.Flag&byThread == 0 && !j.Indirectly() {
			p.Setns(n.fd, int(n.Flag))
		}
	}
	if j.set.Joins(specs.UserNamespace) {
		becomeRoot(p)
	}
}

// becomeRoot records that a process becomes root of the user namespace that it has
// joined. EINVAL means that the namespace has no root.
func becomeRoot(p *plan.Plan) {
	p.Note("root of the user namespace, if it has one")
	p.Setresgid(0).Tolerate(unix.EINVAL)
	p.Setresuid(0).Tolerate(unix.EINVAL)
}

// OnThread calls start, which carries out the plan. If steps of the plan change
// the runtime's thread, it does so on a new thread, which ends with the call.
func (j *Joins) OnThread(start func() (*plan.Process, error)) (process *plan.Process, err error) {
	if j == nil || !j.ownThread {
		return start()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked, so the thread ends with this goroutine
		process, err = start()
	}()
	<-done
	return process, err
}
