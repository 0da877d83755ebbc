package bundle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	ns "minirun/namespaces"
	"minirun/namespaces/subids"
	"minirun/plan"
	"minirun/process/passwd"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is about the other users of an ordinary user's container, besides root. The
// kernel lets a user map only the own id into a user namespace (user_namespaces(7)). More
// ids are given to the user by the administrator in /etc/subuid and /etc/subgid (subuid(5)),
// and are mapped by the setuid programs newuidmap(1) and newgidmap(1).
//
// Files that these other users make in the container belong to the subordinate ids. The
// user has no rights over those outside, and so cannot remove the files without help
// (removeOthers).

// idMappings map root in the container to the calling user and, if that user has
// subordinate ids of both kinds and there is somebody to map them, the ids from 1
// on to these.
func idMappings() (uids, gids []specs.LinuxIDMapping) {
	uids, gids = ownMappings()
	if moreUIDs, moreGIDs, err := Others(); err == nil {
		return append(uids, moreUIDs...), append(gids, moreGIDs...)
	}
	return uids, gids
}

// Others are the users and the groups besides root that the calling user's
// containers can have. The error says what is missing: a program, or a line in a file.
func Others() (uids, gids []specs.LinuxIDMapping, err error) {
	_, err1 := exec.LookPath("newuidmap")
	_, err2 := exec.LookPath("newgidmap")
	uids, err3 := subordinate("/etc/subuid", os.Geteuid())
	gids, err4 := subordinate("/etc/subgid", os.Getegid())
	return uids, gids, errors.Join(err1, err2, err3, err4)
}

// subordinate is the first range that a file gives the calling user, by name or by
// number, without own: that id is root in the container, and the kernel maps an id of the
// host only once.
func subordinate(path string, own int) ([]specs.LinuxIDMapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := passwd.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	uid := strconv.Itoa(os.Geteuid())
	name := uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	for line := range strings.Lines(text) {
		if owner := passwd.Field(line, 0); owner != name && owner != uid {
			continue
		}
		first, err1 := strconv.ParseUint(passwd.Field(line, 1), 10, 32)
		count, err2 := strconv.ParseUint(passwd.Field(line, 2), 10, 32)
		if err1 == nil && err2 == nil && count > 0 && first+count <= 1<<32-1 {
			if list := except(uint32(first), uint32(count), uint32(own)); len(list) > 0 {
				return list, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: no ids for %s", path, name)
}

// except maps the ids from 1 on to count ids of the host from first on, without own.
func except(first, count, own uint32) (list []specs.LinuxIDMapping) {
	next := uint32(1)
	add := func(first, count uint32) {
		if count > 0 {
			list = append(list, specs.LinuxIDMapping{ContainerID: next, HostID: first, Size: count})
			next += count
		}
	}
	if own < first || own-first >= count {
		add(first, count)
		return list
	}
	add(first, own-first)
	add(own+1, count-(own-first)-1)
	return list
}

// isMapped says whether an id in the container is mapped to an id of the host.
func isMapped(m []specs.LinuxIDMapping, id uint32) bool {
	_, ok := ns.IDMap(m).ToHost(id)
	return ok && len(m) > 0
}

// removeOthers removes what the container has written, by running rm(1) as root of a user
// namespace with the same id maps as the container's. Root there has the privileges over
// files of all mapped ids (CAP_DAC_OVERRIDE); the calling user outside does not. It is a plan
// of its own: clone, write the id maps, execute rm.
func (b *Bundle) removeOthers() error {
	rm, err := exec.LookPath("rm")
	if err != nil {
		return err
	}
	facts := plan.Facts{Euid: os.Geteuid()}
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: namespaces("user", "mount"),
		UIDMappings: b.Spec.Linux.UIDMappings, GIDMappings: b.Spec.Linux.GIDMappings}}
	set, err := ns.New(spec, facts, nil)
	if err != nil {
		return err
	}
	p := &plan.Plan{}
	p.On(plan.Runtime)
	set.Clone(p, plan.Clone{PidFD: true})
	p.On(plan.Child)
	set.WriteIDMaps(p)
	subids.New(spec.Linux, set, facts).Write(p)
	set.SetUp(p)
	p.CloseRange(plan.Num(3), 0, plan.Channel)
	p.CloseRange(plan.Channel, 1, nil)
	p.Ready()
	p.RtSigprocmask()
	p.Execve(rm, []string{"rm", "-rf", "--", filepath.Join(b.Dir, "upper"), filepath.Join(b.Dir, "work")}, nil)
	child, err := p.Start(plan.Options{})
	if err != nil {
		return err
	}
	status, err := child.Wait()
	if err == nil && status != 0 {
		err = fmt.Errorf("rm of %s/upper in a user namespace: exit code %d", b.Dir, status.ExitStatus())
	}
	return err
}

// remove removes the bundle's directory; config.json goes last, because it says what the rest
// is. EACCES or EPERM mean that there are files of other users of the container.
func (o *opened) remove(b *Bundle) error {
	err := o.containers.RemoveAll(b.ID, "config.json")
	if errors.Is(err, os.ErrPermission) && b.Spec != nil && b.Spec.Linux != nil && len(b.Spec.Linux.UIDMappings) > 1 {
		if err := b.removeOthers(); err != nil {
			return err
		}
		return o.containers.RemoveAll(b.ID, "config.json")
	}
	return err
}
