package cgroups_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/grouptest"
	"minirun/plan"
	"minirun/plan/print"
)

// These tests use plain directories that look like groups.

var (
	check    = grouptest.Check
	content  = grouptest.Content
	newWorld = grouptest.NewWorld
	root     = grouptest.Root
	inner    = grouptest.Inner
)

func join(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func TestAdd(t *testing.T) {
	for _, test := range []struct {
		name   string
		files  []string
		path   string
		limits []cgroups.Write
		want   string
	}{
		{"the usual start: everything is there already", join(root("cpu memory", "cpu memory"), inner("minirun", "cpu memory", "cpu memory")), "/minirun/web", nil, `
  1 runtime mkdirat(AT_FDCWD, "/cgroup/minirun/web", 0755)  /* undo: rmdir /cgroup/minirun/web */
  2 runtime openat(AT_FDCWD, "/cgroup/minirun/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
`},
		{"the first start", root("cpu memory", "cpu"), "/minirun/web", []cgroups.Write{{File: "memory.swap.max", Value: "0", Optional: true}, {File: "memory.max", Value: "1048576"}}, `
# hand controllers down: a group has files only for controllers that the group above enables; no undo, because other groups may use them by then
  1 runtime openat(AT_FDCWD, "/cgroup/cgroup.subtree_control", O_WRONLY|O_CLOEXEC) = <cgroup.subtree_control>
  2 runtime write(<cgroup.subtree_control>, "+memory", 7)
  3 runtime close(<cgroup.subtree_control>)
  4 runtime mkdirat(AT_FDCWD, "/cgroup/minirun", 0755)  /* or EEXIST; undo: rmdir /cgroup/minirun */
# hand controllers down: a group has files only for controllers that the group above enables; no undo, because other groups may use them by then
  5 runtime openat(AT_FDCWD, "/cgroup/minirun/cgroup.subtree_control", O_WRONLY|O_CLOEXEC) = <cgroup.subtree_control>
  6 runtime write(<cgroup.subtree_control>, "+cpu", 4)  /* or EBUSY, EINVAL, ENOENT, ENOTSUP */
  7 runtime write(<cgroup.subtree_control>, "+memory", 7)
  8 runtime close(<cgroup.subtree_control>)
  9 runtime mkdirat(AT_FDCWD, "/cgroup/minirun/web", 0755)  /* undo: rmdir /cgroup/minirun/web */
 10 runtime openat(AT_FDCWD, "/cgroup/minirun/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
 11 runtime openat(<cgroup>, "memory.swap.max", O_WRONLY|O_CLOEXEC) = <memory.swap.max>  /* or ENOENT */
 12 runtime write(<memory.swap.max>, "0", 1)
 13 runtime close(<memory.swap.max>)
 14 runtime openat(<cgroup>, "memory.max", O_WRONLY|O_CLOEXEC) = <memory.max>
 15 runtime write(<memory.max>, "1048576", 7)
 16 runtime close(<memory.max>)
`},
		{"a group that exists is used, and not removed", join(root("pids io", "pids io"), inner("web", "pids io", "")), "/web", []cgroups.Write{{File: "pids.max", Value: "5"}, {File: "io.bfq.weight", Value: "500", Else: &cgroups.Write{File: "io.weight", Value: "4950"}}}, `
  1 runtime openat(AT_FDCWD, "/cgroup/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
  2 runtime openat(<cgroup>, "pids.max", O_WRONLY|O_CLOEXEC) = <pids.max>
  3 runtime write(<pids.max>, "5", 1)
  4 runtime close(<pids.max>)
  5 runtime openat(<cgroup>, "io.bfq.weight", O_WRONLY|O_CLOEXEC) = <io.bfq.weight>  /* else the next, on ENOENT */
  6 runtime openat(<cgroup>, "io.weight", O_WRONLY|O_CLOEXEC) = <io.weight>
  7 runtime write(<io.bfq.weight>, "500", 3)
  8 runtime close(<io.bfq.weight>)
  9 runtime write(<io.weight>, "4950", 4)
 10 runtime close(<io.weight>)
`},
		{"no limit needs no controller", root("", ""), "/web", []cgroups.Write{{File: "pids.max", Value: "max", Optional: true}, {File: "memory.max", Value: "max", Optional: true}}, `
  1 runtime mkdirat(AT_FDCWD, "/cgroup/web", 0755)  /* undo: rmdir /cgroup/web */
  2 runtime openat(AT_FDCWD, "/cgroup/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
  3 runtime openat(<cgroup>, "pids.max", O_WRONLY|O_CLOEXEC) = <pids.max>  /* or ENOENT */
  4 runtime write(<pids.max>, "max", 3)
  5 runtime close(<pids.max>)
  6 runtime openat(<cgroup>, "memory.max", O_WRONLY|O_CLOEXEC) = <memory.max>  /* or ENOENT */
  7 runtime write(<memory.max>, "max", 3)
  8 runtime close(<memory.max>)
`},
		{"a level with processes gives no more than it does", join(root("cpu memory", "cpu memory"), inner("own", "cpu memory", "cpu"), []string{"own/cgroup.procs: 7"}), "/own/web", []cgroups.Write{{File: "cpu.weight", Value: "100"}}, `
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
			fd, err := w.Group(t, test.path).Add(p, test.limits)
			if err != nil || fd == nil {
				t.Fatalf("Add() = %v, %v", fd, err)
			}
			var b strings.Builder
			print.Text(&b, p, print.Options{})
			if got := "\n" + w.Plain(b.String()); got != test.want {
				t.Errorf("Add() records %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAddRefuses(t *testing.T) {
	memory := []cgroups.Write{{File: "memory.max", Value: "5"}}
	for _, test := range []struct {
		files  []string
		path   string
		limits []cgroups.Write
		is     error
		want   string
	}{
		{nil, "/web", nil, cgroups.ErrNotMounted, "cgroup /cgroup/web: cgroup v2 is not mounted"},
		{root("cpu", "cpu"), "/web", []cgroups.Write{{File: "dreams.max", Value: "5"}}, nil,
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
		fd, err := w.Group(t, test.path).Add(p, test.limits)
		if err == nil || w.Plain(err.Error()) != test.want || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("Add(%s, %v) = %v\nwant %s", test.path, test.limits, err, test.want)
		}
		// Without the means for a limit the plan is whole, to be printed; else it is empty.
		var b strings.Builder
		print.Text(&b, p, print.Options{})
		limit := len(test.limits) > 0 && strings.HasPrefix(test.want, test.limits[0].String())
		if limit != (fd != nil) || limit != strings.Contains(b.String(), "write(<") || !limit && len(p.Steps) != 0 {
			t.Errorf("Add(%s, %v) is an error and records %d steps:\n%s", test.path, test.limits, len(p.Steps), b.String())
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
	g := w.Group(t, "/mine/web")
	if _, err := g.Add(&plan.Plan{}, []cgroups.Write{{File: "memory.max", Value: "5"}}); err != nil {
		t.Errorf("Add() = %v, want memory, which is handed down", err)
	}
	if _, err := g.Add(&plan.Plan{}, []cgroups.Write{{File: "cpu.weight", Value: "5"}}); !errors.Is(err, unix.EACCES) {
		t.Errorf("Add() = %v, want permission denied", err)
	}
}

// TestUpdate: new limits of a group that exists; what is refused leaves those
// before it.
func TestUpdate(t *testing.T) {
	w := newWorld(t, join(root("cpu memory pids", "cpu memory"), inner("web", "cpu memory pids", ""), []string{"web/memory.max: max", "web/pids.max: max"})...)
	g := w.Group(t, "/web")
	p := &plan.Plan{}
	limits := []cgroups.Write{{File: "pids.max", Value: "9"}, {File: "memory.swap.max", Value: "0", Optional: true}, {File: "memory.max", Value: "5"}, {File: "cpu.weight", Value: "1"}}
	check(t, "Update", g.Update(p, limits))
	var b strings.Builder
	print.Text(&b, p, print.Options{})
	want := `
# hand controllers down: a group has files only for controllers that the group above enables; no undo, because other groups may use them by then
  1 runtime openat(AT_FDCWD, "/cgroup/cgroup.subtree_control", O_WRONLY|O_CLOEXEC) = <cgroup.subtree_control>
  2 runtime write(<cgroup.subtree_control>, "+pids", 5)
  3 runtime close(<cgroup.subtree_control>)
  4 runtime openat(AT_FDCWD, "/cgroup/web", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
  5 runtime openat(<cgroup>, "pids.max", O_WRONLY|O_CLOEXEC) = <pids.max>
  6 runtime write(<pids.max>, "9", 1)
  7 runtime close(<pids.max>)
  8 runtime openat(<cgroup>, "memory.swap.max", O_WRONLY|O_CLOEXEC) = <memory.swap.max>  /* or ENOENT */
  9 runtime write(<memory.swap.max>, "0", 1)
 10 runtime close(<memory.swap.max>)
 11 runtime openat(<cgroup>, "memory.max", O_WRONLY|O_CLOEXEC) = <memory.max>
 12 runtime write(<memory.max>, "5", 1)
 13 runtime close(<memory.max>)
 14 runtime openat(<cgroup>, "cpu.weight", O_WRONLY|O_CLOEXEC) = <cpu.weight>
 15 runtime write(<cpu.weight>, "1", 1)
 16 runtime close(<cpu.weight>)
`
	if got := "\n" + w.Plain(b.String()); got != want {
		t.Errorf("Update() records %s\nwant %s", got, want)
	}
	if _, err := p.Start(plan.Options{Notation: print.Step}); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), `openat(<cgroup>, "cpu.weight"`) {
		t.Errorf("Start() = %v, want ENOENT of cpu.weight", err)
	}
	for file, want := range map[string]string{"pids.max": "9", "memory.max": "5"} {
		if got, err := os.ReadFile(filepath.Join(g.Dir, file)); !strings.HasPrefix(string(got), want) {
			t.Errorf("%s = %q, %v after a failure of a later limit, want %q", file, got, err, want)
		}
	}
	if err := w.Group(t, "/gone").Update(&plan.Plan{}, nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Update() of no group = %v, want %v", err, unix.ENOENT)
	}
}

// TestElse: the other file is written only if the first is missing.
func TestElse(t *testing.T) {
	limit := []cgroups.Write{{File: "io.bfq.weight", Value: "7", Else: &cgroups.Write{File: "io.weight", Value: "70"}}}
	for _, c := range []struct{ files, want string }{
		{"io.bfq.weight io.weight", "io.bfq.weight 7 io.weight -"},
		{"io.bfq.weight", "io.bfq.weight 7"},
		{"io.weight", "io.weight 70"},
		{"", "ENOENT"},
	} {
		files := join(root("io", "io"), inner("web", "io", ""))
		for _, f := range strings.Fields(c.files) {
			files = append(files, "web/"+f+": -")
		}
		g := newWorld(t, files...).Group(t, "/web")
		err := grouptest.Update(g, limit)
		var got []string
		for _, f := range strings.Fields(c.files) {
			text, _ := os.ReadFile(filepath.Join(g.Dir, f))
			got = append(got, f, strings.Fields(string(text))[0])
		}
		if errors.Is(err, unix.ENOENT) {
			got = append(got, "ENOENT")
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("with %q: %v, %v, want %s", c.files, got, err, c.want)
		}
	}
}

func TestWritable(t *testing.T) {
	if w := newWorld(t, root("", "")...); !w.Group(t, "/a/b").Writable() {
		t.Error("Writable() = false below our own directory")
	}
}

// TestKillWaits: Kill is through when nobody is left, not when it was asked for.
func TestKillWaits(t *testing.T) {
	w := newWorld(t, "web/cgroup.kill: ", "web/cgroup.events: populated 1")
	g := w.Group(t, "/web")
	done := make(chan error)
	go func() { done <- g.Kill() }()
	select {
	case err := <-done:
		t.Errorf("Kill() = %v while the group is populated", err)
	case <-time.After(20 * time.Millisecond):
		check(t, "write", cgroups.Line(g.Dir, "cgroup.events", "populated 0"))
		check(t, "Kill", <-done)
	}
	content(t, g, "cgroup.kill", "1")
}

// TestRead: a list of processes may be longer than a buffer.
func TestRead(t *testing.T) {
	list := strings.Repeat("1234567\n", 5000)
	g := newWorld(t, "web/cgroup.procs: "+list).Group(t, "/web")
	if got, err := g.Read("cgroup.procs"); err != nil || got != list+"\n" {
		t.Errorf("Read() = %d bytes, %v, want %d", len(got), err, len(list)+1)
	}
	if got, err := cgroups.Pids(g.Dir, "cgroup.procs"); len(got) != 5000 || err != nil {
		t.Errorf("readPids() = %d of them, %v, want 5000", len(got), err)
	}
}
