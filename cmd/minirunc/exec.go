package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"minirun/cmd/fresh"
	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/descriptors"
	"minirun/container/exit"
	"minirun/container/protect"
	"minirun/container/sockets"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// execFlags are those of exec. Those from env on change the container's own process
// into the one to run; --process brings a whole one instead.
type execFlags struct {
	processFlags
	detach, insulate, interactive *bool
	process                       *string
	cgroup                        *string
	ignorePaused                  *bool

	env, groups, caps *[]string
	user, cwd         *string
	tty, noNewPrivs   *bool
	label, apparmor   *string
}

func (c *call) execFlags() execFlags {
	return execFlags{
		processFlags: c.processFlags(),
		detach:       c.flags.yes("detach d", "do not wait for the program's end"),
		insulate:     c.flags.yes("insulate", ""),
		interactive:  c.flags.yes("interactive", ""),
		process:      c.flags.text("process p", "read the process from the JSON in `FILE`"),
		cgroup:       c.flags.text("cgroup", "start in the existing group at `PATH` below the container's"),
		ignorePaused: c.flags.yes("ignore-paused", "wait until somebody resumes a paused container"),
		env:          c.flags.list("env e", "set `NAME=VALUE`"),
		groups:       c.flags.list("additional-gids g", "one more group `ID`"),
		caps:         c.flags.list("cap c", "one more `CAPABILITY`"),
		user:         c.flags.text("user u", "run as `UID[:GID]`"),
		cwd:          c.flags.text("cwd", "start in `DIR`"),
		tty:          c.flags.yes("tty t", "give the program a terminal"),
		noNewPrivs:   c.flags.yes("no-new-privs", "the program can gain no privileges"),
		label:        c.flags.text("process-label", "the program's SELinux `LABEL`"),
		apparmor:     c.flags.text("apparmor", "the program's AppArmor `PROFILE`"),
	}
}

func execute(c *call) error {
	f := c.execFlags()
	if err := c.parse(1, programs); err != nil {
		return err
	}
	if len(c.args) < 2 && *f.process == "" {
		return c.usage(errors.New("want a container and a command"))
	}
	s := &session{call: c, detach: *f.detach, people: people{insulate: *f.insulate, interactive: *f.interactive}}
	if *f.insulate {
		c.log.people = true
	}
	code, err := s.exec(f)
	switch {
	case err != nil && *f.insulate:
		return peopleCode(err)
	case err != nil:
		return report.Failure{Err: err, Code: 255}
	}
	return report.Exited(code)
}

// exec starts the program and, unless it is detached, waits for its end.
func (s *session) exec(f execFlags) (int, error) {
	if err := protect.Protect(); err != nil {
		return 0, err
	}
	fresh.Start()
	k, err := s.load()
	if err != nil {
		return 0, err
	}
	if err := s.prepare(k, f); err != nil {
		return 0, err
	}
	pipes := &insulation{}
	if s.people.insulate && !s.detach {
		if pipes, err = s.insulate(); err != nil {
			return 0, err
		}
	}
	signals := &catcher{}
	s.options.Engine.Stopped = signals.interrupted
	p, err := k.Exec(s.spec.Process, s.spec.Linux, s.options)
	pipes.started()
	switch {
	case err != nil, s.detach && s.socket == nil:
		return 0, err
	case s.detach:
		return 0, s.drain()
	}
	status, err := s.attach(p, signals, pipes, func() error { return nil })
	return exit.Code(status), err
}

// prepare decides what is run, and how.
func (s *session) prepare(k *container.Container, f execFlags) (err error) {
	if s.spec, err = k.Spec(); err != nil {
		return err
	}
	if err := s.changeProcess(f); err != nil {
		return err
	}
	if s.options, err = f.options(s.call); err != nil {
		return err
	}
	s.options.Cgroup, s.options.IgnorePaused = *f.cgroup, *f.ignorePaused
	if err := descriptors.CloseOthers(3 + s.options.ListenFDs + s.options.PreserveFDs); err != nil {
		return err
	}
	return s.files(f)
}

// files decides what the program's descriptors 0, 1 and 2 are.
func (s *session) files(f execFlags) (err error) {
	terminal := s.spec.Process.Terminal
	switch {
	case *f.consoleSocket != "" && !(terminal && s.detach):
		return errConsole
	case *f.consoleSocket != "":
		s.options.Console, err = sockets.Dial("console socket", *f.consoleSocket)
	case terminal && s.detach && !s.people.insulate:
		return errors.New("exec -d -t: who takes the terminal? give a --console-socket")
	case terminal:
		err = s.terminal()
	case s.people.insulate && !s.people.interactive:
		s.options.Stdin, err = os.Open("/dev/null")
	}
	if err == nil && s.people.insulate && s.detach {
		return s.silence()
	}
	return err
}

// changeProcess turns the container's process into the one to run.
func (s *session) changeProcess(f execFlags) error {
	if *f.process != "" {
		data, err := os.ReadFile(*f.process)
		if err != nil {
			return err
		}
		s.spec.Process = &specs.Process{}
		if err := json.Unmarshal(data, s.spec.Process); err != nil {
			return fmt.Errorf("%s: %w", *f.process, err)
		}
		return nil
	}
	p := s.spec.Process
	p.Args, p.Terminal, p.ConsoleSize = s.args[1:], *f.tty, terminalSize()
	p.Cwd = cmp.Or(*f.cwd, p.Cwd)
	p.Env = append(p.Env, *f.env...)
	p.NoNewPrivileges = p.NoNewPrivileges || *f.noNewPrivs
	p.SelinuxLabel = cmp.Or(*f.label, p.SelinuxLabel)
	p.ApparmorProfile = cmp.Or(*f.apparmor, p.ApparmorProfile)
	p.Capabilities = moreCapabilities(p.Capabilities, *f.caps)
	return changeUser(&p.User, *f.user, *f.groups)
}

// moreCapabilities adds to those that the program has, but not to those that it
// can hand on.
func moreCapabilities(has *specs.LinuxCapabilities, more []string) *specs.LinuxCapabilities {
	if len(more) == 0 {
		return has
	}
	caps := specs.LinuxCapabilities{}
	if has != nil {
		caps = *has
	}
	for _, set := range []*[]string{&caps.Bounding, &caps.Permitted, &caps.Effective} {
		*set = append((*set)[:len(*set):len(*set)], more...)
	}
	return &caps
}

// changeUser takes UID[:GID], and more groups.
func changeUser(u *specs.User, user string, groups []string) error {
	parse := func(what, text string, to *uint32) error {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("exec: %s %s: no such id", what, text)
		}
		*to = uint32(n)
		return nil
	}
	if user != "" {
		uid, gid, both := strings.Cut(user, ":")
		if err := parse("user", uid, &u.UID); err != nil {
			return err
		}
		if both {
			if err := parse("group", gid, &u.GID); err != nil {
				return err
			}
		}
	}
	for _, text := range groups {
		var gid uint32
		if err := parse("group", text, &gid); err != nil {
			return err
		}
		u.AdditionalGids = append(u.AdditionalGids, gid)
	}
	return nil
}
