package container

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/plan/print"
)

// These tests walk all steps of a plan. Each step is failed, the process that
// was about to make it is killed, and the runtime is killed as it is about to be
// made. Whatever happens, delete leaves the host as it was.

// A walk is one way in which a plan is carried out.
type walk struct {
	do      string // run, create (and start), exec
	monitor bool
	box     func(*testing.T) *box
}

// everyStep walks them all, of large plans too; it takes a minute or two.
var everyStep = flag.Bool("faults", false, "fail and kill at every step, not only at some")

func TestFaults(t *testing.T) {
	needRoot(t)
	small := func(t *testing.T) *box { return newBox(t, "exit 0") }
	for name, w := range map[string]walk{
		"run":              {"run", false, full},
		"run -d":           {"run", true, small},
		"run, mapped":      {"run", false, func(t *testing.T) *box { return mapped(small(t)) }},
		"create and start": {"create", false, small},
		"exec":             {"exec", false, small},
	} {
		t.Run(name, func(t *testing.T) { w.all(t) })
	}
}

// all walks the steps that one run without a fault tells us of: those that it
// made, those that it skipped, and those of which nobody hears, since their
// process has let go of the runtime.
func (w walk) all(t *testing.T) {
	b := w.box(t)
	if w.do == "exec" {
		b.commands("sleep")
		_, _, err := b.start(Options{})
		must(t, err)
		b.commands("exit 0")
	}
	b.save()
	before := w.fingerprint(t, b) // now, while no monitor of an earlier run is still about to end
	made := w.steps(t, b)
	last := w.last(t, b, made)
	stride := 1
	if !*everyStep {
		stride = 12
	}
	for n := 1 + rand.IntN(stride); n <= last; n += stride {
		for how, r := range map[string]request{
			"failed":                     {Fault: plan.Fault{Step: n, Errno: unix.ENOMEM}},
			"killed at":                  {Fault: plan.Fault{Step: n}},
			"with the runtime killed at": {Die: n},
		} {
			out := w.once(t, b, r)
			if heard, ok := made[n]; how == "failed" && ok && heard != blames(out, n) {
				t.Errorf("step %d failed: %q; is it made? %v", n, out, heard)
			}
			if strings.Contains(out, "panic") || strings.Count(out, "\n") > 1 {
				t.Errorf("step %d %s: %q, want one line at most", n, how, out)
			}
			if after := w.settled(t, b, before); after != before {
				t.Fatalf("step %d %s: %q, and there is left:\n%s", n, how, out, leftovers.Changes(before, after))
			}
		}
	}
	t.Logf("%d steps, %d of them skipped, %d unheard of", last, skipped(made), last-len(made))
}

// blames says whether an error is that of step n.
func blames(out string, n int) bool {
	return strings.Contains(out, fmt.Sprintf("step %d (", n)) || strings.Contains(out, `exec: "/bin/program": cannot allocate memory`)
}

// last is the number of steps: execve is the last that is heard of. But after
// create has left, none is traced any more.
func (w walk) last(t *testing.T, b *box, made map[int]bool) int {
	t.Helper()
	if w.do != "create" {
		return slices.Max(slices.Collect(maps.Keys(made)))
	}
	p, err := b.root.Plan(b.id, b.bundle, b.Spec, Options{Wait: true})
	must(t, err)
	return len(p.Steps)
}

func skipped(made map[int]bool) (n int) {
	for _, m := range made {
		if !m {
			n++
		}
	}
	return n
}

// steps are those that a run makes (true) or skips (false).
func (w walk) steps(t *testing.T, b *box) (made map[int]bool) {
	t.Helper()
	r := b.request(w.do)
	r.Monitor, r.Trace = w.monitor, true
	out, err := outcome(t, r.command(t))
	if err != nil {
		t.Fatalf("%s = %v, %s", w.do, err, out)
	}
	must(t, json.Unmarshal([]byte(out), &made))
	w.clean(t, b)
	return made
}

// once does it with a fault, and cleans up; it returns what was printed.
func (w walk) once(t *testing.T, b *box, fault request) string {
	t.Helper()
	r := b.request(w.do)
	r.Monitor, r.Fault, r.Die = w.monitor, fault.Fault, fault.Die
	out, err := outcome(t, r.command(t))
	if w.do == "create" && err == nil {
		out, _ = outcome(t, b.request("start").command(t))
	}
	w.clean(t, b)
	return out
}

