package container

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"minirun/container/host"
	"minirun/container/stdio"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// These tests compare the printed plan with what strace(1) sees of a run.

// traced is a plan and the system calls of the run that it was written for.
type traced struct {
	plan  *plan.Plan
	made  map[int]bool        // steps, from 1, that another run of it made
	calls map[string][]string // by thread
}

// trace runs a box under strace. Which steps are made is asked of a run of the
// same box before, since only the kernel knows: masks that are not there.
func trace(t *testing.T, b *box, monitor bool) traced {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("no strace: install the package strace")
	}
	c := &Container{dir: filepath.Join(string(b.root), b.id), State: State{ID: b.id, Bundle: b.bundle}}
	writer := &builder{Container: c, spec: b.Spec, options: Options{Monitor: monitor}, facts: host.Facts(), host: host.This(), given: map[plan.Inherited]int{}}
	writer.host.Stdio = func(fd int) stdio.Kind { // what os/exec gives to the run
		return map[int]stdio.Kind{0: stdio.Null, 1: stdio.Pipe, 2: stdio.Pipe}[fd]
	}
	must(t, writer.check())
	p, err := writer.plan()
	must(t, err)
	tr := traced{plan: p, calls: map[string][]string{}}
	b.save()
	r := b.request("run")
	r.Monitor, r.Trace = monitor, true
	out, err := r.command(t).CombinedOutput()
	if err != nil {
		t.Fatalf("run = %v, %s", err, out)
	}
	must(t, json.Unmarshal(out, &tr.made))
	b.remove()
	dir := t.TempDir()
	r.Trace = false
	cmd := r.command(t, "strace", "-ff", "-v", "-s", "9999", "-o", filepath.Join(dir, "t"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("run under strace = %v, %s", err, out)
	}
	b.remove()
	files, _ := filepath.Glob(dir + "/t.*")
	for _, path := range files {
		text, err := os.ReadFile(path)
		must(t, err)
		tr.calls[path] = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	return tr
}

// child are the calls of the process that became the program, up to then; rest
// are those of all others.
func (tr traced) child() (child, rest []string) {
	for _, calls := range tr.calls {
		i := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, `execve("/bin/program"`) })
		if i < 0 {
			rest = append(rest, calls...)
			continue
		}
		child = calls[:i+1]
	}
	return child, rest
}

// A reader compares printed steps with traced calls. Descriptors are numbers in
// the one and names in the other, so it learns which is which as they are opened.
type reader struct{ numbers map[string]int }

var (
	callForm    = regexp.MustCompile(`^(\w+)\((.*)\) += (-?\d+)( .*)?$`)
	stepForm    = regexp.MustCompile(`^(\w+)\((.*)\)(?: = (<.*>))?$`)
	descriptor  = regexp.MustCompile(`^(<[^>]*>|\$\d+)([+-]\d+)?$`)
	strayDetail = regexp.MustCompile(` /\* [^*]* \*/|(?:, 0)+$|filter=[^}]*|insns=.*$`)
)

// same says in what way a step is not the call; "" if it is.
func (r *reader) same(step *plan.Step, call string) string {
	s, c := stepForm.FindStringSubmatch(print.Step(step)), callForm.FindStringSubmatch(call)
	if s == nil || c == nil || s[1] != c[1] {
		return "another call"
	}
	want, got := arguments(s[2]), arguments(c[2])
	for i, w := range want {
		g := ""
		if i < len(got) {
			g = got[i]
		}
		if !r.sameArgument(s[1], i, w, g) {
			return fmt.Sprintf("argument %d is %s, not %s", i+1, g, w)
		}
	}
	number, _ := strconv.Atoi(c[3])
	if s[3] != "" {
		r.numbers[s[3]] = number
	}
	r.numbers["$"+strconv.Itoa(step.Index)] = number
	return ""
}

