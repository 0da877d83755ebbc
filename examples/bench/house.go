package main

// This file makes the house in which the measurements happen, and tears it down.
//
//	outside                                     inside
//	makes a folder and a cgroup
//	clones itself into new mount, pid,   -----> private mounts, a /proc and a /run
//	network, ipc and cgroup namespaces          of its own, pure cgroup v2
//	waits                                       measures
//	removes the cgroup and the folder    <----- exits, or is killed
//
// Inside is process 1 of its pid namespace: when it ends, however it ends, the
// kernel kills everything that is left in there, mounts and network devices go
// with their namespaces, and outside only has directories to remove. For the
// cgroup namespace the root is the house's own group: what anybody makes inside,
// wherever he thinks it is, is below it.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	cgroupMount = "/sys/fs/cgroup"
	houseKey    = "MINIRUN_BENCH_HOUSE"
)

// inHouse says whether this process was started by outside. The variable is
// the folder of the house.
func inHouse() bool { return os.Getenv(houseKey) != "" }

// outside makes the house, waits for its end, and removes what is left.
func outside() (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root: namespaces and cgroups are made")
	}
	cgroups, err := findCgroup2()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "minirun-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	group := filepath.Join(cgroups, filepath.Base(dir))
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeGroups(group)) }()
	cmd, err := build(dir, cgroups, group)
	if err != nil {
		return err
	}
	return live(cmd)
}

// build starts this program again, in the house. Why do we enter its cgroup
// ourselves, for a moment? A cgroup namespace is rooted where its maker is.
func build(dir, cgroups, group string) (*exec.Cmd, error) {
	ours, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	_, home, ok := strings.Cut("\n"+string(ours), "\n0::")
	if !ok {
		return nil, errors.New("no cgroup v2 in /proc/self/cgroup")
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), houseKey+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := enter(group); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		err = fmt.Errorf("clone into new namespaces: %w", err)
		return nil, errors.Join(err, enter(filepath.Join(cgroups, strings.TrimSpace(home))))
	}
	return cmd, enter(filepath.Join(cgroups, strings.TrimSpace(home)))
}

// enter moves this process to a cgroup.
func enter(group string) error {
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0)
}

// live waits for the end of the house, and passes signals on as SIGKILL:
// process 1 of a pid namespace gets no other, and nothing inside needs mercy.
func live(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		<-signals
		cmd.Process.Kill()
	}()
	err := cmd.Wait()
	if status := new(exec.ExitError); errors.As(err, &status) && status.Exited() {
		return errors.New("not everything ran") // the reasons were printed
	}
	return err
}

// moveIn makes the house private and builds what is measured in it.
func moveIn() (*bench, error) {
	if err := errors.Join(furnish(), pretendMemlock()); err != nil {
		return nil, err
	}
	return newBench(os.Getenv(houseKey))
}

// furnish mounts what the house has of its own. Why private first? Otherwise
// the machine would lose its /proc and its cgroups, too. /sys/fs/cgroup becomes a
// pure cgroup v2 tree, even where the machine's is a mix of v1 and v2: crun and
// runc look nowhere else.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Unmount(cgroupMount, unix.MNT_DETACH); err != nil && err != unix.EINVAL { // EINVAL: nothing is mounted there
		return fmt.Errorf("unmount %s: %w", cgroupMount, err)
	}
	for _, m := range []struct{ kind, target, data string }{{"proc", "/proc", ""}, {"tmpfs", "/run", "mode=755"}, {"cgroup2", cgroupMount, ""}} {
		if err := unix.Mount(m.kind, m.target, m.kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	return leaveRoot()
}

// leaveRoot moves us down from the root of the tree: a group that has processes
// of its own cannot give controllers to those below it.
func leaveRoot() error {
	leaf := filepath.Join(cgroupMount, "bench")
	if err := os.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	return enter(leaf)
}

// findCgroup2 returns where the machine has cgroup v2.
func findCgroup2() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if dir := cgroup2In(f); dir != "" {
		return dir, nil
	}
	return "", errors.New("no cgroup2 mount in /proc/self/mountinfo")
}

// cgroup2In returns the mount point of the first cgroup2 in a mountinfo
// (proc_pid_mountinfo(5)), or "". A line is:
//
//	36 35 98:0 /root /mount/point rw,noatime shared:1 - fstype source options
func cgroup2In(mountinfo io.Reader) string {
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		left, right, _ := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(left); strings.HasPrefix(right, "cgroup2 ") && len(fields) > 4 {
			return fields[4]
		}
	}
	return ""
}

// removeGroups removes a cgroup and those below it, deepest first. Nothing
// runs in them any more.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(dir))
}
