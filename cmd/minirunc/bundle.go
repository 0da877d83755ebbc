package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"minirun/container"
	"minirun/container/config"
	"minirun/container/descriptors"
	"minirun/container/files"
	"minirun/container/sockets"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// bundleFlags are those of create and run.
type bundleFlags struct {
	processFlags
	dir     *string
	oldKeys *bool
}

func (c *call) bundleFlags() bundleFlags {
	f := bundleFlags{
		processFlags: c.processFlags(),
		dir:          c.flags.text("bundle b", "the bundle is in `DIR`; the current directory if not given"),
		oldKeys:      c.flags.yes("no-new-keyring", "leave the caller's session keyring to the program"),
	}
	c.flags.yes("no-pivot", "")     // pivot_root works on every root, also on an initramfs: nothing to do
	c.flags.yes("no-subreaper", "") // minirunc never is one
	return f
}

// processFlags are those of all commands that start a program: create, run and
// exec.
type processFlags struct {
	lookFlags
	consoleSocket *string
	pidFile       *string
	pidfdSocket   *string
	preserve      *int
}

func (c *call) processFlags() processFlags {
	return processFlags{
		lookFlags:     c.lookFlags(),
		consoleSocket: c.flags.text("console-socket", "send the terminal to the Unix socket at `PATH`"),
		pidFile:       c.flags.text("pid-file", "write the process id to `FILE`"),
		pidfdSocket:   c.flags.text("pidfd-socket", "send a pidfd of the process to the Unix socket at `PATH`"),
		preserve:      c.flags.number("preserve-fds", "pass on `N` descriptors from 3 on"),
	}
}

// options are what the flags ask of package container.
func (f processFlags) options(c *call) (o container.Options, err error) {
	o = container.Options{PidFile: *f.pidFile, PreserveFDs: *f.preserve, Warn: c.log.warn,
		Systemd: c.systemd, NoCgroup: c.manager == "disabled"}
	if n := o.PreserveFDs; n < 0 || n > descriptors.Most {
		return o, fmt.Errorf("--preserve-fds %d: want 0 to %d", n, descriptors.Most)
	}
	if o.ListenFDs, err = descriptors.Sockets(); err != nil {
		return o, err
	}
	if o.PidFile != "" {
		if err := files.CheckRegular(o.PidFile); err != nil {
			return o, fmt.Errorf("--pid-file: %w", err)
		}
	}
	if o.Engine, err = f.look(c.log); err != nil {
		return o, err
	}
	if *f.pidfdSocket != "" {
		o.PidFD, err = sockets.Dial("pidfd socket", *f.pidfdSocket)
	}
	return o, err
}

func (f bundleFlags) options(c *call) (container.Options, error) {
	o, err := f.processFlags.options(c)
	o.OldKeys = *f.oldKeys
	return o, cmp.Or(err, descriptors.HideOthers(3+o.ListenFDs+o.PreserveFDs))
}

// read reads the bundle of a new container, after the checks that need no bundle.
// text is its config.json as it was read.
func (f bundleFlags) read(c *call) (dir string, spec *specs.Spec, text []byte, err error) {
	if err := errors.Join(container.CheckID(c.args[0]), c.checkManager()); err != nil {
		return "", nil, nil, err
	}
	if dir, err = filepath.Abs(*f.dir); err != nil {
		return "", nil, nil, err
	}
	spec, text, err = config.Read(dir)
	return dir, spec, text, err
}

// notifySocket is where a service manager waits to be told that the program is
// ready; "" if none does.
func notifySocket() string { return os.Getenv("NOTIFY_SOCKET") }

// errConsole says that nothing could be sent to the socket, or that minirunc
// itself would need the terminal.
var errConsole = errors.New("--console-socket: wants a terminal (process.terminal, exec -t), and the runtime to leave (-d)")
