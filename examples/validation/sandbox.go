package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// This file runs one program of the suite where it can do no harm.
//
//	sandbox.run                           inside, process 1
//	makes a cgroup
//	clones this program into new    --->  enters the cgroup, makes it the root of a cgroup namespace,
//	mount, pid, ipc, uts namespaces       mounts a pure cgroup v2 and a /run of its own
//	waits, with a time limit              runs the program, reaps what it and the runtime leave
//	removes the cgroup              <---  ends: the kernel ends the rest
//
// So every program has the paths /run/minirun and /cgrouptest for itself, and
// nothing that a container or a failing test leaves outlives it.

const (
	sandboxKey  = "MINIRUN_VALIDATION_CGROUP" // set inside: the sandbox's cgroup
	bundles     = "/run/bundles"              // in the sandbox; a path that every user may walk
	cgroupMount = "/sys/fs/cgroup"
	limit       = 3 * time.Minute
)

type sandbox struct {
	dir     string // the working folder
	command string
	runtime string

	stdout, stderr io.Writer
}

// run returns how the command ended; "" is exit code 0.
func (s *sandbox) run(ctx context.Context) (end string, err error) {
	cgroups, err := findCgroup2()
	if err != nil {
		return "", err
	}
	group, err := os.MkdirTemp(cgroups, "minirun-validation-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, removeGroups(group)) }()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", s.command)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), sandboxKey+"="+group, "RUNTIME="+s.runtime, "TMPDIR="+bundles)
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("clone into new namespaces: %w", err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() == context.Canceled:
		return "", errors.New("interrupted")
	case ctx.Err() != nil:
		return fmt.Sprintf("not ended after %v", limit), nil
	case errors.As(err, &exit):
		return exit.Error(), nil
	}
	return "", err
}

// inside is process 1 of the sandbox.
func inside(context.Context, options) (bool, error) {
	runtime.LockOSThread() // the cgroup namespace is this thread's
	if err := furnish(os.Getenv(sandboxKey)); err != nil {
		return false, err
	}
	os.Unsetenv(sandboxKey)
	cmd := exec.Command(os.Args[1])
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return false, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR || err == nil && pid != cmd.Process.Pid:
		case err != nil:
			return false, err
		case status.Signaled():
			return false, fmt.Errorf("signal: %v", status.Signal())
		default:
			os.Exit(status.ExitStatus())
		}
	}
}

// furnish mounts what is the sandbox's own. Why is its cgroup left again, for a
// leaf below? A group with processes can hand no controllers down.
func furnish(group string) error {
	if err := enter(group); err != nil {
		return err
	}
	if err := syscall.Unshare(syscall.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare cgroup namespace: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Unmount(cgroupMount, syscall.MNT_DETACH); err != nil && err != syscall.EINVAL { // EINVAL: nothing is mounted there
		return fmt.Errorf("unmount %s: %w", cgroupMount, err)
	}
	for _, m := range []struct{ kind, target, data string }{{"proc", "/proc", ""}, {"tmpfs", "/run", "mode=755"}, {"cgroup2", cgroupMount, ""}} {
		if err := syscall.Mount(m.kind, m.target, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	leaf := filepath.Join(cgroupMount, "suite")
	return errors.Join(os.Mkdir(bundles, 0o755), os.Mkdir(leaf, 0o755), enter(leaf))
}

// enter moves this process to a cgroup.
func enter(group string) error {
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0)
}

// findCgroup2 returns where cgroup v2 is mounted (proc_pid_mountinfo(5)).
func findCgroup2() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		left, right, _ := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(left); strings.HasPrefix(right, "cgroup2 ") && len(fields) > 4 {
			return fields[4], nil
		}
	}
	return "", errors.New("no cgroup2 mount in /proc/self/mountinfo")
}

// removeGroups removes a cgroup and those below it, deepest first. Its
// processes were killed; EBUSY says that the kernel is not through with one.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(dir, e.Name())))
		}
	}
	for wait := time.Millisecond; ; wait *= 2 {
		gone := os.Remove(dir)
		if !errors.Is(gone, syscall.EBUSY) || wait > 2*time.Second {
			return errors.Join(err, gone)
		}
		time.Sleep(wait)
	}
}
