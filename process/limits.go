package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is about what the process gets of the machine besides its cgroup:
// resource limits, scheduling, its place in the queue of the out-of-memory
// killer. More than the caller has of it takes privileges of the host's.

// limits are what is set of them; the zero value is nothing.
type limits struct {
	rlimits []rlimit
	oom     *int            // oom_score_adj, -1000 to 1000
	sched   *unix.SchedAttr // sched_setattr(2)
	io      int             // ioprio_set(2); 0: as it is
}

type rlimit struct {
	name       string
	resource   int // RLIMIT_…
	soft, hard uint64
}

// resources are the limits of getrlimit(2).
var resources = map[string]int{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_STACK": unix.RLIMIT_STACK,
	"RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

func (l *limits) read(p *specs.Process) error {
	for n, r := range p.Rlimits {
		resource, ok := resources[r.Type]
		switch {
		case !ok:
			return fmt.Errorf("process.rlimits[%d].type %q: no such limit", n, r.Type)
		case slices.ContainsFunc(l.rlimits, func(other rlimit) bool { return other.resource == resource }):
			return fmt.Errorf("process.rlimits[%d].type %q: given twice", n, r.Type)
		case r.Soft > r.Hard:
			return fmt.Errorf("process.rlimits[%d] %s: soft limit %d above the hard limit %d", n, r.Type, r.Soft, r.Hard)
		}
		l.rlimits = append(l.rlimits, rlimit{r.Type, resource, r.Soft, r.Hard})
	}
	if l.oom = p.OOMScoreAdj; l.oom != nil && (*l.oom < -1000 || *l.oom > 1000) {
		return fmt.Errorf("process.oomScoreAdj %d: want -1000 to 1000", *l.oom)
	}
	return nil
}

// policies of sched(7).
var policies = map[specs.LinuxSchedulerPolicy]uint32{
	specs.SchedOther: unix.SCHED_NORMAL, specs.SchedFIFO: unix.SCHED_FIFO, specs.SchedRR: unix.SCHED_RR, specs.SchedBatch: unix.SCHED_BATCH,
	specs.SchedISO: 4 /* reserved, no kernel has it */, specs.SchedIdle: unix.SCHED_IDLE, specs.SchedDeadline: unix.SCHED_DEADLINE,
}

var schedulerFlags = map[specs.LinuxSchedulerFlag]uint64{
	specs.SchedFlagResetOnFork: unix.SCHED_FLAG_RESET_ON_FORK, specs.SchedFlagReclaim: unix.SCHED_FLAG_RECLAIM,
	specs.SchedFlagDLOverrun: unix.SCHED_FLAG_DL_OVERRUN, specs.SchedFlagKeepPolicy: unix.SCHED_FLAG_KEEP_POLICY,
	specs.SchedFlagKeepParams: unix.SCHED_FLAG_KEEP_PARAMS, specs.SchedFlagUtilClampMin: unix.SCHED_FLAG_UTIL_CLAMP_MIN,
	specs.SchedFlagUtilClampMax: unix.SCHED_FLAG_UTIL_CLAMP_MAX,
}

func (l *limits) readScheduler(s *specs.Scheduler) error {
	if s == nil {
		return nil
	}
	policy, ok := policies[s.Policy]
	switch realtime := policy == unix.SCHED_FIFO || policy == unix.SCHED_RR; {
	case !ok:
		return fmt.Errorf("process.scheduler.policy %q: no such policy", s.Policy)
	case s.Nice < -20 || s.Nice > 19:
		return fmt.Errorf("process.scheduler.nice %d: want -20 to 19", s.Nice)
	case realtime && (s.Priority < 1 || s.Priority > 99):
		return fmt.Errorf("process.scheduler.priority %d: want 1 to 99", s.Priority)
	case !realtime && s.Priority != 0:
		return fmt.Errorf("process.scheduler.priority %d: only for SCHED_FIFO and SCHED_RR", s.Priority)
	case policy != unix.SCHED_DEADLINE && (s.Runtime|s.Deadline|s.Period) != 0:
		return errors.New("process.scheduler: runtime, deadline and period are only for SCHED_DEADLINE")
	}
	l.sched = &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
	for _, name := range s.Flags {
		flag, ok := schedulerFlags[name]
		if !ok {
			return fmt.Errorf("process.scheduler.flags %q: no such flag", name)
		}
		l.sched.Flags |= flag
	}
	return nil
}

func (l *limits) readIOPriority(p *specs.LinuxIOPriority) error {
	if p == nil {
		return nil
	}
	class := 1 + slices.Index([]specs.IOPriorityClass{specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE}, p.Class)
	if class == 0 {
		return fmt.Errorf("process.ioPriority.class %q: no such class", p.Class)
	}
	if p.Priority < 0 || p.Priority > 7 {
		return fmt.Errorf("process.ioPriority.priority %d: want 0 to 7", p.Priority)
	}
	l.io = class<<13 | p.Priority
	return nil
}

// First records what the child does before anything else, even before it
// enters its namespaces: it sets its oom_score_adj through the host's /proc,
// of which the container sees nothing yet. The file is its own only as long as
// it is not hidden (PR_SET_DUMPABLE).
func (i *Identity) First(p *plan.Plan) {
	if i.limits.oom == nil || i.Outside {
		return
	}
	p.Note("who is killed first when memory runs out")
	f := p.Openat(plan.CWD, "/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0).As("oom_score_adj")
	p.Write(f, strconv.Itoa(*i.limits.oom))
	p.Close(f)
}

// record records the limits: not before the last descriptor is opened, of
// which there may be too many by then (RLIMIT_NOFILE).
func (l *limits) record(p *plan.Plan, outside bool) {
	switch {
	case !outside:
		l.inside(p)
	case len(l.rlimits) > 0 || l.oom != nil || l.sched != nil || l.io != 0:
		p.Note("in a user namespace nobody may have more than the host gave: the runtime, which may, sets the limits")
		p.Gate("limits", func() { l.outside(p) })
	}
}

// inside records that the child sets them itself.
func (l *limits) inside(p *plan.Plan) {
	for _, r := range l.rlimits {
		p.Prlimit(r.resource, r.soft, r.hard)
	}
	if s := l.sched; s != nil {
		p.SchedSetattr(s)
	}
	if l.io != 0 {
		p.Call("ioprio_set", unix.SYS_IOPRIO_SET, plan.Number(ioprioProcess), plan.Number(0), plan.Number(l.io))
	}
}

const ioprioProcess = 1 // IOPRIO_WHO_PROCESS

// outside records that the runtime sets them, by process id.
func (l *limits) outside(p *plan.Plan) {
	for _, r := range l.rlimits {
		p.Do("prlimit64(PID, "+r.name+", {rlim_cur="+strconv.FormatUint(r.soft, 10)+", rlim_max="+strconv.FormatUint(r.hard, 10)+"})", func(child *plan.Process) error {
			return unix.Prlimit(child.Pid, r.resource, &unix.Rlimit{Cur: r.soft, Max: r.hard}, nil)
		})
	}
	if l.oom != nil {
		text := strconv.Itoa(*l.oom)
		p.Do("write(/proc/PID/oom_score_adj, \""+text+"\")", func(child *plan.Process) error { return writeScore(child.Pid, text) })
	}
	if l.sched != nil {
		a := l.sched
		shown := fmt.Sprintf("{sched_policy=%d, sched_flags=%d, sched_nice=%d, sched_priority=%d, sched_runtime=%d, sched_deadline=%d, sched_period=%d}",
			a.Policy, a.Flags, a.Nice, a.Priority, a.Runtime, a.Deadline, a.Period)
		p.Do("sched_setattr(PID, "+shown+")", func(child *plan.Process) error { return unix.SchedSetAttr(child.Pid, a, 0) })
	}
	if l.io != 0 {
		p.Do("ioprio_set(IOPRIO_WHO_PROCESS, PID, "+strconv.Itoa(l.io)+")", func(child *plan.Process) error {
			_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioProcess, uintptr(child.Pid), uintptr(l.io))
			if errno != 0 {
				return errno
			}
			return nil
		})
	}
}

// writeScore sets the oom_score_adj of a process, unless that is what it has:
// an ordinary user may not write that of a hidden process, not even his own.
func writeScore(pid int, score string) error {
	file := "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	if now, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(now)) == score {
		return err
	}
	return os.WriteFile(file, []byte(score), 0)
}
