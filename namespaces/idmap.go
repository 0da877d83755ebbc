package namespaces

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An IDMap is the table of users, or of groups, of a user namespace: which ids
// inside are which ids outside. An empty one stands for no user namespace; then
// ids are the same inside and outside.
type IDMap []specs.LinuxIDMapping

// String is the table as the kernel reads it, one line a range:
//
//	0 100000 65536
//
// is the first id inside, the first id outside, and how many there are.
func (m IDMap) String() string {
	var b strings.Builder
	for _, l := range m {
		fmt.Fprintln(&b, l.ContainerID, l.HostID, l.Size)
	}
	return b.String()
}

// ToHost is the id outside of an id inside; false if it has none.
func (m IDMap) ToHost(id uint32) (uint32, bool) {
	for _, l := range m {
		if id >= l.ContainerID && id-l.ContainerID < l.Size {
			return l.HostID + (id - l.ContainerID), true
		}
	}
	return id, len(m) == 0
}

// ToContainer is the id inside of an id outside; false if it has none.
func (m IDMap) ToContainer(id uint32) (uint32, bool) {
	for _, l := range m {
		if id >= l.HostID && id-l.HostID < l.Size {
			return l.ContainerID + (id - l.HostID), true
		}
	}
	return id, len(m) == 0
}

// Write records that the runtime writes the table of the cloned process's user
// namespace. The file is uid_map or gid_map. It can be written once.
func (m IDMap) Write(p *plan.Plan, file string) {
	p.Do("write(/proc/PID/"+file+", "+strconv.Quote(m.String())+")", func(r *plan.Process) error {
		return os.WriteFile(fmt.Sprintf("/proc/%d/%s", r.Pid, file), []byte(m.String()), 0)
	})
}

// check refuses what the kernel refuses too, but only with the word EINVAL.
func (m IDMap) check(name string) error {
	const most = 340 // user_namespaces(7)
	if len(m) > most {
		return fmt.Errorf("linux.%s: %d lines, of at most %d", name, len(m), most)
	}
	for i, a := range m {
		if a.Size == 0 || uint64(a.ContainerID)+uint64(a.Size) > 1<<32-1 || uint64(a.HostID)+uint64(a.Size) > 1<<32-1 {
			return fmt.Errorf("linux.%s[%d].size %d: want 1 or more, and no id above 4294967294", name, i, a.Size)
		}
		for _, b := range m[:i] {
			if overlap(a.ContainerID, a.Size, b.ContainerID, b.Size) || overlap(a.HostID, a.Size, b.HostID, b.Size) {
				return fmt.Errorf("linux.%s[%d]: overlaps an earlier one", name, i)
			}
		}
	}
	return nil
}

// overlap says whether n ids from a on and m ids from b on have one in common.
func overlap(a, n, b, m uint32) bool {
	return uint64(a) < uint64(b)+uint64(m) && uint64(b) < uint64(a)+uint64(n)
}
