package process

import (
	"fmt"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// resources are the names of the limits of getrlimit(2).
var resources = map[string]int{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_STACK": unix.RLIMIT_STACK,
	"RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

// checkLimits refuses limits that prlimit(2) would refuse, or that contradict each
// other.
func (i *Identity) checkLimits() error {
	seen := map[int]bool{}
	for n, r := range i.spec.Rlimits {
		resource, ok := resources[r.Type]
		switch {
		case !ok:
			return fmt.Errorf("process.rlimits[%d].type %q: no such limit", n, r.Type)
		case seen[resource]:
			return fmt.Errorf("process.rlimits[%d].type %q: given twice", n, r.Type)
		case r.Soft > r.Hard:
			return fmt.Errorf("process.rlimits[%d] %s: soft limit %d above the hard limit %d", n, r.Type, r.Soft, r.Hard)
		}
		seen[resource] = true
	}
	return nil
}

// HasLimits says whether the spec sets resource limits.
func (i *Identity) HasLimits() bool { return len(i.spec.Rlimits) > 0 }

// Limits records the resource limits. Recorded for the child, the process sets
// its own; recorded at a gate, the runtime sets those of the child ([plan.Plan.PID]).
// The gate is for a process in a user namespace: there it lacks CAP_SYS_RESOURCE
// over the host, and cannot raise a hard limit.
//
// The steps come after the last one that opens a descriptor, because the new
// RLIMIT_NOFILE may allow no more of them.
func (i *Identity) Limits(p *plan.Plan) {
	for _, r := range i.spec.Rlimits {
		p.Prlimit(resources[r.Type], r.Soft, r.Hard)
	}
}
