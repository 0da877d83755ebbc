package scheduling

import (
	"encoding/binary"
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

// A Scheduling is what a spec asks for. Nil leaves everything as it is.
type Scheduling struct {
	oomScore   *int            // oom_score_adj; nil: as it is
	attr       *unix.SchedAttr // nil: as it is
	ioPriority int             // class and priority, as ioprio_set(2) takes them; 0: as it is
}

// New checks the properties of a process; nil if it has none of them. Errors name
// the property.
func New(p *specs.Process) (s *Scheduling, err error) {
	if p.OOMScoreAdj == nil && p.Scheduler == nil && p.IOPriority == nil {
		return nil, nil
	}
	s = &Scheduling{oomScore: p.OOMScoreAdj}
	if o := s.oomScore; o != nil && (*o < -1000 || *o > 1000) {
		return nil, fmt.Errorf("process.oomScoreAdj %d: want -1000 to 1000", *o)
	}
	if p.Scheduler != nil {
		if s.attr, err = attributes(p.Scheduler); err != nil {
			return nil, err
		}
	}
	if p.IOPriority != nil {
		if s.ioPriority, err = ioPriority(p.IOPriority); err != nil {
			return nil, err
		}
	}
	return s, nil
}

var policies = map[specs.LinuxSchedulerPolicy]uint32{
	specs.SchedOther: unix.SCHED_NORMAL, specs.SchedFIFO: unix.SCHED_FIFO, specs.SchedRR: unix.SCHED_RR, specs.SchedBatch: unix.SCHED_BATCH,
	specs.SchedISO: 4 /* reserved, no kernel has it */, specs.SchedIdle: unix.SCHED_IDLE, specs.SchedDeadline: unix.SCHED_DEADLINE,
}

var policyFlags = map[specs.LinuxSchedulerFlag]uint64{
	specs.SchedFlagResetOnFork: unix.SCHED_FLAG_RESET_ON_FORK, specs.SchedFlagReclaim: unix.SCHED_FLAG_RECLAIM,
	specs.SchedFlagDLOverrun: unix.SCHED_FLAG_DL_OVERRUN, specs.SchedFlagKeepPolicy: unix.SCHED_FLAG_KEEP_POLICY,
	specs.SchedFlagKeepParams: unix.SCHED_FLAG_KEEP_PARAMS, specs.SchedFlagUtilClampMin: unix.SCHED_FLAG_UTIL_CLAMP_MIN,
	specs.SchedFlagUtilClampMax: unix.SCHED_FLAG_UTIL_CLAMP_MAX,
}

// attributes are the scheduler's properties as sched_setattr(2) takes them.
func attributes(s *specs.Scheduler) (*unix.SchedAttr, error) {
	policy, ok := policies[s.Policy]
	switch realtime := policy == unix.SCHED_FIFO || policy == unix.SCHED_RR; {
	case !ok:
		return nil, fmt.Errorf("process.scheduler.policy %q: no such policy", s.Policy)
	case s.Nice < -20 || s.Nice > 19:
		return nil, fmt.Errorf("process.scheduler.nice %d: want -20 to 19", s.Nice)
	case realtime && (s.Priority < 1 || s.Priority > 99):
		return nil, fmt.Errorf("process.scheduler.priority %d: want 1 to 99", s.Priority)
	case !realtime && s.Priority != 0:
		return nil, fmt.Errorf("process.scheduler.priority %d: only for SCHED_FIFO and SCHED_RR", s.Priority)
	case policy != unix.SCHED_DEADLINE && (s.Runtime|s.Deadline|s.Period) != 0:
		return nil, errors.New("process.scheduler: runtime, deadline and period are only for SCHED_DEADLINE")
	}
	a := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
	for _, name := range s.Flags {
		flag, ok := policyFlags[name]
		if !ok {
			return nil, fmt.Errorf("process.scheduler.flags %q: no such flag", name)
		}
		a.Flags |= flag
	}
	return a, nil
}

func ioPriority(p *specs.LinuxIOPriority) (int, error) {
	class := 1 + slices.Index([]specs.IOPriorityClass{specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE}, p.Class)
	if class == 0 {
		return 0, fmt.Errorf("process.ioPriority.class %q: no such class", p.Class)
	}
	if p.Priority < 0 || p.Priority > 7 {
		return 0, fmt.Errorf("process.ioPriority.priority %d: want 0 to 7", p.Priority)
	}
	return class<<13 | p.Priority, nil
}

// OOMScore records oom_score_adj. Recorded for the child, it must come before the
// child enters its namespaces, because it goes through the host's /proc, of which
// the container sees nothing later; and before PR_SET_DUMPABLE, which makes the
// file root's. Recorded at a gate, the runtime writes the child's file.
func (s *Scheduling) OOMScore(p *plan.Plan) {
	if s == nil || s.oomScore == nil {
		return
	}
	score := strconv.Itoa(*s.oomScore)
	p.Note("how early the kernel kills this process when memory runs out: -1000 never, 1000 first")
	if p.Side() == plan.Runtime {
		p.Do("write(/proc/PID/oom_score_adj, \""+score+"\")", func(child *plan.Process) error { return writeScore(child.Pid, score) })
		return
	}
	f := p.Openat(plan.CWD, "/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0).As("oom_score_adj")
	p.Write(f, score)
	p.Close(f)
}

// writeScore writes nothing if the process has that score already: an ordinary
// user must not write the file of a process that is not dumpable, even if it is
// the user's own.
func writeScore(pid int, score string) error {
	file := "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	if now, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(now)) == score {
		return err
	}
	return os.WriteFile(file, []byte(score), 0)
}

// Record records the scheduling policy and the I/O priority.
func (s *Scheduling) Record(p *plan.Plan) {
	if s == nil {
		return
	}
	if a := s.attr; a != nil {
		data, _ := binary.Append(nil, binary.NativeEndian, a) // fails only for types without a fixed size
		p.Call("sched_setattr", unix.SYS_SCHED_SETATTR, p.PID(), &plan.Memory{Bytes: data, Show: func() string {
			return fmt.Sprintf("{sched_policy=%d, sched_flags=%#x, sched_nice=%d, sched_priority=%d, sched_runtime=%d, sched_deadline=%d, sched_period=%d}",
				a.Policy, a.Flags, a.Nice, a.Priority, a.Runtime, a.Deadline, a.Period)
		}}, plan.Num(0))
	}
	if s.ioPriority != 0 {
		p.Call("ioprio_set", unix.SYS_IOPRIO_SET, plan.Name{Value: 1, Text: "IOPRIO_WHO_PROCESS"}, p.PID(), plan.Num(s.ioPriority))
	}
}
