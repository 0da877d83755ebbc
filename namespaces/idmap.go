package namespaces

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// writeMaps records how the runtime fills the tables of a new user namespace.
func (s *Set) writeMaps(p *plan.Plan, host Host) {
	l := s.spec.Linux
	if host.Euid == 0 {
		s.writeMap(p, "uid_map", l.UIDMappings)
		s.writeMap(p, "gid_map", l.GIDMappings)
		return
	}
	// Who has no privileges may map only himself, and only if he gives up
	// setgroups: a group can also be there to deny its members something.
	if single(l.GIDMappings) {
		p.Do(`write(/proc/PID/setgroups, "deny")`, func(r *plan.Process) error { return write(r.Pid, "setgroups", "deny") })
		s.writeMap(p, "gid_map", l.GIDMappings)
	} else {
		s.helper(p, "newgidmap", l.GIDMappings)
	}
	if single(l.UIDMappings) {
		s.writeMap(p, "uid_map", l.UIDMappings)
	} else {
		s.helper(p, "newuidmap", l.UIDMappings)
	}
}

// DeniesSetgroups says whether setgroups(2) will be forbidden in the container:
// a user namespace inherits that from the one in which it is made.
func (s *Set) DeniesSetgroups(host Host) bool {
	return host.NoSets || s.Makes(specs.UserNamespace) && host.Euid != 0 && single(s.spec.Linux.GIDMappings)
}

// SetgroupsDenied says whether setgroups(2) is forbidden in the user namespace
// of a process: in one that an ordinary user made for himself (user_namespaces(7)).
func SetgroupsDenied(pid int) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/setgroups", pid))
	return string(text) == "deny\n", err
}

// single says whether a map has only one id, as the kernel allows for one's own.
func single(m []specs.LinuxIDMapping) bool { return len(m) == 1 && m[0].Size == 1 }

func (s *Set) writeMap(p *plan.Plan, file string, m []specs.LinuxIDMapping) {
	p.Do("write(/proc/PID/"+file+", "+strconv.Quote(idMap(m))+")", func(r *plan.Process) error { return write(r.Pid, file, idMap(m)) })
}

func write(pid int, file, text string) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, file), []byte(text), 0)
}

// helper records a call of newuidmap(1) or newgidmap(1): programs with the
// privilege to map the ids that /etc/subuid and /etc/subgid give a user.
func (s *Set) helper(p *plan.Plan, name string, m []specs.LinuxIDMapping) {
	words := strings.Fields(idMap(m))
	p.Do(name+" PID "+strings.Join(words, " "), func(r *plan.Process) error {
		path, err := exec.LookPath(name)
		if err != nil {
			return fmt.Errorf("%s: not found, and mapping more than one's own id takes it (package uidmap): %w", name, err)
		}
		output, err := exec.Command(path, append([]string{strconv.Itoa(r.Pid)}, words...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(output)))
		}
		return nil
	})
}

// idMap is a table as the kernel reads it, one line a range:
//
//	0 100000 65536
//
// the first id inside, the first outside, how many.
func idMap(m []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, l := range m {
		b.WriteString(strconv.FormatUint(uint64(l.ContainerID), 10) + " " + strconv.FormatUint(uint64(l.HostID), 10) + " " + strconv.FormatUint(uint64(l.Size), 10) + "\n")
	}
	return b.String()
}

// Mapping records that the runtime gets a descriptor of a user namespace in
// which nobody lives, for its tables: a mount that is mapped by it shows the
// first id inside as the owner of files of the first id outside, and so on
// (mount_setattr(2), MOUNT_ATTR_IDMAP). Needs CAP_SETUID and CAP_SETGID.
func Mapping(p *plan.Plan, uids, gids []specs.LinuxIDMapping) plan.FD {
	text := "a user namespace with uid_map " + strconv.Quote(idMap(uids)) + ", gid_map " + strconv.Quote(idMap(gids))
	return p.Open(text, func(*plan.Process) (int, error) { return mapping(uids, gids) }).As("id map")
}

// mapping makes the namespace with a process that lives as long as it takes.
func mapping(uids, gids []specs.LinuxIDMapping) (fd int, err error) {
	p := &plan.Plan{}
	p.Clone3(plan.Clone{Flags: unix.CLONE_NEWUSER})
	p.On(plan.Child)
	p.Gate("id maps", func() {
		p.Do("write the maps", func(r *plan.Process) error {
			if err := errors.Join(write(r.Pid, "uid_map", idMap(uids)), write(r.Pid, "gid_map", idMap(gids))); err != nil {
				return err
			}
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
