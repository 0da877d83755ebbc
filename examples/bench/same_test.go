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
			t.Skip(err)
		}
	}
	cgroups, err := findCgroup2()
	if err != nil {
		t.Skip(err)
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
	// From the first call of the plan, mkdirat, to the last, execve of /bin/true:
	// what is before and after it is the C library's.
	text = regexp.MustCompile(`(?s)^.*?[0-9]+ +mkdirat\(AT_FDCWD, "`+cgroups).ReplaceAll(text, []byte("1 mkdirat("))
	text = regexp.MustCompile(`(?s)( execve\(.*?\n).*`).ReplaceAll(text, []byte("$1"))
	got := calls(text, `(?m)^[0-9]+ +([a-z0-9_]+)\(`)
	// The channel between runtime and child, and the signals blocked while it is
	// cloned, are the engine's that runs a plan (plan/run.go), and no steps of it.
	for name, n := range map[string]int{"socketpair": 1, "read": 2, "rt_sigprocmask": 2, "close": 1} {
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
