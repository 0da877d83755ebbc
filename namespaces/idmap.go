package namespaces

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

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
	if own(l.GIDMappings) {
		p.Do(`write(/proc/PID/setgroups, "deny")`, func(r *plan.Process) error { return write(r.Pid, "setgroups", "deny") })
		s.writeMap(p, "gid_map", l.GIDMappings)
	} else {
		s.helper(p, "newgidmap", l.GIDMappings)
	}
	if own(l.UIDMappings) {
		s.writeMap(p, "uid_map", l.UIDMappings)
	} else {
		s.helper(p, "newuidmap", l.UIDMappings)
	}
}

// DeniesSetgroups says whether setgroups(2) will be forbidden in the container.
func (s *Set) DeniesSetgroups(host Host) bool {
	return s.Makes(specs.UserNamespace) && host.Euid != 0 && own(s.spec.Linux.GIDMappings)
}

// own says whether a map has only one id, as the kernel allows for one's own.
func own(m []specs.LinuxIDMapping) bool { return len(m) == 1 && m[0].Size == 1 }

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
