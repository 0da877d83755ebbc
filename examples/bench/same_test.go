package main

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestSameCalls: the C program makes the system calls that minirunc makes for
// the same bundle, each as often. --explain tells minirunc's, strace(1) those of
// the C program.
func TestSameCalls(t *testing.T) {
	minirunc := os.Getenv("MINIRUNC")
	if os.Geteuid() != 0 || minirunc == "" {
		t.Skip("needs root and MINIRUNC: two containers are made")
	}
	for _, program := range []string{"gcc", "strace"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v: install the package %s", err, program)
		}
	}
	cgroups, err := findCgroup2()
	if err != nil {
		t.Skipf("no cgroup v2 hierarchy: %v", err)
	}
	dir := t.TempDir()
	id := filepath.Base(filepath.Dir(dir)) // not that of another test
	b := &bench{dir: dir}
	same := filepath.Join(dir, "same")
	bundle, err := b.writeBundle(container{id: id, program: "/bin/true"})
	if err := errors.Join(err, makeRoot(dir), compile(dir, "same", same)); err != nil {
		t.Fatal(err)
	}

	out, err := exec.Command(minirunc, "--root", filepath.Join(dir, "states"), "run", "--explain", "--bundle", bundle, id).CombinedOutput()
	if err != nil {
		t.Fatalf("minirunc: %v: %s", err, out)
	}
	want := calls(out, `(?m)^ *[0-9]+ +[0-9.]+ ms \w+ +([a-z0-9_]+)\(`)
	if want["execve"] != 1 {
		t.Fatalf("minirunc run --explain printed no plan: %s", out)
	}

	log := filepath.Join(dir, "log")
	strace := exec.Command("strace", "-f", "-o", log, same, filepath.Join(dir, "rootfs"), filepath.Join(cgroups, id), "/bin/true")
	if out, err := strace.CombinedOutput(); err != nil {
		t.Fatalf("strace: %v: %s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	got := planned(text)
	// These are no steps of the plan. They belong to the engine that runs one
	// (plan/run.go): the channel between runtime and child, the signals that are
	// blocked while the child is cloned, the wait for its end, and the undoing. The
	// runtime looks at its descriptors before there is a plan.
	for name, n := range map[string]int{"fstat": 3, "socketpair": 1, "read": 2, "rt_sigprocmask": 2, "close": 1, "wait4": 1, "unlinkat": 1, "exit_group": 1} {
		got[name] -= n
	}
	names := slices.Collect(maps.Keys(want))
	for name := range got {
		if _, ok := want[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if got[name] != want[name] {
			t.Errorf("%s: the C program makes %d, minirunc %d", name, got[name], want[name])
		}
	}
}

// calls counts names of system calls in what a tracer prints.
func calls(text []byte, pattern string) map[string]int {
	count := map[string]int{}
	for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
		count[string(m[1])]++
	}
	return count
}

// planned counts what strace -f saw of the C program: of the runtime from its first
// mkdirat on, of the child until its execve. Before that it is the C library that
// makes the calls, after it /bin/true. Why by process? What two of them do at the
// same time is logged in any order.
func planned(log []byte) map[string]int {
	count := map[string]int{}
	runtime, done := "", map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([0-9]+) +([a-z0-9_]+)\(`).FindAllStringSubmatch(string(log), -1) {
		pid, name := m[1], m[2]
		if runtime == "" && name == "mkdirat" {
			runtime = pid
		}
		if runtime == "" || done[pid] {
			continue
		}
		count[name]++
		done[pid] = name == "execve"
	}
	return count
}
