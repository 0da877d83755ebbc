// Package processes says which processes are a container's: minirunc ps, and the
// looking glass of minirun.
package processes

import (
	"errors"
	"slices"

	"minirun/container"
	"minirun/container/pidfd"
	"minirun/container/procfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Of returns the ids of the container's processes, as we see them, in ascending
// order; none if it has ended. They are the processes in its cgroup. Without a cgroup
// of its own they are those in its pid namespace, if it has made one, and every
// descendant of the container process. So it is if an administrator has moved them and
// removed the group: where they are now, others may be, too.
func Of(c *container.Container) ([]int, error) {
	group, err := c.Group()
	if err != nil {
		return nil, err
	} else if group != nil {
		pids, err := group.Procs()
		slices.Sort(pids)
		return pids, err
	}
	if _, err := c.Identity.Stat(); errors.Is(err, pidfd.ErrEnded) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	all, err := procfs.Read("/proc")
	if err != nil {
		return nil, err
	}
	ownNamespace := slices.Contains(c.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace}) // made for it: no path
	return byDescent(c.Pid, ownNamespace, all), nil
}

// byDescent finds the descendants of a process, and with ownNamespace the processes
// that share its pid namespace and their descendants.
func byDescent(first int, ownNamespace bool, all []*procfs.Process) []int {
	children, namespace := map[int][]int{}, ""
	for _, p := range all {
		children[p.Parent] = append(children[p.Parent], p.Pid)
		if p.Pid == first && ownNamespace {
			namespace = p.PIDNamespace
		}
	}
	found := []int{first}
	for _, p := range all {
		if p.Pid != first && namespace != "" && p.PIDNamespace == namespace {
			found = append(found, p.Pid)
		}
	}
	seen := map[int]bool{}
	for i := 0; i < len(found); i++ { // found grows while we go through it
		if !seen[found[i]] {
			seen[found[i]] = true
			found = append(found, children[found[i]]...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
