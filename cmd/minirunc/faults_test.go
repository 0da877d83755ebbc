package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// Every command, with everything that can go wrong in the middle of it.
//
// What goes wrong is one of the runtime's own system calls, which fails or at
// which the runtime is killed (hurt_test.go), or one step of the plan, which
// fails or at which the process is killed that was about to make it (--fault).
// Afterwards the command has printed one line at most; if it failed, that line
// says what and why, and nothing is half made; a container that ran before still
// runs, and is listed; and delete --force leaves nothing.
//
// Who walks what (c: the runtime's own calls, p: steps of the plan, C and P: the
// same in package container's TestFaults or TestFaultsHere, h: examples/faults):
//
//	                 run    run -d  create  start  exec  exec -d  kill  pause  delete  state  list
//	root's           cpPh   cpPh    cpP     cP     cpP   cp       c     c      c       c      c
//	mapped by root   cpP    cp      cp      c      cp    cp       c     c      c       c      c
//	ordinary user's  cp     cp      cp      c      cp    cp       c     -      c       c      c
//
// An ordinary user's containers have no cgroup of their own here, and cannot be
// paused. start and delete have no plan: their calls are all that there is.

// A verb is a command to be hurt, of a container "victim" that may be made ready
// for it. There is always a container "keeper", which runs.
type verb struct {
	name   string
	ready  []string // commands before it, each as one string; "": none
	args   string
	plan   bool // it carries out a plan
	makes  bool // if it fails, there is no container
	looks  bool // it only looks: if it succeeds, it says what it always says
	groups bool // it needs a cgroup
}

var verbs = []verb{
	{name: "run", args: "run -b B/true victim", plan: true},
	{name: "run -d", args: "run -d -b B/sleep victim", plan: true, makes: true},
	{name: "create", args: "create -b B/true victim", plan: true, makes: true},
	{name: "start", ready: []string{"create -b B/true victim"}, args: "start victim"},
	{name: "exec", args: "exec keeper true", plan: true},
	{name: "exec -d", args: "exec -d keeper true", plan: true},
	{name: "kill", ready: []string{"run -d -b B/sleep victim"}, args: "kill victim KILL"},
	{name: "pause", ready: []string{"run -d -b B/sleep victim"}, args: "pause victim", groups: true},
	{name: "resume", ready: []string{"run -d -b B/sleep victim", "pause victim"}, args: "resume victim", groups: true},
	{name: "delete", ready: []string{"create -b B/true victim"}, args: "delete victim"},
	{name: "delete --force", ready: []string{"run -d -b B/sleep victim"}, args: "delete --force victim"},
	{name: "state", args: "state keeper", looks: true},
	{name: "list", args: "list -f json", looks: true},
}

// A field is one of minirunc's.
type field struct{ *testbed.Field }

func newField(t testing.TB, m testbed.Maker) *field {
	t.Helper()
	return &field{testbed.NewField(t, m, "minirunc")}
}

func bareField(t testing.TB, m testbed.Maker) *field {
	t.Helper()
	return &field{testbed.BareField(t, m, "minirunc")}
}

// after is what must be so after each command that was hurt.
func (f *field) after(what, out string, failed, killed bool, v verb) {
	f.T.Helper()
	if strings.Contains(out, "goroutine") || !v.looks && strings.Count(out, "\n") > 1 {
		f.T.Errorf("%s: %q, want one line at most", what, out)
	}
	if failed && !killed && !testbed.OneError.MatchString(out) {
		f.T.Errorf("%s failed: %q, want one line with an object and a cause", what, out)
	}
	if list := f.Must("list"); !keeps.MatchString(list) {
		f.T.Errorf("%s: then list prints %q, want the keeper running", what, list)
	}
	if text, err := f.Do("state victim"); failed && !killed && err == nil && v.makes {
		f.T.Errorf("%s failed, and the container is half made: %s", what, text)
	}
	if out, err := f.Do("delete --force victim"); err != nil || out != "" {
		f.T.Errorf("%s: then delete --force: %v, %s", what, err, out)
	}
	if changed := f.Settled(); changed != "" {
		f.T.Fatalf("%s: %q, and there is left:\n%s", what, out, changed)
	}
}

var keeps = regexp.MustCompile(`(?m)^keeper +\d+ +running `)

func (f *field) ready(v verb) {
	f.T.Helper()
	for _, words := range v.ready {
		f.Must(words)
	}
}

