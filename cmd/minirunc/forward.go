package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cmd/early"
)

// A program in a container gets the signals that minirunc gets. But it is mostly process 1
// of its pid namespace, and the kernel drops a signal to that for which it has no handler
// (pid_namespaces(7)). So
//
//   - a signal that comes before the program has set up its handlers, in its first second,
//     waits for them;
//   - after the third SIGINT, or ^C, that was dropped, minirunc says so and kills it. Only
//     for people: an engine decides that itself;
//   - if the terminal is gone, nobody can end the program any more: one that does not end
//     by SIGHUP is killed. The caller of nohup(1) does not want that, and ignores SIGHUP.

const (
	youth     = time.Second     // how long a signal waits for the program's handlers
	afterHUP  = 5 * time.Second // how long a program may take to end after its terminal has gone
	enoughINT = 3
)

// A target is a program that signals are passed on to.
type target struct {
	pid, pidfd int
	master     *os.File  // of its terminal; nil: it has none of ours
	begun      time.Time // when it was executed
	dropped    int       // how many SIGINTs the kernel has dropped
	kill       func()    // says why, and kills; nil: engines are not told
}

// forward passes signals on to the program until it has ended. Changes of the window's size
// go to the program's terminal. A program without one does not hear of them, since our
// window is not its window, and httpd would take SIGWINCH for a call to stop.
func (c *catcher) forward(t *target) {
	if t.master != nil {
		resize(t.master) // the window may have changed before we caught signals
		go c.watchTerminal()
	}
	go func() {
		for s := range c.signals {
			switch {
			case s == unix.SIGWINCH && t.master != nil:
				resize(t.master)
			case s == unix.SIGWINCH:
			case s == unix.SIGHUP && t.master != nil:
				t.hangUp()
			default:
				t.send(s.(unix.Signal))
			}
		}
	}()
}

// watchTerminal waits until our terminal is gone, which is a SIGHUP. The kernel sends one
// only to some of the processes that use it.
func (c *catcher) watchTerminal() {
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err != nil && err != unix.EIO || signal.Ignored(unix.SIGHUP) {
		return // ENOTTY: it is none. EIO: it is gone already
	}
	for fds := []unix.PollFd{{Fd: 0}}; ; { // no event but POLLHUP
		if n, err := unix.Poll(fds, -1); n > 0 || err != unix.EINTR {
			c.signals <- unix.SIGHUP
			return
		}
	}
}

// send sends a signal by a pidfd: when the program has ended, its number may be another
// process's.
func (t *target) send(s unix.Signal) {
	if slices.Contains(early.Stopping, os.Signal(s)) {
		for t.drops(s) && time.Since(t.begun) < youth {
			time.Sleep(5 * time.Millisecond)
		}
	}
	if s == unix.SIGINT && t.drops(s) {
		t.dropped++
	}
	unix.PidfdSendSignal(t.pidfd, s, nil, 0) // ESRCH: it has ended
	if t.dropped == enoughINT && t.kill != nil {
		t.kill()
	}
}

// hangUp tells the program that its terminal is gone, and kills it if it does not end.
func (t *target) hangUp() {
	wait := afterHUP
	if t.drops(unix.SIGHUP) {
		wait = 0
	}
	t.send(unix.SIGHUP)
	t.send(unix.SIGCONT) // a stopped one would not end
	time.AfterFunc(wait, func() { unix.PidfdSendSignal(t.pidfd, unix.SIGKILL, nil, 0) })
}

// pressed tells of a key that was typed. ^C goes to the processes in the foreground of the
// program's terminal. If that is the program itself, and it drops SIGINT, send counts it.
func (c *catcher) pressed(t *target) {
	mode, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
	group, _ := unix.IoctlGetInt(int(t.master.Fd()), unix.TIOCGPGRP)
	if err == nil && mode.Lflag&unix.ISIG != 0 && group == t.pid && t.drops(unix.SIGINT) {
		c.signals <- unix.SIGINT
	}
}

// keys reads what is typed, and tells of each ^C.
type keys struct {
	io.Reader
	pressed func()
}

func (k keys) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if bytes.IndexByte(p[:n], 3) >= 0 {
		k.pressed()
	}
	return n, err
}

// drops says whether the kernel drops a signal to the program, or the program ignores it.
// /proc/PID/status says which it catches, and its number in its own pid namespace:
//
//	NSpid:	4711	1
//	SigCgt:	0000000000004002
func (t *target) drops(s unix.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.pid))
	first, caught := false, uint64(0)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "NSpid:"):
			first = len(fields) > 2 && fields[len(fields)-1] == "1"
		case strings.HasPrefix(line, "SigCgt:") && len(fields) == 2:
			caught, _ = strconv.ParseUint(fields[1], 16, 64) // the kernel writes hexadecimal digits
		}
	}
	return err == nil && first && caught&(1<<(s-1)) == 0
}
