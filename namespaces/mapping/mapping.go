package mapping

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Open records that the runtime gets a descriptor of a new user namespace with
// these id maps. On a mount that has them, files whose owner on disk is the first
// id inside appear to belong to the first id outside, and so on. Needs CAP_SETUID
// and CAP_SETGID.
func Open(p *plan.Plan, uids, gids []specs.LinuxIDMapping) plan.FD {
	u, g := namespaces.IDMap(uids), namespaces.IDMap(gids)
	text := "a user namespace with uid_map " + strconv.Quote(u.String()) + ", gid_map " + strconv.Quote(g.String())
	return p.Open(text, func(*plan.Process) (int, error) { return open(u, g) }).As("id map")
}

// open makes the namespace by a plan of its own.
func open(uids, gids namespaces.IDMap) (fd int, err error) {
	p := &plan.Plan{}
	p.Clone3(plan.Clone{Flags: unix.CLONE_NEWUSER})
	p.On(plan.Child)
	p.Gate("id maps", func() {
		uids.Write(p, "uid_map")
		gids.Write(p, "gid_map")
		p.Do("open(/proc/PID/ns/user)", func(r *plan.Process) error {
			fd, err = unix.Open(fmt.Sprintf("/proc/%d/ns/user", r.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return err
		})
	})
	p.Ready()
	p.ExitGroup(0)
	r, err := p.Start(plan.Options{})
	if err != nil {
		return -1, err
	}
	_, err = r.Wait()
	return fd, err
}
