package container

import (
	"slices"

	"minirun/container/procfs"
)

// Processes are the ids of the container's processes, as we see them, in
// ascending order; none if it has ended. They are those in its cgroup. Without
// one of its own they are those in its pid namespace, if it has one, and what
// the container process and they have started.
func (c *Container) Processes() ([]int, error) {
	if c.Cgroup != "" {
		pids, err := c.group().Procs()
		slices.Sort(pids)
		return pids, err
	}
	if alive, err := c.alive(); !alive {
		return nil, err
	}
	all, err := procfs.Read("/proc")
	if err != nil {
		return nil, err
	}
	return c.among(all), nil
}

// among finds the container's processes by descent. Ids are given in ascending
// order until they begin anew, so a child may come before its parent: the list
// is gone through until it has nobody new.
func (c *Container) among(all []*procfs.Process) []int {
	namespace := ""
	if c.ownPids() {
		for _, p := range all {
			if p.Pid == c.Pid {
				namespace = p.PIDNamespace
			}
		}
	}
	mine := map[int]bool{c.Pid: true}
	for before := 0; len(mine) > before; {
		before = len(mine)
		for _, p := range all {
			if mine[p.Parent] || namespace != "" && p.PIDNamespace == namespace {
				mine[p.Pid] = true
			}
		}
	}
	var pids []int
	for _, p := range all {
		if mine[p.Pid] {
			pids = append(pids, p.Pid)
		}
	}
	return pids
}