func (r *reader) sameArgument(call string, i int, want, got string) bool {
	switch {
	case call == "sendto" && i == 1: // a message, printed as the name of its gate
		return true
	case call == "statx" && i == 2: // strace has a name for no flag, too
		got = strings.Replace(got, "AT_STATX_SYNC_AS_STAT|", "", 1)
	case call == "statx" && i == 4: // the answer, of which we print what it must be
		kind, _, _ := strings.Cut(want, ",")
		return strings.Contains(got, strings.TrimPrefix(kind, "{")+"|")
	case strings.HasPrefix(want, "[") && strings.HasPrefix(got, `"`): // what a read filled
		return true
	}
	if d := descriptor.FindStringSubmatch(want); d != nil {
		number, err := strconv.Atoi(got)
		offset, _ := strconv.Atoi(d[2])
		known, ok := r.numbers[d[1]]
		if err == nil && !ok {
			r.numbers[d[1]], known = number-offset, number-offset
		}
		return err == nil && known+offset == number
	}
	return normal(want) == normal(got)
}

// normal takes away in what strace and we differ on purpose, and what differs
// between versions of strace: the order of flags.
func normal(argument string) string {
	switch argument {
	case "~0U":
		argument = "4294967295"
	case "IPPROTO_IP":
		argument = "0"
	}
	words := strings.Split(strayDetail.ReplaceAllString(argument, ""), ", ")
	for i, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			key, value = "", w
		}
		if n, err := strconv.ParseUint(value, 0, 64); err == nil {
			value = strconv.FormatUint(n, 10)
		}
		flags := strings.Split(strings.TrimSuffix(value, "}"), "|")
		slices.Sort(flags)
		words[i] = key + "=" + strings.Join(flags, "|")
	}
	return strings.Join(words, ", ")
}

// arguments splits an argument list at the commas that are in no string and no
// bracket, and drops zeros at its end: strace prints only arguments that count.
func arguments(list string) (split []string) {
	depth, quoted, start := 0, false, 0
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("([{", rune(c)):
			depth++
		case strings.ContainsRune(")]}", rune(c)):
			depth--
		case c == ',' && depth == 0:
			split, start = append(split, strings.TrimSpace(list[start:i])), i+1
		}
	}
	split = append(split, strings.TrimSpace(list[start:]))
	for len(split) > 1 && split[len(split)-1] == "0" {
		split = split[:len(split)-1]
	}
	return split
}

// TestReader: the comparison can fail.
func TestReader(t *testing.T) {
	p := &plan.Plan{}
	root := p.Openat(plan.CWD, "/r", 0, 0).As("root")
	dir := p.OpenIn(root, "a, b", 0, 0)
	p.Fchdir(dir)
	calls := []string{`openat(AT_FDCWD, "/r", O_RDONLY) = 7`,
		`openat2(7, "a, b", {flags=O_CLOEXEC|O_RDONLY, resolve=RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}, 24) = 9`, `fchdir(9)         = 0`}
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{`"/r"`, `"/s"`, `argument 2 is "/s", not "/r"`},
		{"openat(", "open(", "another call"},
		{"openat2(7", "openat2(8", "argument 1 is 8, not <root>"},
		{"|RESOLVE_NO_MAGICLINKS", "", "argument 3 is {flags=O_CLOEXEC|O_RDONLY, resolve=RESOLVE_IN_ROOT}, not {flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}"},
		{"fchdir(9)", "fchdir(7)", "argument 1 is 7, not $2"},
	} {
		r, got := &reader{numbers: map[string]int{}}, ""
		for i, s := range p.Steps {
			if difference := r.same(s, strings.Replace(calls[i], c.from, c.to, 1)); got == "" {
				got = difference
			}
		}
		if got != c.want {
			t.Errorf("with %q for %q: %q, want %q", c.to, c.from, got, c.want)
		}
	}
}

// full is a box that uses most of what a plan can have.
func full(t *testing.T) *box {
	t.Helper()
	b := newBox(t, "exit 0")
	score, data := 100, t.TempDir()
	caps := []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}
	b.Hostname = "box"
	b.Process.OOMScoreAdj = &score
	b.Process.Cwd = "/tmp/made"
	b.Process.User = specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{5, 6}}
	b.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps, Inheritable: caps, Ambient: caps[1:]}
	b.Process.NoNewPrivileges = true
	b.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 128}}
	b.Mounts = append(b.Mounts,
		specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro", "nosuid"}},
		specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}},
		specs.Mount{Destination: "/data", Source: data, Options: []string{"rbind", "rro", "rslave", "nosuid"}})
	b.Linux.MaskedPaths = []string{"/proc/keys", "/proc/acpi", "/proc/nosuch"}
	b.Linux.ReadonlyPaths = []string{"/proc/sys", "/proc/nosuch"}
	b.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
	b.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"reboot"}, Action: specs.ActErrno}}}
	b.Root.Readonly = true
	return b
}

