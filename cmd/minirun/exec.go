package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/protect"
	"minirun/container/sockets"
	"minirun/process"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "run one more program in a running container",
		ArgsUsage: "CONTAINER COMMAND [ARG...]   |   --process FILE ID",
		Description: "Examples:\n" +
			"   minirun exec web ps\n" +
			"   minirun exec -it web sh",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for the program"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "keep standard input open"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the program a terminal"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME=VALUE`"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w", "cwd"}, Usage: "start in `DIR`"},
			&cli.StringFlag{Name: "process", Aliases: []string{"p"}, Usage: "read the process from the JSON in `FILE`"},
			&cli.StringFlag{Name: "console-socket", Usage: "send the terminal to the Unix socket at `PATH`"},
			&cli.StringFlag{Name: "pid-file", Usage: "write the program's process id to `FILE`"},
			&cli.StringFlag{Name: "pidfd-socket", Usage: "send a pidfd of the program to the Unix socket at `PATH`"},
			&cli.IntFlag{Name: "preserve-fds", Usage: "pass on `N` descriptors from 3 on"},
			&cli.Int64SliceFlag{Name: "additional-gids", Aliases: []string{"g"}, Usage: "one more group `ID`"},
			&cli.StringSliceFlag{Name: "cap", Aliases: []string{"c"}, Usage: "one more `CAPABILITY`"},
			&cli.BoolFlag{Name: "no-new-privs", Usage: "the program can gain no privileges"},
			&cli.StringFlag{Name: "process-label", Usage: "the program's SELinux `LABEL`"},
			&cli.StringFlag{Name: "apparmor", Usage: "the program's AppArmor `PROFILE`"},
			&cli.StringFlag{Name: "cgroup", Usage: "start in the existing group at `PATH` below the container's"},
			&cli.BoolFlag{Name: "ignore-paused", Usage: "wait until somebody resumes a paused container"},
		}, lookFlags()...),
		Action: func(c *cli.Context) error {
			code, err := execute(c)
			if err != nil {
				return exitOf(err)
			}
			if code != 0 {
				return exit(code)
			}
			return nil
		},
	}
}

func execute(c *cli.Context) (int, error) {
	if err := protect.Protect(); err != nil {
		return 0, err
	}
	if c.Args().Len() < 2 && !(c.Args().Len() == 1 && c.IsSet("process")) {
		return 0, usage{errors.New("exec: want a container and a command")}
	}
	k, err := find(c, c.Args().First())
	if err != nil {
		return 0, err
	}
	spec, err := k.Spec()
	if err != nil {
		return 0, err
	}
	if err := execProcess(c, k, spec); err != nil {
		return 0, err
	}
	look, err := look(c)
	if err != nil {
		return 0, err
	}
	s := &session{context: c, id: k.ID, spec: spec}
	if s.options, err = options(c); err != nil {
		return 0, err
	}
	if err := closeInherited(3 + s.options.ListenFDs + s.options.PreserveFDs); err != nil {
		return 0, err
	}
	s.options.Engine, s.options.Cgroup, s.options.IgnorePaused = look, c.String("cgroup"), c.Bool("ignore-paused")
	return s.exec(k)
}

// closeInherited closes the descriptors from first on that the caller left
// open. The process that enters closes them, too, but there is a moment before
// in which the container sees it, and with CAP_SYS_PTRACE looks into it
// (CVE-2016-9962). Those of our own are close-on-exec.
func closeInherited(first int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < first {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd) // EIO is for the caller to know
		}
	}
	return nil
}

// exec starts the program and, unless it is detached, waits for it.
func (s *session) exec(k *container.Container) (int, error) {
	c := s.context
	var err error
	switch {
	case c.IsSet("console-socket"):
		if !s.spec.Process.Terminal || !c.Bool("detach") {
			return 0, errConsole
		}
		s.options.Console, err = sockets.Dial("console socket", c.String("console-socket"))
	case s.spec.Process.Terminal && c.Bool("detach") && (c.IsSet("process") || c.IsSet("pid-file")):
		return 0, errors.New("exec -d -t: who takes the terminal? give a --console-socket")
	case s.spec.Process.Terminal:
		s.options.Console, s.socket, err = sockets.Pair("terminal")
	case !c.Bool("interactive") && !c.IsSet("process"):
		s.options.Stdin, err = os.Open("/dev/null")
	}
	if err != nil {
		return 0, err
	}
	signals := &catcher{}
	pipes := &insulation{}
	if k.Annotations[bundle.Name] != "" && !c.IsSet("process") {
		if c.Bool("detach") {
			err = s.silence()
		} else {
			pipes, err = s.insulate()
		}
		if err != nil {
			return 0, err
		}
	}
	s.options.Engine.Stopped = signals.interrupted
	p, err := k.Exec(s.spec.Process, s.spec.Linux, s.options)
	pipes.started()
	if err != nil || c.Bool("detach") && s.socket == nil {
		return 0, err
	}
	if c.Bool("detach") {
		return 0, s.drain()
	}
	done := pipes.finish
	if s.socket != nil {
		done, err = s.attachTerminal()
	}
	if err := errors.Join(err, signals.forward(p, s.master)); err != nil {
		return 0, err
	}
	status, err := p.Wait()
	done()
	return container.ExitCode(status), err
}

// execProcess changes the container's process into the one to run.
func execProcess(c *cli.Context, k *container.Container, spec *specs.Spec) error {
	if c.IsSet("process") {
		data, err := os.ReadFile(c.String("process"))
		if err != nil {
			return err
		}
		spec.Process = &specs.Process{}
		if err := json.Unmarshal(data, spec.Process); err != nil {
			return fmt.Errorf("%s: %w", c.String("process"), err)
		}
		return nil
	}
	p := spec.Process
	p.Args, p.Terminal = c.Args().Tail(), c.Bool("tty")
	p.ConsoleSize = terminalSize()
	if c.IsSet("workdir") {
		p.Cwd = c.String("workdir")
	}
	if c.IsSet("user") {
		if err := execUser(c, k, p); err != nil {
			return err
		}
	}
	for _, e := range c.StringSlice("env") {
		if !strings.Contains(e, "=") {
			e += "=" + os.Getenv(e)
		}
		p.Env = append(p.Env, e)
	}
	return execPrivileges(c, p)
}

// execPrivileges changes what the program may do. A capability more is one that
// it has, and not one that it can hand on.
func execPrivileges(c *cli.Context, p *specs.Process) error {
	for _, gid := range c.Int64Slice("additional-gids") {
		if gid < 0 || gid > math.MaxUint32 {
			return usage{fmt.Errorf("exec: group %d: no such id", gid)}
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(gid))
	}
	if more := c.StringSlice("cap"); len(more) > 0 {
		caps := specs.LinuxCapabilities{}
		if p.Capabilities != nil {
			caps = *p.Capabilities
		}
		for _, set := range []*[]string{&caps.Bounding, &caps.Permitted, &caps.Effective} {
			*set = append((*set)[:len(*set):len(*set)], more...)
		}
		p.Capabilities = &caps
	}
	p.NoNewPrivileges = p.NoNewPrivileges || c.Bool("no-new-privs")
	p.SelinuxLabel = cmp.Or(c.String("process-label"), p.SelinuxLabel)
	p.ApparmorProfile = cmp.Or(c.String("apparmor"), p.ApparmorProfile)
	return nil
}

// execUser looks a user up in the container's own files, as they are now, and
// goes home with them, unless -e says otherwise.
func execUser(c *cli.Context, k *container.Container, p *specs.Process) error {
	passwd, err := k.Passwd("etc/passwd")
	if err != nil {
		return err
	}
	defer passwd.Close()
	group, err := k.Passwd("etc/group")
	if err != nil {
		return err
	}
	defer group.Close()
	user, home, err := process.Lookup(c.String("user"), passwd, group)
	if err != nil {
		return err
	}
	user.Umask = p.User.Umask
	p.User = user
	p.Env = append(p.Env, "HOME="+cmp.Or(home, "/"))
	return nil
}

// find returns the container with a name, an id or its beginning: one of the
// store's, or one that was made from a bundle of the user's own.
func find(c *cli.Context, word string) (*container.Container, error) {
	id := word
	if b, err := store(c).Find(word); err == nil {
		id = b.ID
	} else if !errors.Is(err, bundle.ErrNoSuch) {
		return nil, err
	}
	return root(c).Load(id)
}
