package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	runc "github.com/containerd/go-runc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/cmd/testbed"
)

// null is /dev/null, which the client closes.
func null(t *testing.T) runc.IO {
	t.Helper()
	io, err := runc.NewNullIO()
	testbed.Must(t, err)
	return io
}

// TestClient: containerd's own client leads a container through its life. What
// it cannot parse it says.
func TestClient(t *testing.T) {
	b := newBundle(t, "trap", "TERM=7")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := &runc.Runc{Command: "minirunc", Root: filepath.Join(t.TempDir(), "root"), Log: filepath.Join(t.TempDir(), "log.json"), LogFormat: runc.JSON, PdeathSignal: unix.SIGKILL}
	pidfd, err := runc.NewTempPidfdSocket()
	testbed.Must(t, err)
	defer pidfd.Close()
	pidFile := filepath.Join(b, "pid")

	testbed.Must(t, r.Create(ctx, "c1", b, &runc.CreateOpts{IO: null(t), PidFile: pidFile, PidfdSocket: pidfd, NoPivot: true, NoNewKeyring: true}))
	pid, err := runc.ReadPidFile(pidFile)
	testbed.Must(t, err)
	is := func(status string) {
		t.Helper()
		s, err := r.State(ctx, "c1")
		testbed.Must(t, err)
		if s.ID != "c1" || s.Status != status || s.Bundle != b || s.Rootfs != b+"/rootfs" || s.Created.IsZero() || (s.Pid == pid) != (status != "stopped") {
			t.Errorf("State() = %+v, want %s, pid %d", s, status, pid)
		}
	}
	is("created")
	testbed.Must(t, r.Start(ctx, "c1"))
	is("running")
	list, err := r.List(ctx)
	testbed.Must(t, err)
	if len(list) != 1 || list[0].ID != "c1" || list[0].Pid != pid {
		t.Errorf("List() = %+v, want c1", list)
	}

	process := specs.Process{Args: []string{"/bin/sleep", "1000"}, Cwd: "/"}
	execPid := filepath.Join(b, "exec-pid")
	testbed.Must(t, r.Exec(ctx, "c1", process, &runc.ExecOpts{IO: null(t), PidFile: execPid, Detach: true}))
	more, err := runc.ReadPidFile(execPid)
	testbed.Must(t, err)
	pids, err := r.Ps(ctx, "c1")
	if testbed.Must(t, err); !reflect.DeepEqual(pids, []int{pid, more}) {
		t.Errorf("Ps() = %v, want %d and %d", pids, pid, more)
	}
	for _, options := range []string{"-ef", ""} {
		top, err := r.Top(ctx, "c1", options)
		if testbed.Must(t, err); len(top.Processes) != 2 || top.Headers[1] != "PID" {
			t.Errorf("Top(%q) = %+v, want two processes", options, top)
		}
	}
	process.Args = []string{"/bin/exit", "9"}
	var exit *runc.ExitError
	if err := r.Exec(ctx, "c1", process, &runc.ExecOpts{IO: null(t)}); !errors.As(err, &exit) || exit.Status != 9 {
		t.Errorf("Exec(exit 9) = %v, want status 9", err)
	}

	testbed.Must(t, r.Pause(ctx, "c1"))
	is("paused")
	testbed.Must(t, r.Resume(ctx, "c1"))
	testbed.Must(t, r.Update(ctx, "c1", &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}}))
	stats, err := r.Stats(ctx, "c1")
	for errors.Is(err, os.ErrClosed) { // by the client itself, while it reads
		stats, err = r.Stats(ctx, "c1")
	}
	if testbed.Must(t, err); stats.Cpu.Usage.Total == 0 {
		t.Errorf("Stats() = %+v, want processor time", stats)
	}
	events, err := r.Events(ctx, "c1", time.Second) // it knows no less
	testbed.Must(t, err)
	if e := <-events; e == nil || e.Err != nil || e.Type != "stats" || e.ID != "c1" || e.Stats == nil {
		t.Errorf("an event is %+v, want stats of c1", e)
	}

	testbed.Must(t, r.Kill(ctx, "c1", int(unix.SIGTERM), nil))
	for e := range events { // up to the container's end
		if e.Err != nil { // the client closes the pipe while it reads, and says so for ever
			if !errors.Is(e.Err, os.ErrClosed) {
				t.Errorf("an event is an error: %v", e.Err)
			}
			break
		}
	}
	is("stopped")
	if err := r.Kill(ctx, "c1", int(unix.SIGKILL), nil); err == nil || !strings.Contains(err.Error(), "container not running") {
		t.Errorf("Kill() of a stopped container = %v, want container not running", err)
	}
	testbed.Must(t, r.Kill(ctx, "c1", int(unix.SIGKILL), &runc.KillOpts{All: true}))
	testbed.Must(t, r.Delete(ctx, "c1", nil))
	testbed.Must(t, r.Delete(ctx, "c1", &runc.DeleteOpts{Force: true}))
	for name, err := range map[string]error{"Delete": r.Delete(ctx, "c1", nil), "Start": r.Start(ctx, "c1"), "Pause": r.Pause(ctx, "c1")} {
		if err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s() of no container = %v, want does not exist", name, err)
		}
	}
	list, err = r.List(ctx)
	if testbed.Must(t, err); len(list) != 0 {
		t.Errorf("List() = %+v, want none", list)
	}
	checkLog(t, r.Log)
}

