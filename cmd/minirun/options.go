package main

import (
	"errors"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"minirun/container"
	"minirun/container/sockets"
)

// options are what create, run and exec have in common.
func options(c *cli.Context) (o container.Options, err error) {
	o = container.Options{PidFile: c.String("pid-file"), PreserveFDs: c.Int("preserve-fds"), ListenFDs: listenFDs(), OldKeys: c.Bool("no-new-keyring"), Warn: warn, Systemd: bySystemd(c), NoCgroup: c.String("cgroup-manager") == "disabled"}
	if o.PreserveFDs < 0 {
		return o, usage{errors.New("--preserve-fds: want 0 or more")}
	}
	if c.IsSet("pidfd-socket") {
		o.PidFD, err = sockets.Dial("pidfd socket", c.String("pidfd-socket"))
	}
	return o, err
}

// listenFDs is how many sockets somebody has opened for the program, by
// LISTEN_FDS (sd_listen_fds(3)): from descriptor 3 on, and only if they are
// meant for us.
func listenFDs() int {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// notifySocket is where a service manager hears that the program is ready; ""
// if none wants to.
func notifySocket() string { return os.Getenv("NOTIFY_SOCKET") }

// errConsole: a socket for a terminal that nobody would send.
var errConsole = errors.New("--console-socket: wants a terminal (process.terminal, exec -t), and the runtime to leave (-d)")
