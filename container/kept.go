package container

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A program can get descriptors beyond the first three: n sockets that LISTEN_FDS
// speaks of (sd_listen_fds(3)), and after them those of --preserve-fds, in the
// order and with the numbers that our caller gave them: 3, 4 and so on.

// kept is how many they are.
func (o Options) kept() int { return o.ListenFDs + o.PreserveFDs }

// checkKept refuses numbers that the caller has left empty. Something of our own
// may have got one meanwhile: it closes at execve, as what we were given does
// not, or it would not be here.
func (o Options) checkKept() error {
	for fd := 3; fd < 3+o.kept(); fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return fmt.Errorf("preserve %d descriptors: descriptor %d is not open", o.kept(), fd)
		}
	}
	return nil
}

// listening is the spec with what tells the program of its sockets. As the first
// process of a pid namespace it is number 1.
func (o Options) listening(spec *specs.Spec) *specs.Spec {
	if o.ListenFDs == 0 {
		return spec
	}
	with, process := *spec, *spec.Process
	process.Env = append(process.Env[:len(process.Env):len(process.Env)], "LISTEN_FDS="+strconv.Itoa(o.ListenFDs), "LISTEN_PID=1")
	with.Process = &process
	return &with
}
