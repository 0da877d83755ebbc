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
	"strconv"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

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
