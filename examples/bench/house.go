package main

// This file makes the house in which the measurements happen, and tears it down.
//
//	outside                                     inside
//	makes a folder, finds cgroup v2
//	clones itself into new mount, pid,   -----> private mounts, a /proc and a /run
//	network and ipc namespaces                  of its own, pure cgroup v2
//	waits                                       measures
//	removes cgroups and the folder       <----- exits, or is killed
//
// Inside is process 1 of its pid namespace: when it ends, however it ends, the
// kernel kills everything that is left in there, mounts and network devices go
// with their namespaces, and outside only has directories to remove.

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
	library     = "/var/lib/minirun" // where images and their containers go
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
	defer func() { err = errors.Join(err, removeGroups(filepath.Join(cgroups, filepath.Base(dir)))) }()
	if os.Mkdir(library, 0o700) == nil { // to mount on; EEXIST: it is there and stays
		defer os.Remove(library) // ENOTEMPTY: somebody began to use it
	}
	return live(dir)
}

// live runs this program again, in the house, and passes signals on as SIGKILL:
// process 1 of a pid namespace gets no other, and nothing inside needs mercy.
func live(dir string) error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), houseKey+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("clone into new namespaces: %w", err)
	}
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
	dir := os.Getenv(houseKey)
	if err := errors.Join(furnish(dir), pretendMemlock()); err != nil {
		return nil, err
	}
	group := filepath.Join(cgroupMount, filepath.Base(dir))
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, err
	}
	return newBench(dir, group)
}

// furnish mounts what the house has of its own. Why private first? Otherwise
// the machine would lose its /proc and its cgroups, too.
func furnish(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc on /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs on /run: %w", err)
	}
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(images, library, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", library, err)
	}
	return pureCgroup2()
}

// pureCgroup2 makes /sys/fs/cgroup a cgroup v2 tree where it is something else
// (a hybrid of v1 and v2): crun and runc look nowhere else. Lazily, since the
// mounts below it are in use by nobody here.
func pureCgroup2() error {
	var s unix.Statfs_t
	if err := unix.Statfs(cgroupMount, &s); err != nil {
		return fmt.Errorf("statfs %s: %w", cgroupMount, err)
	}
	if s.Type == unix.CGROUP2_SUPER_MAGIC {
		return nil
	}
	if err := unix.Unmount(cgroupMount, unix.MNT_DETACH); err != nil && err != unix.EINVAL { // EINVAL: nothing is mounted there
		return fmt.Errorf("unmount %s: %w", cgroupMount, err)
	}
	if err := unix.Mount("cgroup2", cgroupMount, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount cgroup2 on %s: %w", cgroupMount, err)
	}
	return nil
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
