package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A seccomp filter may leave the answer for a system call to a process outside,
// the agent (SCMP_ACT_NOTIFY). The one who loads the filter gets a descriptor
// for that, so the child does; it passes it to us over a socketpair, and we to
// the agent's socket, with the container's state (runtime-spec, config-linux.md,
// "The Container Process State"; seccomp_unotify(2)).
//
// From the moment the filter is loaded the child waits for the agent, so this
// happens beside the plan.
type agent struct {
	theirs int        // the child's end of the socketpair
	result chan error // of passing the descriptor on
}

// agent connects to the agent of a filter, before there is anything to undo.
func (b *builder) agent(filter *specs.LinuxSeccomp) (*agent, error) {
	status := specs.StateCreating
	if b.Pid != 0 {
		var err error
		if status, err = b.Status(); err != nil {
			return nil, err
		}
	}
	to, err := dial("seccomp listener", filter.ListenerPath)
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		to.Close()
		return nil, fmt.Errorf("socketpair for the seccomp listener: %w", err)
	}
	// The sender's id is that of the container process, as the kernel tells it.
	unix.SetsockoptInt(pair[1], unix.SOL_SOCKET, unix.SO_PASSCRED, 1) // fails for no Unix socket
	state := specs.ContainerProcessState{Version: specs.Version, Fds: []string{specs.SeccompFdName},
		Metadata: filter.ListenerMetadata, State: b.oci(status)}
	a := &agent{theirs: pair[0], result: make(chan error, 1)}
	go func() {
		a.result <- passOn(pair[1], to, state)
		unix.Close(pair[1]) // EIO cannot be for a socket
		to.Close()
	}()
	return a, nil
}

// passOn waits for the descriptor and sends it to the agent.
func passOn(from int, to *os.File, state specs.ContainerProcessState) error {
	data, control := make([]byte, 64), make([]byte, unix.CmsgSpace(4)+unix.CmsgSpace(unix.SizeofUcred))
	_, n, _, _, err := unix.Recvmsg(from, data, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return errors.Join(errors.New("seccomp listener: the container sent none"), err)
	}
	fd, pid, err := rightsAndSender(control[:n])
	if err != nil {
		return fmt.Errorf("seccomp listener: %w", err)
	}
	defer unix.Close(fd)
	state.Pid = pid
	if state.State.Pid == 0 {
		state.State.Pid = pid
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(int(to.Fd()), text, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send the seccomp listener to %s: %w", to.Name(), err)
	}
	return nil
}

// rightsAndSender takes a descriptor and the sender's process id out of the
// control messages of a Unix socket (unix(7)).
func rightsAndSender(control []byte) (fd, pid int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return -1, 0, err
	}
	fd = -1
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
			fd = fds[0]
		}
		if sender, err := unix.ParseUnixCredentials(&m); err == nil {
			pid = int(sender.Pid)
		}
	}
	if fd < 0 || pid == 0 {
		return -1, 0, errors.New("no descriptor came")
	}
	return fd, pid, nil
}

// finish ends what agent has begun: after a start that has failed, or with an
// error if the agent does not have the descriptor.
func (a *agent) finish(p *plan.Process) error {
	unix.Close(a.theirs) // EIO cannot be for a socket
	err := <-a.result
	if p == nil {
		return nil // the failure of the start says why
	}
	return err
}
