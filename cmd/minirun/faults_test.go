package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/bundle"
	"minirun/examples/leftovers"

	specs "github.com/opencontainers/runtime-spec/specs-go"
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

// everyFault walks all of it, which takes a quarter of an hour; else some.
var everyFault = flag.Bool("faults", false, "let every system call and every step fail, not only some")

// A maker is who makes the containers.
type maker struct {
	name   string
	uid    int
	mapped bool // in a user namespace whose ids root has mapped
}

var makers = []maker{{"root", 0, false}, {"mapped", 0, true}, {"user", 1000, false}}

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

// A field is where one maker's containers are, and what is there.
type field struct {
	maker
	t    testing.TB
	dir  string // with root, store, and the bundles true and sleep
	base string // the fingerprint when only the keeper is there
}

func newField(t testing.TB, m maker) *field {
	t.Helper()
	f := bareField(t, m)
	f.keep()
	return f
}

// keep starts the keeper.
func (f *field) keep() {
	f.t.Helper()
	f.must("run -d -b B/sleep keeper")
	f.t.Cleanup(func() { f.must("delete --force keeper") })
	f.base = f.fingerprint()
}

// bareField is one without a keeper.
func bareField(t testing.TB, m maker) *field {
	t.Helper()
	f := &field{maker: m, t: t, dir: t.TempDir()}
	openUp(t, f.dir)
	for _, dir := range []string{"root", "store", "work"} {
		must(t, os.Mkdir(filepath.Join(f.dir, dir), 0o700))
		must(t, os.Chown(filepath.Join(f.dir, dir), m.uid, m.uid))
	}
	must(t, writeBundle(f.dir, nil))
	owner := m.uid
	if m.mapped {
		owner = 100000
	}
	must(t, exec.Command("chown", "-R", fmt.Sprint(owner), filepath.Join(f.dir, "rootfs")).Run())
	for name, args := range map[string][]string{"true": {"true"}, "sleep": {"sleep", "100000"}} {
		f.bundle(name, args)
	}
	return f
}

// bundle writes a bundle with the root directory that they all share.
func (f *field) bundle(name string, args []string) {
	spec := bundle.Example(f.uid != 0)
	spec.Root.Path = filepath.Join(f.dir, "rootfs")
	spec.Process.Args, spec.Process.Terminal = args, false
	spec.Process.Rlimits = nil // they could not be raised where the runtime's own are low
	ids := []specs.LinuxIDMapping{{HostID: uint32(f.uid), Size: 1}}
	if f.mapped {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		ids = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
	}
	if f.mapped || f.uid != 0 {
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = ids, ids
	}
	data, err := json.Marshal(spec)
	must(f.t, err)
	must(f.t, os.Mkdir(filepath.Join(f.dir, name), 0o755))
	must(f.t, os.WriteFile(filepath.Join(f.dir, name, "config.json"), data, 0o644))
}

// command is one of minirun's, by its maker.
func (f *field) command(words string) *exec.Cmd {
	args := strings.Fields(strings.ReplaceAll(words, "B/", f.dir+"/"))
	cmd := exec.Command("minirun", append([]string{"--root", f.dir + "/root", "--store", f.dir + "/store"}, args...)...)
	cmd.Dir = f.dir + "/work"
	if f.uid != 0 {
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(f.uid), Gid: uint32(f.uid)}}
	}
	return cmd
}

// printed is what a command prints to a file: containers that it starts would
// keep a pipe open.
func (f *field) printed(cmd *exec.Cmd, run func()) string {
	f.t.Helper()
	file, err := os.CreateTemp(f.dir, "out")
	must(f.t, err)
	defer os.Remove(file.Name())
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	timer := time.AfterFunc(30*time.Second, func() {
		f.t.Errorf("%q does not end", cmd.Args[5:])
		unix.Kill(cmd.Process.Pid, unix.SIGKILL)
	})
	run()
	timer.Stop()
	text, err := os.ReadFile(file.Name())
	must(f.t, err)
	return string(text)
}

// do is a command that is not hurt.
func (f *field) do(words string) (string, error) {
	f.t.Helper()
	var err error
	cmd := f.command(words)
	out := f.printed(cmd, func() { err = cmd.Run() })
	return out, err
}

func (f *field) must(words string) string {
	f.t.Helper()
	out, err := f.do(words)
	if err != nil {
		f.t.Fatalf("%s: %v, %s", words, err, out)
	}
	return out
}

// fingerprint is what a command may not change: all processes, mounts and
// cgroups of the tests' world, the states and the bundles.
func (f *field) fingerprint() string {
	var list []string
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		words, err := os.ReadFile(path)
		if err == nil && !strings.HasPrefix(string(words), "tests") {
			list = append(list, "process "+path+" "+strings.ReplaceAll(string(words), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		mount, _, _ := strings.Cut(line, " - ") // behind it is also how large a tmpfs is, which tests change
		list = append(list, mount)
	}
	for _, dir := range []string{"/sys/fs/cgroup", f.dir + "/root", f.dir + "/store", f.dir + "/work"} {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && (d.IsDir() || dir != "/sys/fs/cgroup") {
				list = append(list, path)
			}
			return nil // ENOENT: it has just gone
		})
	}
	return strings.Join(list, "\n")
}