// TestClientRun: run to the end, descriptors handed on, and features.
func TestClientRun(t *testing.T) {
	b := newBundle(t, "exit", "5")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := &runc.Runc{Command: "minirunc", Root: filepath.Join(t.TempDir(), "root")}
	if code, err := r.Run(ctx, "c1", b, &runc.CreateOpts{IO: null(t)}); code != 5 {
		t.Errorf("Run() = %d, %v, want 5", code, err)
	}
	if code, err := r.Run(ctx, "c1", b, &runc.CreateOpts{IO: null(t), ExtraArgs: []string{"--keep"}}); code != 5 {
		t.Errorf("Run(--keep) = %d, %v, want 5", code, err)
	}
	testbed.Must(t, r.Delete(ctx, "c1", nil))
	f, err := r.Features(ctx)
	if testbed.Must(t, err); f.Linux == nil || !*f.Linux.MountExtensions.IDMap.Enabled {
		t.Errorf("Features() = %+v, want id-mapped mounts", f)
	}

	// A file of ours as descriptor 3, which go-runc announces by --preserve-fds.
	b = newBundle(t, "cat", "/proc/self/fd/3")
	path := filepath.Join(b, "file")
	testbed.Must(t, os.WriteFile(path, []byte("handed on"), 0o644))
	file, err := os.Open(path)
	testbed.Must(t, err)
	defer file.Close()
	out, err := runc.NewPipeIO(os.Getuid(), os.Getgid(), func(o *runc.IOOption) { o.OpenStdin, o.OpenStderr = false, false })
	testbed.Must(t, err)
	defer out.Close()
	if code, err := r.Run(ctx, "c1", b, &runc.CreateOpts{IO: out, ExtraFiles: []*os.File{file}}); code != 0 {
		t.Errorf("Run() = %d, %v, want 0", code, err)
	}
	text := make([]byte, 64)
	if n, err := out.Stdout().Read(text); string(text[:n]) != "handed on" {
		t.Errorf("the program prints %q, %v; want what descriptor 3 has", text[:n], err)
	}
}

