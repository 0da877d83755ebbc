package plan

// Facts are what must be known of the machine, and of the runtime's own rights on
// it, to write a plan. They are asked once, by package container/host; every room gets
// the same value. So the plan depends on the spec and on the facts only, and a test can
// write the plan of another machine. The zero value is root of the host.
type Facts struct {
	Euid        int  // effective user id of the runtime
	Confined    bool // the runtime is root, but only of a user namespace: it has no privileges over the host
	NoSetgroups bool // setgroups(2) is denied to the runtime itself (user_namespaces(7))
	NoMknod     bool // mknod(2) of a device is refused: the host's device nodes are bound instead
}

// Privileged says whether the runtime may change the host's cgroups and device filters: it
// is root, and not only in a user namespace of its own.
func (f Facts) Privileged() bool { return f.Euid == 0 && !f.Confined }