// hurt carries a verb out with one of the runtime's calls hurt.
func (f *field) hurt(v verb, h hurt, usual string) hurtCall {
	f.T.Helper()
	f.ready(v)
	var call hurtCall
	var status unix.WaitStatus
	cmd := f.Command(v.args)
	out := f.Printed(cmd, func() { call, status = h.run(f.T, cmd) })
	what := fmt.Sprintf("%s, call %d, %v: %s", v.name, h.at, call, cause(h.errno))
	failed := status.ExitStatus() != 0
	if v.looks && !failed && stripped(out) != stripped(usual) {
		f.T.Errorf("%s, and all seems well, but it says\n%s, not\n%s", what, out, usual)
	}
	f.after(what, out, failed, h.errno == 0, v)
	f.T.Logf("%s: exit %d %q", what, status.ExitStatus(), out)
	return call
}

func cause(e unix.Errno) string {
	if e == 0 {
		return "SIGKILL"
	}
	return unix.ErrnoName(e)
}

func stripped(s string) string { return strings.TrimSpace(s) }

// fault carries a verb out with one step hurt; false if it is beyond the plan.
func (f *field) fault(v verb, n int, errno string) bool {
	f.T.Helper()
	f.ready(v)
	command, rest, _ := strings.Cut(v.args, " ")
	out, err := f.Do(command + " --fault " + strconv.Itoa(n) + "=" + errno + " " + rest)
	if strings.Contains(out, "fault at step") {
		return false
	}
	what := fmt.Sprintf("%s, step %d: %s", v.name, n, errno)
	f.after(what, out, err != nil, errno == "KILL", v)
	f.T.Logf("%s: %v %q", what, err, out)
	return true
}

// TestFaults walks what the table above says.
func TestFaults(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	for _, m := range testbed.Makers {
		t.Run(m.Name, func(t *testing.T) {
			f := newField(t, m)
			for _, v := range verbs {
				if v.groups && m.UID != 0 {
					continue
				}
				t.Run(v.name, func(t *testing.T) {
					f.T = t
					f.walk(v)
				})
			}
			f.T = t
		})
	}
}

// TestUnknown: of a container that cannot be looked at for the moment nobody says
// that it has stopped, or is not there, and nobody removes it.
func TestUnknown(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	f := newField(t, testbed.Makers[0])
	for _, path := range []string{"/stat", "/exec.fifo", "/cgroup.events", "state.json", "keeper"} {
		hurts := 0
		for _, words := range []string{"state keeper", "list", "delete keeper", "exec keeper true", "start keeper", "ps -aq", "kill keeper 0"} {
			usual, _ := f.Do(words)
			for n := 1; ; n++ {
				h := hurt{at: n, errno: unix.EMFILE, path: path}
				var call hurtCall
				cmd := f.Command(words)
				out := f.Printed(cmd, func() { call, _ = h.run(t, cmd) })
				if call.calls < n {
					break
				}
				if out != usual {
					hurts++
				}
				if out != usual && (!testbed.OneError.MatchString(out) || !strings.Contains(out, "too many open files")) {
					t.Errorf("%s, %v: EMFILE: %q; want one line that says so, or what is so", words, call, out)
				}
				if changed := f.Settled(); changed != "" {
					t.Fatalf("%s, %v: EMFILE: %q, and there has changed:\n%s", words, call, out, changed)
				}
			}
		}
		if hurts < 2 {
			t.Errorf("%s: %d commands have failed, want more", path, hurts)
		}
	}
}

// walk hurts one verb everywhere, or here and there.
func (f *field) walk(v verb) {
	f.T.Helper()
	stride := 200
	errnos := []unix.Errno{unix.EIO, 0}
	if *testbed.EveryFault {
		stride, errnos = 1, []unix.Errno{unix.EIO, 0, unix.ENOSPC, unix.EMFILE, unix.EINTR}
	}
	f.ready(v)
	var call hurtCall
	cmd := f.Command(v.args)
	usual := f.Printed(cmd, func() { call, _ = hurt{}.run(f.T, cmd) })
	f.after(v.name, usual, false, false, v)
	for _, errno := range errnos {
		for n := 1 + rand.IntN(stride); n <= call.calls; n += stride {
			f.hurt(v, hurt{at: n, errno: errno}, usual)
		}
	}
	for _, errno := range []string{"ENOMEM", "KILL"} {
		for n := 1 + rand.IntN(stride); v.plan && f.fault(v, n, errno); n += stride {
		}
	}
}
