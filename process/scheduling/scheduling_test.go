package scheduling

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/process/processtest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestRefusals: what New does not take, and how it says so.
func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		`"oomScoreAdj": 1001`:                                       `process.oomScoreAdj 1001: want -1000 to 1000`,
		`"scheduler": {"policy": "SCHED_X"}`:                        `process.scheduler.policy "SCHED_X": no such policy`,
		`"scheduler": {"policy": "SCHED_OTHER", "nice": 20}`:        `process.scheduler.nice 20: want -20 to 19`,
		`"scheduler": {"policy": "SCHED_OTHER", "priority": 1}`:     `process.scheduler.priority 1: only for SCHED_FIFO and SCHED_RR`,
		`"scheduler": {"policy": "SCHED_FIFO"}`:                     `process.scheduler.priority 0: want 1 to 99`,
		`"scheduler": {"policy": "SCHED_BATCH", "period": 1}`:       `process.scheduler: runtime, deadline and period are only for SCHED_DEADLINE`,
		`"scheduler": {"policy": "SCHED_IDLE", "flags": ["X"]}`:     `process.scheduler.flags "X": no such flag`,
		`"ioPriority": {"class": "X"}`:                              `process.ioPriority.class "X": no such class`,
		`"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}`: `process.ioPriority.priority 8: want 0 to 7`,
	} {
		var p specs.Process
		if err := json.Unmarshal([]byte("{"+text+"}"), &p); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if s, err := New(&p); err == nil || err.Error() != want || s != nil {
			t.Errorf("New(%s) = %v, %v; want %s", text, s, err, want)
		}
	}
	if s, err := New(&specs.Process{}); s != nil || err != nil {
		t.Errorf("New() = %v, %v; want nothing", s, err)
	}
}

// all are both calls and the file.
func all(t *testing.T) *Scheduling {
	t.Helper()
	score := -500
	s, err := New(&specs.Process{OOMScoreAdj: &score,
		Scheduler:  &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
		IOPriority: &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 4}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPlan: the child sets the values of its own process, the runtime those of
// the child.
func TestPlan(t *testing.T) {
	const note = "# how early the kernel kills this process when memory runs out: -1000 never, 1000 first\n"
	for side, want := range map[plan.Side]string{
		plan.Child: note + `  1 child   openat(AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY|O_CLOEXEC) = <oom_score_adj>
  2 child   write(<oom_score_adj>, "-500", 4)
  3 child   close(<oom_score_adj>)
  4 child   sched_setattr(0, {sched_policy=1, sched_flags=0x1, sched_nice=0, sched_priority=5, sched_runtime=0, sched_deadline=0, sched_period=0}, 0)
  5 child   ioprio_set(IOPRIO_WHO_PROCESS, 0, 24580)
`,
		plan.Runtime: note + `  1 runtime write(/proc/PID/oom_score_adj, "-500")
  2 runtime sched_setattr(PID, {sched_policy=1, sched_flags=0x1, sched_nice=0, sched_priority=5, sched_runtime=0, sched_deadline=0, sched_period=0}, 0)
  3 runtime ioprio_set(IOPRIO_WHO_PROCESS, PID, 24580)
`,
	} {
		s := all(t)
		got := processtest.Text(t, side, func(p *plan.Plan) {
			s.OOMScore(p)
			s.Record(p)
		})
		if got != want {
			t.Errorf("the steps of %s are\n%s\nwant\n%s", side, got, want)
		}
	}
}

// record records all of it: in the child, or at a gate.
func (s *Scheduling) record(p *plan.Plan, atGate bool) {
	record := func() {
		s.OOMScore(p)
		s.Record(p)
	}
	if atGate {
		p.Gate("limits", record)
		return
	}
	record()
}

// TestProcess: a process that looks at itself, after it, or the runtime for it,
// has set the values.
func TestProcess(t *testing.T) {
	processtest.NeedRoot(t)
	for _, atGate := range []bool{false, true} {
		score := 500
		s, err := New(&specs.Process{OOMScoreAdj: &score, Scheduler: &specs.Scheduler{Policy: specs.SchedBatch, Nice: 3},
			IOPriority: &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 7}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := processtest.Run(t, plan.Clone{}, `cat /proc/self/oom_score_adj; chrt -p $$ | sed 's/.*: //'; ionice; awk '{print $19}' /proc/$$/stat`,
			func(p *plan.Plan) { s.record(p, atGate) })
		if want := "500\nSCHED_BATCH\n0\nbest-effort: prio 7\n3"; got != want || err != nil {
			t.Errorf("at a gate %v: printed %q, %v; want %q", atGate, got, err, want)
		}
	}
}

// TestUserNamespace: the runtime gives what a child in a user namespace could not
// take.
func TestUserNamespace(t *testing.T) {
	processtest.NeedRoot(t)
	for _, atGate := range []bool{false, true} {
		s, err := New(&specs.Process{Scheduler: &specs.Scheduler{Policy: specs.SchedOther, Nice: -5}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := processtest.Run(t, plan.Clone{Flags: unix.CLONE_NEWUSER}, "awk '{print $19}' /proc/$$/stat", func(p *plan.Plan) {
			p.Gate("id maps", func() {
				p.Do("map root to 100000", func(r *plan.Process) error {
					return errors.Join(os.WriteFile(fmt.Sprintf("/proc/%d/uid_map", r.Pid), []byte("0 100000 1"), 0),
						os.WriteFile(fmt.Sprintf("/proc/%d/gid_map", r.Pid), []byte("0 100000 1"), 0))
				})
			})
			s.record(p, atGate)
		})
		if !atGate && !errors.Is(err, unix.EPERM) {
			t.Errorf("a child in a user namespace: %v, want EPERM", err)
		}
		if atGate && (got != "-5" || err != nil) {
			t.Errorf("the runtime for a child in a user namespace: nice value %q, %v; want -5", got, err)
		}
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