// settled says what has changed, after some time for what was killed to end.
func (f *field) settled() string {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if changed := leftovers.Changes(f.base, f.fingerprint()); changed == "" || time.Now().After(end) {
			return changed
		}
	}
}

// after is what must be so after each command that was hurt.
func (f *field) after(what, out string, failed, killed bool, v verb) {
	f.t.Helper()
	if strings.Contains(out, "goroutine") || !v.looks && strings.Count(out, "\n") > 1 {
		f.t.Errorf("%s: %q, want one line at most", what, out)
	}
	if failed && !killed && !oneError.MatchString(out) {
		f.t.Errorf("%s failed: %q, want one line with an object and a cause", what, out)
	}
	if list := f.must("list"); !keeps.MatchString(list) {
		f.t.Errorf("%s: then list prints %q, want the keeper running", what, list)
	}
	if text, err := f.do("state victim"); failed && !killed && err == nil && v.makes {
		f.t.Errorf("%s failed, and the container is half made: %s", what, text)
	}
	if out, err := f.do("delete --force victim"); err != nil || out != "" {
		f.t.Errorf("%s: then delete --force: %v, %s", what, err, out)
	}
	if changed := f.settled(); changed != "" {
		f.t.Fatalf("%s: %q, and there is left:\n%s", what, out, changed)
	}
}

var (
	oneError = regexp.MustCompile(`^minirun: [^:\n]*[^ ].*: [^:\n]+\n$`)
	keeps    = regexp.MustCompile(`(?m)^keeper +\d+ +running `)
)

func (f *field) ready(v verb) {
	f.t.Helper()
	for _, words := range v.ready {
		f.must(words)
	}
}

// hurt carries a verb out with one of the runtime's calls hurt.
func (f *field) hurt(v verb, h hurt, usual string) hurtCall {
	f.t.Helper()
	f.ready(v)
	var call hurtCall
	var status unix.WaitStatus
	cmd := f.command(v.args)
	out := f.printed(cmd, func() { call, status = h.run(f.t, cmd) })
	what := fmt.Sprintf("%s, call %d, %v: %s", v.name, h.at, call, cause(h.errno))
	failed := status.ExitStatus() != 0
	if v.looks && !failed && stripped(out) != stripped(usual) {
		f.t.Errorf("%s, and all seems well, but it says\n%s, not\n%s", what, out, usual)
	}
	f.after(what, out, failed, h.errno == 0, v)
	f.t.Logf("%s: exit %d %q", what, status.ExitStatus(), out)
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
	f.t.Helper()
	f.ready(v)
	command, rest, _ := strings.Cut(v.args, " ")
	out, err := f.do(command + " --fault " + strconv.Itoa(n) + "=" + errno + " " + rest)
	if strings.Contains(out, "fault at step") {
		return false
	}
	what := fmt.Sprintf("%s, step %d: %s", v.name, n, errno)
	f.after(what, out, err != nil, errno == "KILL", v)
	f.t.Logf("%s: %v %q", what, err, out)
	return true
}

// TestFaults walks what the table above says.
func TestFaults(t *testing.T) {
	needRoot(t)
	programsTar = imageTar(t)
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			f := newField(t, m)
			for _, v := range verbs {
				if v.groups && m.uid != 0 {
					continue
				}
				t.Run(v.name, func(t *testing.T) {
					f.t = t
					f.walk(v)
				})
			}
			f.t = t
		})
	}
}

// TestUnknown: of a container that cannot be looked at for the moment nobody says
// that it has stopped, or is not there, and nobody removes it.
func TestUnknown(t *testing.T) {
	needRoot(t)
	programsTar = imageTar(t)
	f := newField(t, makers[0])
	for _, path := range []string{"/stat", "/exec.fifo", "/cgroup.events", "/state.json", "/root/keeper"} {
		hurts := 0
		for _, words := range []string{"state keeper", "list", "delete keeper", "exec keeper true", "start keeper", "ps -aq", "kill keeper 0"} {
			usual, _ := f.do(words)
			for n := 1; ; n++ {
				h := hurt{at: n, errno: unix.EMFILE, path: path}
				var call hurtCall
				cmd := f.command(words)
				out := f.printed(cmd, func() { call, _ = h.run(t, cmd) })
				if call.calls < n {
					break
				}
				if out != usual {
					hurts++
				}
				if out != usual && (!oneError.MatchString(out) || !strings.Contains(out, "too many open files")) {
					t.Errorf("%s, %v: EMFILE: %q; want one line that says so, or what is so", words, call, out)
				}
				if changed := f.settled(); changed != "" {
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
	f.t.Helper()
	stride := 200
	errnos := []unix.Errno{unix.EIO, 0}
	if *everyFault {
		stride, errnos = 1, []unix.Errno{unix.EIO, 0, unix.ENOSPC, unix.EMFILE, unix.EINTR}
	}
	f.ready(v)
	var call hurtCall
	cmd := f.command(v.args)
	usual := f.printed(cmd, func() { call, _ = hurt{}.run(f.t, cmd) })
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
