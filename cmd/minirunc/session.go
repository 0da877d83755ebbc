package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/sockets"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A session is one program that minirunc starts, by run or by exec: from its
// making to its end or, if it is detached, to its start.
type session struct {
	*call
	people  people
	spec    *specs.Spec
	options container.Options
	detach  bool
	socket  *os.File // sends us the master of the program's terminal; nil: we need none
	master  *os.File // of the program's terminal; nil: see socket
}

// terminal lets minirunc itself take the program's terminal.
func (s *session) terminal() (err error) {
	if s.options.Console, s.socket, err = sockets.Pair("terminal"); err == nil && !s.detach {
		s.options.Terminal = s.receiveTerminal
	}
	return err
}

// attach waits for the program. Meanwhile its terminal and pipes are connected
// with the caller's, and signals are passed on. If that does not work, end is called
// to end the program.
func (s *session) attach(p *plan.Process, signals *catcher, pipes *insulation, end func() error) (unix.WaitStatus, error) {
	t, err := s.target(p)
	done := pipes.finish
	if err == nil && s.socket != nil {
		done, err = s.attachTerminal(func() { signals.pressed(t) })
		t.master = s.master
	}
	if err != nil {
		return 0, errors.Join(err, end())
	}
	signals.forward(t)
	status, err := p.Wait()
	done()
	return status, err
}

// target is the program, to pass signals on to.
func (s *session) target(p *plan.Process) (*target, error) {
	pidfd, err := unix.PidfdOpen(p.Pid, 0) // it is not reaped yet, so the number is certainly its own
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", p.Pid, err)
	}
	t := &target{pid: p.Pid, pidfd: pidfd, begun: time.Now()}
	if s.people.insulate {
		t.kill = func() {
			s.log.warn(fmt.Sprintf("%s does not handle SIGINT: it is killed after the third", s.spec.Process.Args[0]))
			unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) // ESRCH: it has ended
		}
	}
	return t, nil
}

// drain leaves a process behind that writes what comes out of the terminal to the
// container's log, or nowhere: a terminal that nobody reads is full after a few
// pages, and its program stops.
func (s *session) drain() error {
	master, _, err := sockets.Receive(s.socket)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "drain")
	cmd.Args[0], cmd.Dir = "minirunc", "/" // the caller's directory would stay in use
	cmd.Stdin = master
	if s.options.Stdout != nil { // else /dev/null
		cmd.Stdout = s.options.Stdout
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true} // a ^C in the user's terminal is not for it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("drain the terminal: %w", err)
	}
	return cmd.Process.Release()
}

// drain is the command of the process that is left behind.
func drain(*call) error {
	io.Copy(os.Stdout, os.Stdin) // EIO: the last process closed the terminal
	return nil
}