// TestClientTerminal: the terminal's master goes to containerd's socket, for a
// container and for a program more in it.
func TestClientTerminal(t *testing.T) {
	b := newBundle(t, "window")
	path := filepath.Join(b, "config.json")
	testbed.Must(t, os.WriteFile(path, []byte(strings.Replace(readFile(t, path), `"process": {`, `"process": {"terminal": true,`, 1)), 0o644))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := &runc.Runc{Command: "minirunc", Root: filepath.Join(t.TempDir(), "root")}
	socket, err := runc.NewTempConsoleSocket()
	testbed.Must(t, err)
	defer socket.Close()
	testbed.Must(t, r.Create(ctx, "c1", b, &runc.CreateOpts{ConsoleSocket: socket}))
	testbed.Must(t, r.Start(ctx, "c1"))
	says := func(want string) {
		t.Helper()
		master, err := socket.ReceiveMaster()
		testbed.Must(t, err)
		t.Cleanup(func() { master.Close() }) // not now: it would be a hang-up
		text := make([]byte, 256)
		if n, err := master.Read(text); !strings.HasPrefix(string(text[:n]), want) {
			t.Errorf("the terminal reads %q, %v; want %q", text[:n], err, want)
		}
	}
	says("size ")
	more, err := runc.NewTempConsoleSocket()
	testbed.Must(t, err)
	defer more.Close()
	socket = more
	process := specs.Process{Args: []string{"/bin/window"}, Cwd: "/", Terminal: true, ConsoleSize: &specs.Box{Height: 5, Width: 7}}
	testbed.Must(t, r.Exec(ctx, "c1", process, &runc.ExecOpts{ConsoleSocket: more, Detach: true, PidFile: filepath.Join(b, "pid")}))
	says("size 5 7")
	testbed.Must(t, r.Delete(ctx, "c1", &runc.DeleteOpts{Force: true}))
}