// clean removes the container, unless others are to enter it.
func (w walk) clean(t *testing.T, b *box) {
	t.Helper()
	if w.do != "exec" {
		b.remove()
	}
}

// fingerprint is the host's, and the container's that is entered.
func (w walk) fingerprint(t *testing.T, b *box) string {
	t.Helper()
	text := fingerprint(string(b.root))
	if w.do == "exec" {
		c, err := b.root.Load(b.id)
		must(t, err)
		pids, err := cgroups.Open(c.Cgroup).Procs()
		text += fmt.Sprint("\nin the container: ", pids, err)
	}
	return text
}

// settled is the fingerprint after some time for what was killed to end.
func (w walk) settled(t *testing.T, b *box, before string) string {
	t.Helper()
	after := w.fingerprint(t, b)
	for end := time.Now().Add(2 * time.Second); after != before && time.Now().Before(end); after = w.fingerprint(t, b) {
		time.Sleep(time.Millisecond)
	}
	return after
}

// TestFaultsHere: the same in our own process, whose descriptors, threads'
// mounts and children are then seen too.
func TestFaultsHere(t *testing.T) {
	needRoot(t)
	b := full(t)
	made := map[int]*plan.Step{}
	_, code, err := b.try(Options{Engine: plan.Options{Trace: func(e plan.Event) {
		if !e.Skipped {
			made[e.Index] = e.Step
		}
	}}})
	if err != nil || code != 0 {
		t.Fatalf("run = %d, %v", code, err)
	}
	before := fingerprint(string(b.root))
	for n, s := range made {
		for _, errno := range []unix.Errno{unix.ENOMEM, 0} {
			if errno == 0 && s.Side == plan.Runtime {
				continue // it would be us
			}
			_, code, err := b.try(Options{Engine: plan.Options{Fault: plan.Fault{Step: n, Errno: errno}}})
			if errno == 0 && err == nil && (code == 137 || strings.HasPrefix(print.Step(s), "close(<runtime's end")) {
				continue // between ready and execve the exit code tells; nobody can be killed as it lets go of us
			}
			if errno != 0 && (!errors.Is(err, errno) || !blames(fmt.Sprint(err), n)) || errno == 0 && !errors.Is(err, plan.ErrKilled) {
				t.Errorf("step %d (%v), %v: error %v", n, s, errno, err)
			}
			if after := fingerprint(string(b.root)); after != before {
				t.Fatalf("step %d (%v), %v: there is left:\n%s", n, s, errno, leftovers.Changes(before, after))
			}
		}
	}
}

// TestNobodyUnknown: without a cgroup nothing but its written number tells whose the
// container process is. The runtime is killed after it has cloned the process and
// before it has written that down: the process must not live on.
func TestNobodyUnknown(t *testing.T) {
	needRoot(t)
	for _, monitor := range []bool{false, true} {
		for _, do := range []string{"run", "create"} {
			b := newBox(t, "sleep")
			b.save()
			p, err := b.root.Plan(b.id, b.bundle, b.Spec, Options{NoCgroup: true, Monitor: monitor, Wait: do == "create"})
			must(t, err)
			clone := slices.IndexFunc(p.Steps, func(s *plan.Step) bool { return s.Call == "clone3" })
			r := b.request(do)
			r.Monitor, r.NoCgroup, r.Late = monitor, true, clone+1
			w := walk{do: do}
			before := w.fingerprint(t, b)
			_, err = outcome(t, r.command(t))
			if err == nil {
				t.Errorf("%s: the runtime was not killed", do)
			}
			b.remove()
			if after := w.settled(t, b, before); after != before {
				t.Errorf("%s, with a monitor: %v: there is left:\n%s", do, monitor, leftovers.Changes(before, after))
			}
		}
	}
}

// die kills us before step n.
func die(n int) func(*plan.Step) error {
	if n == 0 {
		return nil
	}
	return func(s *plan.Step) error {
		if s.Index == n {
			unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		return nil
	}
}

// TestFilesLeft: a state directory that is left would be seen; for the rest of
// a fingerprint see TestLeaks.
func TestFilesLeft(t *testing.T) {
	dir := t.TempDir()
	before := fingerprint(dir)
	must(t, os.MkdirAll(dir+"/root/box", 0o700))
	if got := leftovers.Changes(before, fingerprint(dir)); !strings.Contains(got, "+ file "+dir+"/root/box") {
		t.Errorf("a state directory is left, and there is seen: %q", got)
	}
}
