// Package listener connects a seccomp filter to the process that answers for it.
//
// A seccomp filter may leave the answer for a system call to a process outside of
// the container, the agent (SCMP_ACT_NOTIFY). The kernel gives the process that
// loads the filter a descriptor on which the questions arrive, and that is the
// child. So the descriptor makes two steps:
//
//	child                     runtime                      agent
//	seccomp(2) -> listener
//	sendmsg    ------------>  receives it
//	                          with the container's state   ------------>
//
// From the moment the filter is loaded, a system call that it covers waits for the
// agent. The child may make such a call as its next step, so the runtime passes the
// descriptor on beside the plan, in a goroutine.
//
// Sources: the runtime-spec's config-linux.md, "The Container Process State";
// [seccomp_unotify(2)].
//
// [seccomp_unotify(2)]: https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html
package listener

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/container/sockets"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An Agent is the connection to a filter's agent.
type Agent struct {
	theirs *os.File   // the child's end of the socketpair
	result chan error // of passing the descriptor on
}

// A Connection to a filter's agent that was made early: an agent that does not accept makes us
// wait, and nobody else must have to wait for us meanwhile, as for a container's lock.
type Connection struct{ to *os.File }

// Connect connects to the agent of a filter, if the filter asks one; else it returns nil.
func Connect(filter *specs.LinuxSeccomp) (*Connection, error) {
	if filter == nil || !slices.ContainsFunc(filter.Syscalls, func(s specs.LinuxSyscall) bool { return s.Action == specs.ActNotify }) {
		return nil, nil
	}
	to, err := sockets.Dial("seccomp listener", filter.ListenerPath)
	return &Connection{to}, err
}

// take returns the connection, or a new one if there is none or it has been taken.
func (c *Connection) take(filter *specs.LinuxSeccomp) (to *os.File, err error) {
	if c == nil || c.to == nil {
		return sockets.Dial("seccomp listener", filter.ListenerPath)
	}
	to, c.to = c.to, nil
	return to, nil
}

// New takes the connection to the agent of a filter, or connects, before there is anything to
// undo. state is that of the container; where it has no pid yet, the agent is told the
// sender's.
func New(c *Connection, filter *specs.LinuxSeccomp, state specs.State) (*Agent, error) {
	to, err := c.take(filter)
	if err != nil {
		return nil, err
	}
	theirs, ours, err := sockets.Pair("seccomp listener")
	if err != nil {
		to.Close()
		return nil, err
	}
	// The kernel then tells the child's process id as it is outside; the child itself
	// knows only the one inside. No Unix socket refuses this option.
	unix.SetsockoptInt(int(ours.Fd()), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	message := specs.ContainerProcessState{Version: specs.Version, Fds: []string{specs.SeccompFdName},
		Metadata: filter.ListenerMetadata, State: state}
	a := &Agent{theirs: theirs, result: make(chan error, 1)}
	go func() {
		a.result <- passOn(ours, to, message)
		ours.Close()
		to.Close()
	}()
	return a, nil
}

// FD is the socket into which the child sends the listener (plan.Listener).
func (a *Agent) FD() int { return int(a.theirs.Fd()) }

// passOn waits for the descriptor and sends it to the agent.
func passOn(from, to *os.File, message specs.ContainerProcessState) error {
	listener, sender, err := sockets.Receive(from)
	if err != nil {
		return fmt.Errorf("seccomp listener: %w", err)
	}
	defer listener.Close()
	message.Pid = sender
	if message.State.Pid == 0 {
		message.State.Pid = sender
	}
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if err := sockets.Send(to, text, int(listener.Fd())); err != nil {
		return fmt.Errorf("seccomp listener: %w", err)
	}
	return nil
}

// Finish waits until the agent has the descriptor. Call it when the child has
// executed its program, or has failed: closing the child's end here is what ends
// the waiting if the child never sent anything.
func (a *Agent) Finish() error {
	a.theirs.Close()
	return <-a.result
}
