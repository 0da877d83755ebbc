// Package host asks the machine what must be known of it to write a plan.
//
// A plan is a function of the spec and of the answers here. Nothing else of the
// machine is read while a plan is written, so a test that gives its own answers gets
// the same plan on every machine. There are two kinds of answers. [Facts] is what
// every room must know, and is asked for once. A [Host] has what only one room asks,
// and only for some specs, so each of its functions is called when it is needed.
//
// Nothing here changes the machine, and nothing needs privileges.
package host

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
	"minirun/rootfs/below"
	"minirun/rootfs/copyup"
	"minirun/rootfs/sourceflags"
)

// Facts asks for what every room must know.
//
// Why is NoMknod true in every user namespace? The kernel asks for CAP_MKNOD in the
// initial user namespace, and root of another one does not have it (mknod(2)).
func Facts() plan.Facts {
	f := plan.Facts{Euid: os.Geteuid(), Confined: !namespaces.InitialUser()}
	if f.Confined {
		f.NoMknod = true
		f.NoSetgroups, _ = namespaces.SetgroupsDenied(os.Getpid()) // without /proc, setgroups itself will tell
	}
	return f
}

// A Host answers what only one room asks. All of its functions are set.
type Host struct {
	IsDir       func(path string) bool                          // is the source of a bind mount a directory?
	Tree        func(root, path string) ([]copyup.Entry, error) // the files that a tmpfs is to be filled with
	Below       func(layers []string, path string) below.Place  // where a path leads in a root directory
	SourceFlags func(path string) int64                         // the flags of the mount that a path is on, as in statfs(2)
	Cgroup2     func() (string, error)                          // where cgroup2 is mounted, for containers that get a copy
	Stdio       func(fd int) stdio.Kind                         // what a standard file is
	IsOwn       func(path string, kind namespaces.Kind) bool    // is the namespace at a path the runtime's own?
	Grants      func() (uint64, error)                          // the runtime's own capabilities; bit n is capability n
	Hierarchy   func() (*cgroups.Hierarchy, error)              // where cgroup2 is mounted
	Systemd     func(user bool) (string, error)                 // the group below which systemd makes others
	Resctrl     func() (string, error)                          // where resctrl is mounted
	Delegated   func() ([]string, error)                        // the files of a cgroup that the owner of a delegated one must own
}

// This is the machine that the runtime runs on.
func This() Host {
	return Host{
		IsDir:       isDir,
		Tree:        copyup.Tree,
		Below:       below.Look,
		SourceFlags: sourceflags.Of,
		Cgroup2:     cgroup2,
		Stdio:       stdio.Of,
		IsOwn:       join.IsOwn,
		Grants:      process.OwnCapabilities,
		Hierarchy:   cgroups.Find,
		Systemd:     systemd.Find,
		Resctrl:     resctrl.Find,
		Delegated:   delegation.Files,
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func cgroup2() (string, error) {
	h, err := cgroups.Find()
	if err != nil {
		return "", err
	}
	return h.Mount, nil
}
