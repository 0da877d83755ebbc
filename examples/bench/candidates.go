package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The candidates, by the names under which they are printed.
const (
	minirunc = "minirunc"
	minirun  = "minirun" // which executes minirunc: only where an image is run
	crun     = "crun"
	runc     = "runc"
	bwrap    = "bubblewrap"
	sameC    = "C program"
	bare     = "no container"
)

// A candidate is a program that starts containers.
type candidate struct {
	name    string
	path    string // of the program; "" if it is not installed
	missing string // why path is ""
	oci     bool   // takes the command line of runc
}

// A bench is what is measured, and where.
type bench struct {
	dir        string // of the house: root directory, bundles, state
	candidates []candidate
	people     candidate // minirun: it takes part only where an image is run
	runner     *runner
}

func newBench(dir string) (*bench, error) {
	stderr, err := os.OpenFile(filepath.Join(dir, "stderr"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := makeRoot(dir); err != nil {
		return nil, err
	}
	same := filepath.Join(dir, "same")
	if err := compile(dir, "same", same); err != nil {
		return nil, err
	}
	b := &bench{dir: dir, runner: &runner{null, stderr}}
	b.people = find(minirun, cmp.Or(os.Getenv("MINIRUN"), "./minirun"), false)
	b.candidates = []candidate{
		find(minirunc, cmp.Or(os.Getenv("MINIRUNC"), "./minirunc"), true),
		find(crun, cmp.Or(os.Getenv("CRUN"), "crun"), true), // $CRUN: a newer one, perhaps
		find(runc, "runc", true),
		find(bwrap, "bwrap", false),
		{name: sameC, path: same},
		{name: bare, path: filepath.Join(dir, "rootfs/bin/true")},
	}
	return b, nil
}

// find looks a program up. A path with a slash is taken as it is.
func find(name, program string, oci bool) candidate {
	path, err := exec.LookPath(program)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return candidate{name: name, missing: err.Error(), oci: oci}
	}
	return candidate{name: name, path: path, oci: oci}
}

// oci are the installed candidates with the command line of runc.
func (b *bench) oci() (installed []candidate) {
	for _, c := range b.candidates {
		if c.oci && c.path != "" {
			installed = append(installed, c)
		}
	}
	return installed
}

// candidate is the one with a name of the list above.
func (b *bench) candidate(name string) candidate {
	return b.candidates[slices.IndexFunc(b.candidates, func(c candidate) bool { return c.name == name })]
}

// command is an OCI runtime's command line, with its state where it is by default:
// on the tmpfs that /run is.
func (b *bench) command(c candidate, arguments ...string) []string {
	return append([]string{c.path, "--root", filepath.Join("/run", c.name)}, arguments...)
}

// bubblewrap is its equivalent of the bundle, as far as it has one.
func (b *bench) bubblewrap(path string) []string {
	return []string{path, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
		"--hostname", "bench", "--new-session", "--clearenv", "--as-pid-1",
		"--ro-bind", filepath.Join(b.dir, "rootfs"), "/", "--proc", "/proc", "--dev", "/dev",
		"--tmpfs", "/dev/shm", "--mqueue", "/dev/mqueue", "--ro-bind", "/sys", "/sys",
		"--cap-drop", "ALL", "--cap-add", "CAP_AUDIT_WRITE", "--cap-add", "CAP_KILL", "--cap-add", "CAP_NET_BIND_SERVICE",
		"/bin/true"}
}

// A runner starts programs, one at a time, and takes the time.
type runner struct {
	null   *os.File
	stderr *os.File // of the programs; read back when one fails
}

// patience is how long a program may take: much longer than any does, even in
// an emulated machine.
const patience = 60 * time.Second

// run runs a program to its end and returns how long it took, from before
// clone(2) to after wait(2). An error carries what the program said.
func (r *runner) run(argv ...string) (time.Duration, error) {
	r.stderr.Truncate(0) // EIO only
	start := time.Now()
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{r.null, r.null, r.stderr}})
	if err != nil {
		return 0, err
	}
	late := time.AfterFunc(patience, func() { p.Kill() })
	state, err := p.Wait()
	took := time.Since(start)
	late.Stop()
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s: %s: %s", strings.Join(argv, " "), state, r.said())
	}
	return took, err
}

// said is what the last program wrote to its standard error.
func (r *runner) said() string {
	text, err := os.ReadFile(r.stderr.Name())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// waitFor waits for the end of a container process. It is our child, since we
// are process 1; unless it has a monitor that waits for it.
func waitFor(pid int) error {
	deadline := time.Now().Add(patience)
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if err == nil {
			return nil
		}
		if err == unix.ECHILD && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return nil
		}
		if err != unix.EINTR && time.Now().After(deadline) {
			return fmt.Errorf("wait for container process %d: %w", pid, err)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// reap waits for whatever was left to us, as process 1, and has ended. No child
// of the runner's may be running.
func reap() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 && err != unix.EINTR {
			return
		}
	}
}
