package clocks

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Offsets are what a container's clocks are ahead of the host's.
type Offsets struct {
	spec map[string]specs.LinuxTimeOffset
}

// New reads the offsets of a spec. They are nil if the container gets no new time
// namespace.
func New(linux *specs.Linux, set *namespaces.Set) (*Offsets, error) {
	for clock, offset := range linux.TimeOffsets {
		switch {
		case clock != "monotonic" && clock != "boottime":
			return nil, fmt.Errorf("linux.timeOffsets %q: want monotonic or boottime", clock)
		case offset.Nanosecs >= 1e9:
			return nil, fmt.Errorf("linux.timeOffsets.%s.nanosecs %d: a second or more", clock, offset.Nanosecs)
		case !set.Makes(specs.TimeNamespace):
			return nil, errors.New("linux.timeOffsets: no new time namespace")
		}
	}
	if !set.Makes(specs.TimeNamespace) {
		return nil, nil
	}
	return &Offsets{linux.TimeOffsets}, nil
}

// Set records that the child makes the time namespace, sets its clocks, and enters
// it. It is recorded while the child sees the host's /proc, and before the child is
// not dumpable, because then the file belongs to root.
func (o *Offsets) Set(p *plan.Plan) {
	if o == nil {
		return
	}
	p.Note("a time namespace: its clocks can be set only while no process is in it, so the child enters it afterwards")
	p.Unshare(unix.CLONE_NEWTIME)
	for _, clock := range slices.Sorted(maps.Keys(o.spec)) {
		f := p.Openat(plan.CWD, "/proc/self/timens_offsets", unix.O_WRONLY|unix.O_CLOEXEC, 0).As("timens_offsets")
		p.Write(f, fmt.Sprintf("%s %d %d\n", clock, o.spec[clock].Secs, o.spec[clock].Nanosecs))
		p.Close(f)
	}
	ns := p.Openat(plan.CWD, "/proc/self/ns/time_for_children", unix.O_RDONLY|unix.O_CLOEXEC, 0).As("time namespace")
	p.Setns(ns, unix.CLONE_NEWTIME)
	p.Close(ns)
}
