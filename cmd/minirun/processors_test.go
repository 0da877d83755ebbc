package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// allowed is what a copy of /proc/PID/status says of the processors that the
// process may use.
func allowed(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	_, list, _ := strings.Cut(string(text), "Cpus_allowed_list:")
	list, _, _ = strings.Cut(list, "\n")
	return strings.TrimSpace(list)
}

// TestProcessors: minirun itself stays on one processor at first, by its entry;
// whatever it starts may use all that its caller may.
func TestProcessors(t *testing.T) {
	dir := newBundle(t, "/bin/copy", "/proc/self/status", "/container")
	if runtime.NumCPU() < 2 {
		t.Skip("needs two processors")
	}
	program := filepath.Join(t.TempDir(), "minirun")
	flags := "-X main.version=test"
	if _, err := os.Stat("../../container/protect/entry_" + runtime.GOARCH + ".s"); err == nil {
		flags = "-E _minirunc_linux_" + runtime.GOARCH
	}
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-ldflags", flags, "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	var spec specs.Spec
	config := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(config)
	must(t, err)
	must(t, json.Unmarshal(text, &spec))
	spec.Root.Readonly = false
	outside := func(name string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/cp", Args: []string{"cp", "/proc/self/status", filepath.Join(dir, "rootfs", name)}}}
	}
	spec.Hooks = &specs.Hooks{
		CreateRuntime: outside("createRuntime"), CreateContainer: outside("createContainer"), Poststart: outside("poststart"), Poststop: outside("poststop"),
		StartContainer: []specs.Hook{{Path: "/bin/copy", Args: []string{"copy", "/proc/self/status", "/startContainer"}}},
	}
	text, err = json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(config, text, 0o644))

	root := filepath.Join(t.TempDir(), "root")
	call := func(args ...string) string {
		t.Helper()
		cmd := command(t, nil, append([]string{"--root", root}, args...)...)
		cmd.Path = program
		if err := cmd.Run(); err != nil {
			t.Fatalf("minirun %v: %v\n%s", args, err, printed(t, cmd))
		}
		return printed(t, cmd)
	}
	check := func(want string, names ...string) {
		t.Helper()
		for _, name := range names {
			path := filepath.Join(dir, "rootfs", name)
			if got := allowed(t, path); got != want {
				t.Errorf("%s may use the processors %s, want %s", name, got, want)
			}
			must(t, os.Remove(path))
		}
	}
	every := []string{"container", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

	runtime.LockOSThread() // and never unlocked: its affinity ends with it
	all := allowed(t, "/proc/thread-self/status")
	call("run", "--bundle", dir, "one")
	check(all, every...)
	call("create", "--bundle", dir, "two")
	call("start", "two")
	for end := time.Now().Add(10 * time.Second); !strings.Contains(call("state", "two"), `"stopped"`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("container two does not end")
		}
	}
	call("delete", "two")
	check(all, every...)

	spec.Process.Args, spec.Hooks = []string{"/bin/sleep", "1000"}, nil
	text, err = json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(config, text, 0o644))
	call("run", "--detach", "--bundle", dir, "three")
	call("exec", "three", "/bin/copy", "/proc/self/status", "/exec")
	check(all, "exec")

	var one, before unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &before))
	for i := range 1024 {
		if before.IsSet(i) {
			one.Set(i)
			break
		}
	}
	must(t, unix.SchedSetaffinity(0, &one))
	call("exec", "three", "/bin/copy", "/proc/self/status", "/exec")
	check(allowed(t, "/proc/thread-self/status"), "exec")
	call("delete", "--force", "three")
}
