package plan

// Facts are what must be known of the machine, and of the runtime's own rights on
// it, to write a plan. They are asked once, by package container; every room is
// handed the same value. With them, spec to plan is a function without side
// effects.
type Facts struct {
	Euid        int  // effective user id of the runtime
	Confined    bool // the runtime is root, but only of a user namespace: it has no privileges over the host
	NoSetgroups bool // setgroups(2) is denied to the runtime itself (user_namespaces(7))
	NoMknod     bool // nobody can make a device node here
}

// Privileged says whether the host's cgroups and devices are the runtime's to rule.
func (f Facts) Privileged() bool { return f.Euid == 0 && !f.Confined }