// mapped gives a box a user namespace, whose root owns the root directory, and,
// if the kernel has them (CONFIG_TIME_NS), a time namespace.
func mapped(b *box) *box {
	b.t.Helper()
	must(b.t, os.Chown(b.rootfs("."), 100000, 100000))
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	b.with(specs.UserNamespace, "")
	b.Linux.UIDMappings, b.Linux.GIDMappings = ids, ids
	if _, err := os.Lstat("/proc/self/ns/time"); err == nil {
		b.with(specs.TimeNamespace, "")
		b.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000}}
	}
	return b
}

// TestStrace: the child makes exactly the calls that the plan prints, and the
// runtime and the monitor make no privileged call that it does not.
func TestStrace(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		box     func(*testing.T) *box
		monitor bool
	}{
		"full":    {full, false},
		"monitor": {full, true},
		"mapped":  {func(t *testing.T) *box { return mapped(newBox(t, "exit 0")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := trace(t, c.box(t), c.monitor)
			child, rest := tr.child()
			tr.compareChild(t, child)
			tr.comparePrivileged(t, rest)
		})
	}
}

func (tr traced) compareChild(t *testing.T, calls []string) {
	t.Helper()
	r := &reader{numbers: map[string]int{}}
	steps := 0
	for _, s := range tr.plan.Steps {
		if s.Side != plan.Child || !tr.made[s.Index] {
			continue
		}
		if len(calls) == 0 {
			t.Fatalf("the child ended before step %d, %v", s.Index, s)
		}
		if difference := r.same(s, calls[0]); difference != "" {
			t.Fatalf("step %d, %v: the child called %s: %s", s.Index, s, calls[0], difference)
		}
		calls = calls[1:]
		if steps++; strings.HasPrefix(s.Call, "execve") {
			break
		}
	}
	if len(calls) > 0 || steps == 0 {
		t.Errorf("after %d steps the child made calls that the plan does not print:\n%s", steps, strings.Join(calls, "\n"))
	}
}

// privileged finds the calls that change the host, or take a right that
// ordinary users lack. Go makes its threads with clone, not clone3.
var privileged = regexp.MustCompile(`^(mount|umount2|move_mount|open_tree|fsopen|fsconfig|fsmount|fspick|mount_setattr|pivot_root|chroot|` +
	`setns|unshare|bpf|clone3|fork|vfork|sethostname|setdomainname|mknodat|setresuid|setresgid|setgroups|capset|rmdir|` +
	`(mkdirat|unlinkat)\(AT_FDCWD, "/sys/|openat\(AT_FDCWD, "(/sys/|/proc/\d+/)[^"]*", O_(WRONLY|RDWR))`)

// comparePrivileged looks for each such call among the steps of the runtime and
// the monitor, and for each such step among the calls.
func (tr traced) comparePrivileged(t *testing.T, calls []string) {
	t.Helper()
	var want, got []string
	for _, s := range tr.plan.Steps {
		text := writes.ReplaceAllString(print.Step(s), `openat(AT_FDCWD, "/proc/0/$1", O_WRONLY`)
		if s.Side != plan.Child && privileged.MatchString(text) {
			want = append(want, essence(text))
		}
	}
	for _, c := range calls {
		if privileged.MatchString(c) {
			got = append(got, essence(c))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("privileged calls:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(want) < 4 {
		t.Errorf("%d privileged steps, want a cgroup, a filter and a clone at least", len(want))
	}
}

var (
	writes     = regexp.MustCompile(`^write\(/proc/PID/(\w+), .*`) // how a step is printed that is a function
	anyNumber  = regexp.MustCompile(`/proc/\d+/`)
	firstWords = regexp.MustCompile(`^(\w+\((?:AT_FDCWD, "[^"]*"|\{flags=[\w|]+|\w+\b))`)
)

// essence is the call, and what of its arguments is the same in every run.
func essence(call string) string {
	call = anyNumber.ReplaceAllString(call, "/proc/PID/")
	return strings.ReplaceAll(firstWords.FindString(call), "CLONE_PIDFD|", "")
}
