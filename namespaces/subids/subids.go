package subids

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Maps are the id maps of a new user namespace of an ordinary user's.
type Maps struct {
	uids, gids namespaces.IDMap
}

// New reads the id maps of a spec, which package namespaces has checked. They are
// nil if the container gets no new user namespace, or if the runtime is root.
func New(linux *specs.Linux, set *namespaces.Set, facts plan.Facts) *Maps {
	if facts.Euid == 0 || !set.Makes(specs.UserNamespace) {
		return nil
	}
	return &Maps{linux.UIDMappings, linux.GIDMappings}
}

// DeniesSetgroups says whether setgroups(2) will be forbidden in the container.
func (m *Maps) DeniesSetgroups() bool { return m != nil && single(m.gids) }

// single says whether a map has only one id, as the kernel allows for one's own.
func single(m namespaces.IDMap) bool { return len(m) == 1 && m[0].Size == 1 }

// Write records the gate at which the runtime writes the maps.
func (m *Maps) Write(p *plan.Plan) {
	if m == nil {
		return
	}
	p.Note("only a process outside of the new user namespace can say which users and groups it has")
	p.Gate("id maps", func() {
		if single(m.gids) {
			p.Do(`write(/proc/PID/setgroups, "deny")`, func(r *plan.Process) error {
				return os.WriteFile(fmt.Sprintf("/proc/%d/setgroups", r.Pid), []byte("deny"), 0)
			})
		}
		write(p, m.gids, "gid_map")
		write(p, m.uids, "uid_map")
	})
}

// write records how one map is written: by the runtime if it can, else by
// newuidmap(1) or newgidmap(1).
func write(p *plan.Plan, m namespaces.IDMap, file string) {
	if single(m) {
		m.Write(p, file)
		return
	}
	name := map[string]string{"uid_map": "newuidmap", "gid_map": "newgidmap"}[file]
	words := strings.Fields(m.String())
	p.Do(name+" PID "+strings.Join(words, " "), func(r *plan.Process) error {
		return run(name, append([]string{strconv.Itoa(r.Pid)}, words...))
	})
}

func run(name string, args []string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s: not found, and mapping more than one's own id takes it (package uidmap): %w", name, err)
	}
	output, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(output)))
	}
	return nil
}
