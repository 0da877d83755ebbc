package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/plan/print"
)

// Groups as plain directories: nothing is enforced, but what is read and what
// would be written is the same.

// A world is a fake cgroup2, mounted on the directory of its name.
type world string

// newWorld makes the files of a tree, "path: content".
func newWorld(t testing.TB, files ...string) world {
	t.Helper()
	w := world(t.TempDir())
	for _, f := range files {
		path, content, _ := strings.Cut(f, ": ")
		path = filepath.Join(string(w), path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w world) group(t testing.TB, path string) *Group {
	t.Helper()
	g, err := (&Hierarchy{Mount: string(w), Own: "/own"}).Group(path)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// plain hides where the world is.
func (w world) plain(s string) string { return strings.ReplaceAll(s, string(w), "/cgroup") }

// inner are the files of a group that is not the root and has no processes.
func inner(path, controllers, given string) []string {
	return []string{path + "/cgroup.controllers: " + controllers, path + "/cgroup.subtree_control: " + given, path + "/cgroup.procs: ",
		path + "/cgroup.type: domain", path + "/cgroup.events: populated 0\nfrozen 0"}
}

func root(controllers, given string) []string {
	return []string{"cgroup.controllers: " + controllers, "cgroup.subtree_control: " + given, "cgroup.procs: 1\n2"}
}

func join(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func TestAdd(t *testing.T) {
	for _, test := range []struct {
		name      string
		files     []string
		path      string
		resources string
		want      string
	}{
		{"the usual start: everything is there already", join(root("cpu memory", "cpu memory"), inner("minirun", "cpu memory", "cpu memory")), "/minirun/web", `{}`, `
  1 runtime mkdirat(AT_FDCWD, "/cgroup/minirun/web", 0755)  /* undo: rmdir /cgroup/minirun/web */
  2 runtime openat(AT_FDCWD, "/cgroup/minirun/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
`},
		{"the first start", root("cpu memory", "cpu"), "/minirun/web", `{"memory":{"limit":1048576,"swap":1048576}}`, `
# hand controllers down, else the group below has no files for them; others may use them by the time we fail, so no undo
  1 runtime openat(AT_FDCWD, "/cgroup/cgroup.subtree_control", O_WRONLY|O_CLOEXEC) = <cgroup.subtree_control>
  2 runtime write(<cgroup.subtree_control>, "+memory", 7)
  3 runtime close(<cgroup.subtree_control>)
  4 runtime mkdirat(AT_FDCWD, "/cgroup/minirun", 0755)  /* or EEXIST; undo: rmdir /cgroup/minirun */
# hand controllers down, else the group below has no files for them; others may use them by the time we fail, so no undo
  5 runtime openat(AT_FDCWD, "/cgroup/minirun/cgroup.subtree_control", O_WRONLY|O_CLOEXEC) = <cgroup.subtree_control>
  6 runtime write(<cgroup.subtree_control>, "+cpu", 4)  /* or EBUSY, EINVAL, ENOENT, ENOTSUP */
  7 runtime write(<cgroup.subtree_control>, "+memory", 7)
  8 runtime close(<cgroup.subtree_control>)
  9 runtime mkdirat(AT_FDCWD, "/cgroup/minirun/web", 0755)  /* undo: rmdir /cgroup/minirun/web */
 10 runtime openat(AT_FDCWD, "/cgroup/minirun/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
 11 runtime write "0" to memory.swap.max, if there is such a file
 12 runtime openat(<cgroup>, "memory.max", O_WRONLY|O_CLOEXEC) = <memory.max>
 13 runtime write(<memory.max>, "1048576", 7)
 14 runtime close(<memory.max>)
`},
		{"a group that exists is used, and not removed", join(root("pids io", "pids io"), inner("web", "pids io", "")), "/web", `{"pids":{"limit":5},"blockIO":{"weight":500}}`, `
  1 runtime openat(AT_FDCWD, "/cgroup/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
  2 runtime openat(<cgroup>, "pids.max", O_WRONLY|O_CLOEXEC) = <pids.max>
  3 runtime write(<pids.max>, "5", 1)
  4 runtime close(<pids.max>)
  5 runtime write "500" to io.bfq.weight, or "4950" to io.weight if there is no such file
`},
		{"no limit needs no controller", root("", ""), "/web", `{"pids":{"limit":-1},"memory":{"limit":-1}}`, `
  1 runtime mkdirat(AT_FDCWD, "/cgroup/web", 0755)  /* undo: rmdir /cgroup/web */
  2 runtime openat(AT_FDCWD, "/cgroup/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
  3 runtime write "max" to pids.max, if there is such a file
  4 runtime write "max" to memory.swap.max, if there is such a file
  5 runtime write "max" to memory.max, if there is such a file
`},
		{"a level with processes gives no more than it does", join(root("cpu memory", "cpu memory"), inner("own", "cpu memory", "cpu"), []string{"own/cgroup.procs: 7"}), "/own/web", `{"cpu":{"shares":1024}}`, `
  1 runtime mkdirat(AT_FDCWD, "/cgroup/own/web", 0755)  /* undo: rmdir /cgroup/own/web */
  2 runtime openat(AT_FDCWD, "/cgroup/own/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
  3 runtime openat(<cgroup>, "cpu.weight", O_WRONLY|O_CLOEXEC) = <cpu.weight>
  4 runtime write(<cpu.weight>, "100", 3)
  5 runtime close(<cpu.weight>)
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.files...)
			p := &plan.Plan{}
			fd, err := w.group(t, test.path).Add(p, resources(t, test.resources))
			if err != nil || fd == nil {
				t.Fatalf("Add() = %v, %v", fd, err)
			}
			var b strings.Builder
			print.Text(&b, p, print.Options{})
			if got := "\n" + w.plain(b.String()); got != test.want {
				t.Errorf("Add() records %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAddRefuses(t *testing.T) {
	memory := `{"memory":{"limit":5}}`
	for _, test := range []struct {
		files           []string
		path, resources string
		is              error
		want            string
	}{
		{nil, "/web", `{}`, ErrNotMounted, "cgroup /cgroup/web: cgroup v2 is not mounted"},
		{root("cpu", "cpu"), "/web", `{"memory":{"limit":-5}}`, nil, "linux.resources.memory.limit -5: neither bytes nor -1"},
		{root("cpu", "cpu"), "/web", `{"unified":{"dreams.max":"5"}}`, nil,
			"dreams.max 5: the dreams controller is not available: /cgroup/cgroup.controllers does not list it (the kernel lacks it, the group above keeps it, or a cgroup v1 not mounted here has it)"},
		{join(root("memory", "memory"), inner("own", "memory", ""), []string{"own/cgroup.procs: 7\n8"}), "/own/web", memory, unix.EBUSY,
			"memory.max 5: hand memory down in /cgroup/own: device or resource busy: it has 2 processes of its own, and a group with processes cannot hand controllers down (move them to a group below it)"},
		{join(root("memory", "memory"), inner("web", "memory", ""), []string{"web/cgroup.events: populated 1\nfrozen 0"}), "/web", memory, nil,
			"cgroup /cgroup/web: has processes already: a container wants one of its own"},
		{join(root("memory", "memory"), inner("web", "memory", ""), []string{"web/cgroup.events: populated 0\nfrozen 1"}), "/web", memory, nil,
			"cgroup /cgroup/web: is frozen: a new container in it could not run"},
		{join(root("memory", "memory"), inner("pod", "memory", "memory"), []string{"pod/cgroup.events: populated 1\nfrozen 1"}), "/pod/web", memory, nil,
			"cgroup /cgroup/pod: is frozen: a new container in it could not run"},
		{join(root("memory", "memory"), inner("pod", "memory", "memory")), "/pod", memory, nil,
			"cgroup /cgroup/pod: hands controllers down (memory), so it cannot have processes"},
	} {
		w := newWorld(t, test.files...)
		p := &plan.Plan{}
		_, err := w.group(t, test.path).Add(p, resources(t, test.resources))
		if err == nil || w.plain(err.Error()) != test.want || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("Add(%s, %s) = %v\nwant %s", test.path, test.resources, err, test.want)
		}
		if len(p.Steps) != 0 {
			t.Errorf("Add(%s, %s) is an error and records %d steps", test.path, test.resources, len(p.Steps))
		}
	}
}

// TestAddReadOnly: a level that belongs to somebody else, as for an ordinary
// user whose groups are delegated from a level down.
func TestAddReadOnly(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("needs an ordinary user: root may write anywhere")
	}
	w := newWorld(t, join(root("cpu memory", "memory"), inner("mine", "memory", "memory"))...)
	if err := os.Chmod(filepath.Join(string(w), "cgroup.subtree_control"), 0o444); err != nil {
		t.Fatal(err)
	}
	g := w.group(t, "/mine/web")
	if _, err := g.Add(&plan.Plan{}, resources(t, `{"memory":{"limit":5}}`)); err != nil {
		t.Errorf("Add() = %v, want memory, which is handed down", err)
	}
	if _, err := g.Add(&plan.Plan{}, resources(t, `{"cpu":{"shares":5}}`)); !errors.Is(err, unix.EACCES) {
		t.Errorf("Add() = %v, want permission denied", err)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t, join(root("cpu memory pids", "cpu memory pids"), inner("web", "cpu memory pids", ""), []string{"web/memory.max: max", "web/pids.max: max", "web/memory.current: 4096"})...)
	g := w.group(t, "/web")
	for _, test := range []struct{ resources, file, content, want string }{
		{`{"pids":{"limit":9}}`, "pids.max", "9", ""},
		{`{"memory":{"limit":-1}}`, "memory.max", "max", ""}, // and no memory.swap.max
		{`{"memory":{"limit":4096,"checkBeforeUpdate":true}}`, "memory.max", "max", "memory.limit 4096: 4096 bytes are in use"},
		{`{"memory":{"limit":4097,"checkBeforeUpdate":true}}`, "memory.max", "4097", ""},
		{`{"memory":{"limit":10,"checkBeforeUpdate":false}}`, "memory.max", "10", ""},
		{`{"cpu":{"shares":2}}`, "pids.max", "9", `write "1": open /cgroup/web/cpu.weight: no such file or directory`},
		{`{}`, "pids.max", "9", ""},
		{`{"unified":{"pids.max":"8"}}`, "pids.max", "8", ""},
	} {
		err := g.Update(resources(t, test.resources))
		got, _ := os.ReadFile(filepath.Join(g.Dir, test.file))
		if w.plain(fmt.Sprint(err)) != orElse(test.want, "<nil>") || !strings.HasPrefix(string(got), test.content) {
			t.Errorf("Update(%s) = %v, %s %q\nwant %s, %q", test.resources, err, test.file, got, test.want, test.content)
		}
	}
	if err := w.group(t, "/gone").Update(resources(t, `{"memory":{"limit":-1}}`)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Update() of no group = %v, want %v", err, unix.ENOENT)
	}
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func TestNeededPermitted(t *testing.T) {
	w := newWorld(t, root("", "")...)
	g := w.group(t, "/a/b")
	if err := g.Needed(resources(t, `{"pids":{"limit":-1},"memory":{}}`)); err != nil {
		t.Errorf("Needed(no limit) = %v, want nil", err)
	}
	if err := g.Needed(resources(t, `{"pids":{"limit":-1},"memory":{"limit":5}}`)); err == nil || !strings.Contains(err.Error(), "memory.max 5") {
		t.Errorf("Needed(memory) = %v, want one that names memory.max 5", err)
	}
	if !g.Permitted() {
		t.Error("Permitted() = false below our own directory")
	}
}

func TestStats(t *testing.T) {
	w := newWorld(t, "web/cpu.stat: usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 4\nthrottled_usec 3",
		"web/memory.current: 4096", "web/memory.max: max", "web/memory.stat: anon 4000\nfile 96", "web/memory.events: low 0\noom_kill 2",
		"web/memory.swap.current: 7", "web/memory.swap.max: 8", "web/pids.current: 2", "web/pids.max: 20",
		"web/io.stat: 253:0 254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=9\n7:1 ",
		"web/hugetlb.2MB.current: 2097152", "web/hugetlb.2MB.max: 4194304", "web/hugetlb.2MB.events: max 3", "web/hugetlb.2MB.rsvd.current: 1",
		"web/io.pressure: some avg10=1.50 avg60=0.05 avg300=0.01 total=5120\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=12")
	g := w.group(t, "/web")
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v\n%+v\n%+v\n%+v\n%+v\n%+v", s.CPU, *s.Memory, *s.Pids, s.IO, s.Hugetlb, s.Pressure)
	want := `{Usage:30µs User:20µs System:10µs Periods:5 Throttled:4 ThrottledTime:3µs}
{Usage:4096 Limit:18446744073709551615 Peak:0 SwapUsage:7 SwapLimit:8 SwapPeak:0 Stat:map[anon:4000 file:96] Events:map[low:0 oom_kill:2]}
{Current:2 Limit:20}
[{Major:254 Minor:0 ReadBytes:1 WriteBytes:2 ReadCount:3 WriteCount:4}]
map[2MB:{Usage:2097152 Limit:4194304 Failed:3}]
map[io:{Some:{Avg10:1.5 Avg60:0.05 Avg300:0.01 Total:5.12ms} Full:{Avg10:0.25 Avg60:0 Avg300:0 Total:12µs}}]`
	if got != want {
		t.Errorf("Stats() = %s\nwant %s", got, want)
	}
	if killed, err := g.OOMKilled(); !killed || err != nil {
		t.Errorf("OOMKilled() = %v, %v, want true", killed, err)
	}
	if killed, err := w.group(t, "/gone").OOMKilled(); killed || err != nil {
		t.Errorf("OOMKilled() of no group = %v, %v, want false", killed, err)
	}
	for _, broken := range []string{"cpu.stat: usage_usec", "memory.current: much", "io.stat: 8:0 rbytes=x", "io.stat: x rbytes=1", "io.pressure: some avg10=x"} {
		file, _, _ := strings.Cut(broken, ":")
		w := newWorld(t, "web/cpu.stat: usage_usec 0", "web/"+broken)
		if s, err := w.group(t, "/web").Stats(); err == nil || !strings.Contains(err.Error(), "/web/"+file) {
			t.Errorf("Stats() with %q = %+v, %v, want an error that names the file", broken, s, err)
		}
	}
}

// TestKillWaits: Kill is through when nobody is left, not when it was asked for.
func TestKillWaits(t *testing.T) {
	w := newWorld(t, "web/cgroup.kill: ", "web/cgroup.events: populated 1")
	g := w.group(t, "/web")
	done := make(chan error)
	go func() { done <- g.Kill() }()
	select {
	case err := <-done:
		t.Errorf("Kill() = %v while the group is populated", err)
	case <-time.After(20 * time.Millisecond):
		check(t, "write", writeFile(g.Dir, "cgroup.events", "populated 0"))
		check(t, "Kill", <-done)
	}
	content(t, g, "cgroup.kill", "1")
}

// TestRead: a list of processes may be longer than a buffer.
func TestRead(t *testing.T) {
	list := strings.Repeat("1234567\n", 5000)
	w := newWorld(t, "cgroup.procs: "+list)
	if got, err := read(string(w), "cgroup.procs"); err != nil || got != list+"\n" {
		t.Errorf("read() = %d bytes, %v, want %d", len(got), err, len(list)+1)
	}
	if got, err := numbers(string(w), "cgroup.procs"); len(got) != 5000 || err != nil {
		t.Errorf("numbers() = %d of them, %v, want 5000", len(got), err)
	}
}

// FuzzParse: the parsers of what the kernel prints survive anything.
func FuzzParse(f *testing.F) {
	f.Add("usage_usec 30\nnr_periods 5\n")
	f.Add("some avg10=1.50 avg60=0.05 avg300=0.01 total=5120\n")
	f.Add("4:memory:/jobs\n0::/user.slice\n")
	f.Add(hybrid)
	f.Fuzz(func(t *testing.T, text string) {
		parsePairs(text)
		parsePressure(text)
		parseOwn(strings.NewReader(text))
		parseMounts(strings.NewReader(text))
	})
}
