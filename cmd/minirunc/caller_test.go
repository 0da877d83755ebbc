package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// keepsNothing runs minirunc with an open file on which there is a lock, in a directory of
// its own. Afterwards nobody may hold the file, and nobody be in the directory.
func keepsNothing(t *testing.T, words ...string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	lock, err := os.Create(path)
	testbed.Must(t, err)
	testbed.Must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	cmd := called(t, nil, words...)
	cmd.ExtraFiles, cmd.Dir = []*os.File{lock}, dir
	if err := cmd.Run(); err != nil {
		t.Fatalf("minirunc %q: %v, %s", words, err, printed(t, cmd))
	}
	testbed.Must(t, lock.Close())
	again, err := os.Open(path)
	testbed.Must(t, err)
	defer again.Close()
	if err := unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("after minirunc %q, somebody has the caller's file: %v", words, err)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		if to, _ := os.Readlink(link); to == dir {
			name, _ := os.ReadFile(filepath.Dir(link) + "/cmdline")
			t.Errorf("after minirunc %q, %q is in the caller's directory", words, name)
		}
	}
}

// TestCaller: what lives on keeps nothing of the caller's: the program, its monitor, the
// process that drains its terminal, what a hook has left behind.
func TestCaller(t *testing.T) {
	b := newBundle(t, "sleep", "100")
	path := filepath.Join(b, "config.json")
	plain := readFile(t, path)
	daemon := `[{"path": "/bin/sh", "args": ["sh", "-c", "cd /; sleep 100 >/dev/null 2>&1 & echo $! >>` + b + `/daemons"], "env": ["PATH=/bin:/usr/bin"]}]`
	hooks := `{"hooks": {"createRuntime": ` + daemon + `, "poststart": ` + daemon + `, "poststop": ` + daemon + `},`
	for what, text := range map[string]string{
		"plain": plain, "hooks": strings.Replace(plain, "{", hooks, 1),
		"terminal": strings.Replace(plain, `"process": {`, `"process": {"terminal": true,`, 1),
	} {
		testbed.Must(t, os.WriteFile(path, []byte(text), 0o644))
		keepsNothing(t, "run", "--monitor", "-d", "--bundle", b, "caller")
		keepsNothing(t, "exec", "-d", "caller", "sleep", "100")
		keepsNothing(t, "delete", "--force", "caller")
		if what == "terminal" {
			continue // it wants a console socket
		}
		keepsNothing(t, "create", "--bundle", b, "caller")
		keepsNothing(t, "start", "caller")
		keepsNothing(t, "delete", "--force", "caller")
	}
	daemons, _ := os.ReadFile(b + "/daemons")
	if n := len(strings.Fields(string(daemons))); n != 6 {
		t.Errorf("%d hooks have run, want 6", n)
	}
	for _, pid := range strings.Fields(string(daemons)) {
		exec.Command("kill", "-KILL", pid).Run()
	}
}
