// Package descriptors gives a program more open files than the first three.
//
// Two callers ask for it. A service manager that listens in place of the service
// passes the sockets as descriptors 3 and on, and says by LISTEN_FDS how many they
// are ([sd_listen_fds(3)]). An engine says --preserve-fds. In both cases the program
// gets the descriptors with the numbers that our caller gave them, the sockets first.
//
// [sd_listen_fds(3)]: https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html
package descriptors

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Most is how many descriptors a caller can name: no process can have more open (fs.nr_open
// of proc_sys_fs(5) is at most that).
const Most = 1 << 30

// Sockets is how many sockets somebody has opened for the program, from descriptor 3 on:
// LISTEN_FDS, if LISTEN_PID says that they are for this process. What is no number of
// descriptors is an error.
func Sockets() (int, error) {
	text := os.Getenv("LISTEN_FDS")
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > Most {
		return 0, fmt.Errorf("LISTEN_FDS=%q: want 0 to %d", text, Most)
	}
	return n, nil
}

// Check refuses numbers from 3 on that the caller has left empty. A descriptor of
// our own may have taken such a number meanwhile. It is told from the caller's by
// its close-on-exec flag: what we inherited has survived an execve, so has none.
func Check(count int) error {
	for fd := 3; fd < 3+count; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return fmt.Errorf("preserve %d descriptors: descriptor %d is not open", count, fd)
		}
	}
	return nil
}

// Announce returns the spec with the variables that tell the program of its
// sockets, if there are any. LISTEN_PID is 1: the container process is the first one
// of its pid namespace.
func Announce(spec *specs.Spec, sockets int) *specs.Spec {
	if sockets == 0 {
		return spec
	}
	with, process := *spec, *spec.Process
	process.Env = append(process.Env[:len(process.Env):len(process.Env)], "LISTEN_FDS="+strconv.Itoa(sockets), "LISTEN_PID=1")
	with.Process = &process
	return &with
}

// HideOthers keeps the descriptors from first on from all programs that this process
// executes. A hook, or the process that drains a terminal, may live as long as the container:
// it would hold a lock of the caller's (flock(2)), and a pipe would not end. They stay
// open here, because a spec can name one (/proc/self/fd/3 as a namespace). Linux 5.11.
func HideOthers(first int) error {
	if err := unix.CloseRange(uint(first), 1<<32-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	return nil
}

// CloseOthers closes the descriptors from first on that the caller has left open. Those of
// our own are close-on-exec, and stay. The process that enters a container closes them, too,
// but before that the container sees it, and with CAP_SYS_PTRACE could take them
// (CVE-2016-9962).
func CloseOthers(first int) error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd < first {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd) // EIO is the caller's to find out
		}
	}
	return err
}