// checkLog: every line is an error, as engines parse it.
func checkLog(t *testing.T, path string) {
	t.Helper()
	for line := range strings.Lines(readFile(t, path)) {
		var entry struct {
			Level, Msg string
			Time       time.Time
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level != "error" || entry.Msg == "" || entry.Time.IsZero() {
			t.Errorf("a line of the log is %q: %v", line, err)
		}
	}
}

// TestRefusals: what is refused is said in one line, which is all of the log,
// with the words that engines look for and their exit code; nothing is left.
func TestRefusals(t *testing.T) {
	b := newBundle(t, "sleep", "1000")
	minirunc(t, nil, "run", "-d", "--bundle", b, "taken")
	minirunc(t, nil, "create", "--bundle", b, "made")
	defer minirunc(t, nil, "delete", "--force", "made")
	defer minirunc(t, nil, "delete", "--force", "taken")
	process := func(name string, p specs.Process) string {
		path := filepath.Join(b, name)
		data, err := json.Marshal(p)
		testbed.Must(t, err)
		testbed.Must(t, os.WriteFile(path, data, 0o644))
		return path
	}
	text := filepath.Join(b, "rootfs/text")
	testbed.Must(t, os.WriteFile(text, []byte("text"), 0o644))
	bundle := func(change func(*specs.Spec)) string {
		spec := specs.Spec{}
		testbed.Must(t, json.Unmarshal([]byte(readFile(t, filepath.Join(b, "config.json"))), &spec))
		change(&spec)
		dir := t.TempDir()
		spec.Root.Path = filepath.Join(b, "rootfs")
		data, err := json.Marshal(spec)
		testbed.Must(t, err)
		testbed.Must(t, os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644))
		return dir
	}
	args := func(words ...string) string {
		return bundle(func(s *specs.Spec) { s.Process.Args = words })
	}
	for _, c := range []struct {
		words string
		code  int
		want  string
	}{
		{"state no", 1, "no: container does not exist"},
		{"start no", 1, "no: container does not exist"},
		{"kill no 9", 1, "no: container does not exist"},
		{"delete no", 1, "no: container does not exist"},
		{"exec --process x no", 255, "no: container does not exist"},
		{"create --bundle " + b + " taken", 1, "taken: container with given ID already exists"},
		{"create --bundle " + b + " ../x", 1, `container id "../x"`},
		{"create --bundle /nowhere x", 1, "/nowhere is not a bundle: "},
		{"start taken", 1, "start taken: container is running, not created"},
		{"delete taken", 1, "delete taken: container is running; stop it first"},
		{"exec --process " + process("p2", specs.Process{Args: []string{"nosuch"}, Cwd: "/", Env: []string{"PATH=/bin"}}) + " taken", 255, `exec: "nosuch": executable file not found in $PATH`},
		{"exec --process " + process("p3", specs.Process{Args: []string{"/nosuch"}, Cwd: "/"}) + " taken", 255, `exec: "/nosuch": no such file or directory`},
		{"exec --process " + process("p4", specs.Process{Args: []string{"/text"}, Cwd: "/"}) + " taken", 255, `exec: "/text": permission denied`},
		{"exec --process " + process("p5", specs.Process{Args: []string{"/text/x"}, Cwd: "/"}) + " taken", 255, `exec: "/text/x": not a directory`},
		{"create --bundle " + args("nosuch") + " x", 1, `exec: "nosuch": executable file not found in $PATH`},
		{"create --bundle " + args("/nosuch") + " x", 1, `exec: "/nosuch": no such file or directory`},
		{"run --bundle " + args("/text") + " x", 1, `exec: "/text": permission denied`},
		{"create --bundle " + bundle(func(s *specs.Spec) { s.Version = "invalid" }) + " x", 1, `ociVersion "invalid": want 1.x`},
		{"create --bundle " + bundle(func(s *specs.Spec) { s.Process.Terminal = true }) + " x", 1, "create: process.terminal wants --console-socket"},
		{"create --bundle " + bundle(func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.core_pattern": "x"} }) + " x", 1, "kernel.core_pattern"},
		{"create --bundle " + bundle(func(s *specs.Spec) { s.Linux.Resources = &specs.LinuxResources{Unified: map[string]string{"a/b": "1"}} }) + " x", 1, `unified "a/b"`},
		{"create --bundle " + bundle(func(s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, s.Process.Rlimits...) }) + " x", 1, "RLIMIT_NOFILE"},
		{"create --bundle " + bundle(func(s *specs.Spec) { s.Linux.CgroupsPath = "/minirun-taken" }) + " x", 1, "has processes already"},
		{"create --bundle " + bundle(func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, s.Linux.Namespaces[0]) }) + " x", 1, "pid"},
		{"--systemd-cgroup create --bundle " + bundle(func(s *specs.Spec) { s.Linux.CgroupsPath = "/minirun-taken" }) + " x", 1, "systemd"}, // is not there, or cannot make that
		{"create --bundle " + b + " --console-socket /nowhere x", 1, "--console-socket: wants a terminal"},
		{"create --bundle " + b + " --pid-file /nowhere/pid x", 1, "/nowhere/pid"},
		{"create --bundle " + b + " --preserve-fds 1 x", 1, "descriptor 3 is not open"},
		{"update --pids-limit 5x taken", 1, "update: --pids-limit"},
		{"events --interval 0s taken", 1, "events: --interval 0s: want more than 0"},
		{"resume taken", 1, "resume taken: container is running: container not paused"},
		{"ps -f xml taken", 1, `format "xml"`},
		{"list -f xml", 1, `format "xml"`},
		{"checkpoint taken", 3, `"checkpoint" is not a command`},
		{"nosuch", 3, `"nosuch" is not a command`},
	} {
		log := filepath.Join(t.TempDir(), "log.json")
		cmd := called(t, nil, append([]string{"--log", log, "--log-format", "json"}, strings.Fields(c.words)...)...)
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != c.code {
			t.Errorf("minirunc %s = %v, want exit code %d", c.words, err, c.code)
		}
		out := printed(t, cmd)
		var entry struct{ Msg string } // the whole file is one object, as podman has it
		if err := json.Unmarshal([]byte(readFile(t, log)), &entry); err != nil || !strings.Contains(entry.Msg, c.want) || entry.Msg != out || strings.Contains(out, "\n") {
			t.Errorf("minirunc %s says %q, and the log %q, %v; want %q", c.words, out, entry.Msg, err, c.want)
		}
	}
	if got := minirunc(t, nil, "list", "-q"); got != "made\ntaken" && got != "taken\nmade" {
		t.Errorf("list after that = %q, want made and taken", got)
	}
}
