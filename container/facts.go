package container

import (
	"os"

	"minirun/cgroups"
	"minirun/cgroups/delegation"
	"minirun/cgroups/resctrl"
	"minirun/cgroups/systemd"
	"minirun/container/stdio"
	"minirun/namespaces"
	"minirun/namespaces/join"
	"minirun/plan"
	"minirun/process"
	"minirun/rootfs/copyup"
)

// facts asks the machine, once, what every room must know of it.
func facts() plan.Facts {
	f := plan.Facts{Euid: os.Geteuid(), Confined: !namespaces.InitialUser()}
	if f.Confined {
		f.NoMknod = true
		f.NoSetgroups, _ = namespaces.SetgroupsDenied(os.Getpid()) // without /proc, setgroups itself will tell
	}
	return f
}

// A host answers what only one room asks, and only for some specs. The tests of
// plans have a host of their own, so that a plan is the same on every machine.
type host struct {
	isDir     func(path string) bool                          // is the source of a bind mount a directory?
	tree      func(root, path string) ([]copyup.Entry, error) // what a tmpfs has to be filled with
	stdio     func(fd int) stdio.Kind                         // what a standard file is
	ownNS     func(path string, kind namespaces.Kind) bool    // is the namespace at a path our own?
	grants    func() (uint64, error)                          // the runtime's own capabilities
	hierarchy func() (*cgroups.Hierarchy, error)              // where cgroup2 is mounted
	systemd   func(user bool) (string, error)                 // the group below which systemd makes others
	resctrl   func() (string, error)                          // where resctrl is mounted
	delegated func() ([]string, error)                        // the files of a cgroup that go with it
}

// thisHost is the machine that we run on.
func thisHost() host {
	return host{
		isDir: func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.IsDir()
		},
		tree:      copyup.Tree,
		stdio:     stdio.Of,
		ownNS:     join.IsOwn,
		grants:    process.OwnCapabilities,
		hierarchy: cgroups.Find,
		systemd:   systemd.Find,
		resctrl:   resctrl.Find,
		delegated: delegation.Files,
	}
}
