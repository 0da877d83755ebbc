package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/config"
	"minirun/container/protect"
	"minirun/container/sockets"
	"minirun/plan"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// requestFlags are what one can ask of a container made from an image.
func requestFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "keep standard input open"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the container a terminal"},
		&cli.StringFlag{Name: "name", Usage: "call the container `NAME`"},
		&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "limit memory to `SIZE` (512k, 64m, 1g)"},
		&cli.Float64Flag{Name: "cpus", Usage: "limit CPU time to that of `N` processors (0.5)"},
		&cli.Int64Flag{Name: "pids-limit", Usage: "limit processes and threads to `N`; -1 for no limit"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME=VALUE`, or pass on NAME"},
		&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "mount a host's directory or file: `SOURCE:DESTINATION[:ro]`"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`, names or numbers"},
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`"},
		&cli.StringFlag{Name: "hostname", Aliases: []string{"h"}, Usage: "call the host `NAME`"},
		&cli.BoolFlag{Name: "read-only", Usage: "make the root file system read-only"},
		&cli.StringFlag{Name: "network", Usage: "`none`: loopback only; host: the host's", Value: "none"},
		&cli.StringFlag{Name: "entrypoint", Usage: "run `PROGRAM` instead of the image's entrypoint"},
		&cli.StringSliceFlag{Name: "cap-add", Usage: "add a `CAPABILITY`, or ALL"},
		&cli.StringSliceFlag{Name: "cap-drop", Usage: "drop a `CAPABILITY`, or ALL"},
		&cli.StringSliceFlag{Name: "without", Usage: "take a `LAYER` of the container's away, to see what it is for: " + strings.Join(bundle.LayerNames(), ", ")},
		&cli.BoolFlag{Name: "rm", Usage: "remove the container when it ends"},
	}
}

// lookFlags make a plan visible while it runs.
func lookFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "explain", Usage: "print each system call as it happens, with its time"},
		&cli.BoolFlag{Name: "step", Usage: "wait for Enter before each system call"},
		&cli.StringFlag{Name: "fault", Usage: "break on purpose: let step `N=ERRNO` fail, or kill who makes it (N=KILL)"},
	}
}

// hasBundle says whether a command line of run has a bundle: a -b behind the
// image is its program's.
func hasBundle(words []string) bool {
	_, rest := globals(words)
	if len(rest) == 0 {
		return false
	}
	flags, _, err := arrangeWords(slices.Concat(runFlags(), requestFlags(), monitorFlags()), rest[1:], false)
	return err == nil && slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--bundle") })
}

// bundleFlags are those of the form that container engines use.
func bundleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Usage: "run the OCI bundle in `DIR`; the argument is then the container's id"},
		&cli.StringFlag{Name: "console-socket", Usage: "send the terminal to the Unix socket at `PATH`"},
		&cli.StringFlag{Name: "pid-file", Usage: "write the container's process id to `FILE`"},
		&cli.StringFlag{Name: "pidfd-socket", Usage: "send a pidfd of the process to the Unix socket at `PATH`"},
		&cli.IntFlag{Name: "preserve-fds", Usage: "pass on `N` descriptors from 3 on"},
		&cli.BoolFlag{Name: "no-pivot", Hidden: true},
		&cli.BoolFlag{Name: "no-new-keyring", Usage: "leave the caller's session keyring to the program"},
		&cli.BoolFlag{Name: "no-subreaper", Hidden: true}, // we never are one
	}
}

// runFlags are those that both forms of run have.
func runFlags() []cli.Flag {
	return slices.Concat(lookFlags(), bundleFlags(), []cli.Flag{
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "run in the background and print the id"},
	})
}

func runCommand() *cli.Command {
	flags := runFlags()
	if hasBundle(os.Args[1:]) {
		flags = append(flags, monitorFlags()...)
	} else {
		flags = append(requestFlags(), flags...)
	}
	return &cli.Command{
		Name:      "run",
		Usage:     "make a container from an image (or a bundle) and run it",
		ArgsUsage: "IMAGE [COMMAND [ARG...]]   |   --bundle DIR ID",
		Description: "Examples:\n" +
			"   minirun run --rm -it busybox                  a shell in a container\n" +
			"   minirun run -d --name web httpd               in the background\n" +
			"   minirun run -m 64m --cpus 0.5 httpd           with limits\n" +
			"   minirun run --rm -v $PWD:/src:ro busybox ls /src\n" +
			"   minirun run --explain --rm busybox true       see every system call\n" +
			"   minirun run --bundle ./bundle web             an OCI bundle",
		Flags:  flags,
		Action: run,
	}
}

// monitorFlags are those of the second stage of run IMAGE, for which the
// container is one of the store's. The name is there to be seen in ps.
func monitorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "monitor", Hidden: true},
		&cli.BoolFlag{Name: "keep", Usage: "leave the container's state until delete"},
		&cli.StringFlag{Name: "name", Hidden: true},
		&cli.BoolFlag{Name: "interactive", Hidden: true},
	}
}

func run(c *cli.Context) error {
	if c.IsSet("bundle") {
		if err := protect.Protect(); err != nil {
			return failure{err, 125}
		}
		return runBundle(c)
	}
	if !c.Args().Present() {
		return failure{usage{errors.New("run: no image given; see minirun run --help")}, 125}
	}
	for _, flag := range []string{"console-socket", "pid-file", "pidfd-socket", "preserve-fds", "no-new-keyring", "keep"} {
		if c.IsSet(flag) {
			return failure{usage{fmt.Errorf("run: --%s goes with --bundle only", flag)}, 125}
		}
	}
	if err := runImage(c); err != nil {
		return failure{err, 125}
	}
	return nil
}

// runImage makes the bundle, and then becomes the minirun that runs it: that
// has to be a new program anyway (see [protect.Protect]), and its command
// line is what ps shows beside the container.
func runImage(c *cli.Context) error {
	if err := checkManager(c); err != nil {
		return err
	}
	if c.String("cgroup-manager") == "disabled" {
		return usage{errors.New("run: --cgroup-manager disabled goes with --bundle only: what is made of an image has a device filter")}
	}
	stop := stopSignals()
	b, err := makeBundle(c)
	if err != nil {
		return err
	}
	if code := stopped(stop); code != 0 {
		return errors.Join(code, store(c).Delete(b))
	}
	args := append(again(c), "run", "--monitor", "--name", b.Annotation(bundle.Name), "--bundle", b.Dir)
	for _, flag := range []string{"detach", "interactive", "explain", "step"} {
		if c.Bool(flag) {
			args = append(args, "--"+flag)
		}
	}
	if c.IsSet("fault") {
		args = append(args, "--fault", c.String("fault"))
	}
	signal.Ignore(stopping...)
	return errors.Join(protect.Again(append(args, b.ID)), store(c).Delete(b))
}

// again begins the command line of another minirun with the same directories,
// and the same maker of cgroups.
func again(c *cli.Context) []string {
	args := []string{"minirun"}
	for _, flag := range []string{"root", "store"} {
		if c.IsSet(flag) {
			args = append(args, "--"+flag, c.String(flag))
		}
	}
	if bySystemd(c) {
		args = append(args, "--systemd-cgroup")
	}
	return args
}

// makeBundle makes the bundle. Until it is there, nobody may remove the image.
func makeBundle(c *cli.Context) (*bundle.Bundle, error) {
	s, err := images(c)
	if err != nil {
		return nil, err
	}
	release, err := s.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	img, r, err := requested(c)
	if err != nil {
		return nil, err
	}
	return store(c).Make(img, r)
}

// requested is the image and what is asked of it.
func requested(c *cli.Context) (*image.Image, bundle.Request, error) {
	s, err := images(c)
	if err != nil {
		return nil, bundle.Request{}, err
	}
	img, err := s.Find(c.Args().First())
	if err != nil {
		return nil, bundle.Request{}, err
	}
	r, err := request(c)
	return img, r, err
}

// request is what the flags ask for.
func request(c *cli.Context) (bundle.Request, error) {
	r := bundle.Request{
		Name: c.String("name"), Args: c.Args().Tail(), Terminal: c.Bool("tty"), Env: c.StringSlice("env"),
		Volumes: c.StringSlice("volume"), User: c.String("user"), Workdir: c.String("workdir"),
		Hostname: c.String("hostname"), ReadOnly: c.Bool("read-only"), Network: c.String("network"),
		CPUs: c.Float64("cpus"), Pids: c.Int64("pids-limit"), CapAdd: c.StringSlice("cap-add"), CapDrop: c.StringSlice("cap-drop"),
		Remove: c.Bool("rm"), Without: split(c.StringSlice("without")),
	}
	if c.IsSet("entrypoint") {
		program := c.String("entrypoint")
		r.Entrypoint = &program
	}
	if c.IsSet("memory") {
		size, err := units.RAMInBytes(c.String("memory"))
		if err != nil || size <= 0 {
			return r, fmt.Errorf("memory limit %q: want a size such as 64m", c.String("memory"))
		}
		r.Memory = size
	}
	if c.IsSet("cpus") && r.CPUs <= 0 {
		return r, fmt.Errorf("--cpus %v: want more than 0, such as 1.5", r.CPUs)
	}
	if c.IsSet("pids-limit") && r.Pids <= 0 && r.Pids != -1 {
		return r, fmt.Errorf("--pids-limit %d: want more than 0, or -1 for no limit", r.Pids)
	}
	if r.Terminal {
		r.ConsoleSize = terminalSize()
	}
	for _, w := range r.Warnings() {
		warn(w)
	}
	return r, nil
}

// split takes lists apart: --without pid,net is --without pid --without net.
func split(lists []string) (all []string) {
	for _, l := range lists {
		all = append(all, strings.Split(l, ",")...)
	}
	return all
}

// runBundle runs a bundle: a user's own, or with --monitor one of the store's.
func runBundle(c *cli.Context) error {
	s, err := asked(c)
	if err != nil {
		return err
	}
	code, err := s.run()
	if err != nil {
		if c.Bool("monitor") {
			err = errors.Join(err, store(c).Delete(&bundle.Bundle{ID: s.id, Dir: s.dir, Spec: s.spec}))
			return exitOf(err)
		}
		return err
	}
	if code != 0 {
		return exit(code)
	}
	return nil
}

// asked is the container that create or run is asked for: its id, and a bundle.
func asked(c *cli.Context) (*session, error) {
	if c.Args().Len() != 1 {
		return nil, usage{fmt.Errorf("%s: want one argument, the container's id", c.Command.Name)}
	}
	s := &session{context: c, id: c.Args().First()}
	if err := errors.Join(container.CheckID(s.id), checkManager(c)); err != nil {
		return nil, err
	}
	var err error
	if s.dir, err = filepath.Abs(c.String("bundle")); err == nil {
		s.spec, s.config, err = config.Read(s.dir)
	}
	if err == nil && c.Bool("monitor") {
		s.config = nil // nobody but us changes the store
		ownGroup(c, s.spec)
	}
	return s, err
}

// A session is one run of a container, from its making to its end or, if it is
// detached, to its start.
type session struct {
	context *cli.Context
	id, dir string
	spec    *specs.Spec
	config  []byte // its text, if the bundle is somebody else's
	options container.Options
	master  *os.File // of the container's terminal
	socket  *os.File // where it comes from
}

func (s *session) run() (code int, err error) {
	c := s.context
	look, err := look(c)
	if err != nil {
		return 0, err
	}
	if s.options, err = options(c); err != nil {
		return 0, err
	}
	s.options.Config, s.options.Engine, s.options.Notify = s.config, look, notifySocket() != "" && !c.Bool("monitor")
	if err := s.files(); err != nil {
		return 0, err
	}
	if code := stopped(stopSecond); code != 0 {
		return int(code), store(c).Delete(&bundle.Bundle{ID: s.id, Dir: s.dir, Spec: s.spec})
	}
	if c.Bool("detach") {
		return 0, s.detached()
	}
	return s.attached()
}

// files decides what the container's descriptors 0, 1 and 2 are.
func (s *session) files() (err error) {
	c := s.context
	if c.IsSet("console-socket") {
		if !s.spec.Process.Terminal || !c.Bool("detach") {
			return errConsole
		}
		s.options.Console, err = sockets.Dial("console socket", c.String("console-socket"))
		return err
	}
	if !c.Bool("monitor") && !s.spec.Process.Terminal {
		return nil // all are the caller's
	}
	switch {
	case s.spec.Process.Terminal:
		s.options.Console, s.socket, err = sockets.Pair("terminal")
	case !c.Bool("interactive"):
		s.options.Stdin, err = os.Open("/dev/null")
	case c.Bool("detach"):
		s.options.Stdin, err = endless()
	}
	if err == nil && c.Bool("monitor") && c.Bool("detach") {
		b := &bundle.Bundle{Dir: s.dir}
		s.options.Stdout, s.options.Stderr, err = b.Logs()
	}
	return err
}

// endless is a standard input that says nothing and does not end: a pipe opened
// for both reading and writing, so that its reader is also its writer.
func endless() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), os.O_RDWR, 0)
}

// detached starts the container and leaves.
func (s *session) detached() error {
	c := s.context
	s.options.Monitor = c.Bool("monitor")
	if s.socket != nil && !s.options.Monitor {
		return errors.New("run -d: who takes the terminal? give a --console-socket")
	}
	if s.options.Monitor && s.spec.Annotations[bundle.Remove] != "" {
		s.options.AtExit = append(again(c), "rm", "--force", s.id)
		s.options.AtExit[0] = "/proc/self/exe"
	}
	k, p, err := root(c).New(s.id, s.dir, s.spec, s.options)
	if err != nil {
		return err
	}
	if s.socket != nil {
		if err := s.drain(); err != nil {
			return errors.Join(err, k.Delete(true))
		}
	}
	if s.options.Monitor {
		fmt.Fprintln(c.App.Writer, s.id)
	}
	if err := k.Notify.Tell(notifySocket(), p.Pid, k.Pid, k.StartTime); err != nil {
		warn(err.Error()) // the container runs
	}
	return nil
}

// drain leaves a process behind that writes what comes out of the terminal to
// the container's log, or nowhere. A terminal that nobody reads is full after a few pages.
func (s *session) drain() error {
	master, _, err := sockets.Receive(s.socket)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "drain")
	cmd.Args[0] = "minirun"
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

func drainCommand() *cli.Command {
	return &cli.Command{Name: "drain", Hidden: true, Action: func(*cli.Context) error {
		io.Copy(os.Stdout, os.Stdin) // EIO: the last process closed the terminal
		return nil
	}}
}

// attached runs the container and waits for it.
func (s *session) attached() (int, error) {
	signals := &catcher{}
	pipes := &insulation{}
	if s.context.Bool("monitor") {
		var err error
		if pipes, err = s.insulate(); err != nil {
			return 0, err
		}
	}
	s.options.Engine.Stopped = signals.interrupted
	k, p, err := root(s.context).New(s.id, s.dir, s.spec, s.options)
	pipes.started()
	if err != nil {
		return 0, err
	}
	done := pipes.finish
	if s.socket != nil {
		done, err = s.attachTerminal()
	}
	if err := errors.Join(err, signals.forward(p, s.master)); err != nil {
		return 0, errors.Join(err, k.Delete(true))
	}
	go func() {
		if err := k.Notify.Tell(notifySocket(), os.Getpid(), k.Pid, k.StartTime); err != nil { // we are who ends with it
			warn(err.Error())
		}
	}()
	status, err := p.Wait()
	done()
	if err != nil {
		return 0, fmt.Errorf("wait for %s: %w", s.id, err)
	}
	return s.ended(k, status)
}

// ended records the end of a container of the store's; what was run from a
// user's own bundle, or with --rm, is removed.
func (s *session) ended(k *container.Container, status unix.WaitStatus) (int, error) {
	code := container.ExitCode(status)
	switch {
	case s.context.Bool("keep"):
		return code, nil
	case !s.context.Bool("monitor"):
		return code, s.delete()
	case s.spec.Annotations[bundle.Remove] != "":
		return code, errors.Join(s.delete(), store(s.context).Delete(&bundle.Bundle{ID: s.id, Dir: s.dir, Spec: s.spec}))
	}
	return code, ignore(k.WriteExit(status), fs.ErrNotExist) // removed meanwhile
}

// delete deletes the container that has ended, unless somebody else, whom it may
// have been ended by, is at it.
func (s *session) delete() error {
	k, err := root(s.context).Lock(s.id)
	if err != nil {
		return ignore(err, container.ErrNotExist)
	}
	defer k.Unlock()
	k.Warn = warn
	return k.Delete(true)
}

// look turns the flags of the looking glass into the plan's options.
func look(c *cli.Context) (plan.Options, error) {
	var o plan.Options
	if c.Bool("explain") || c.Bool("step") {
		o.Trace = explain(os.Stderr, !c.Bool("step"))        // which shows the notes before
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // who has seen enough, as head has, ends the explaining, not the run
	}
	if c.Bool("step") {
		tty, err := os.Open("/dev/tty")
		if err != nil {
			tty = os.Stdin
		}
		o.Before = pause(tty, os.Stderr)
	}
	if c.IsSet("fault") {
		f, err := parseFault(c.String("fault"))
		if err != nil {
			return o, err
		}
		o.Fault = f
	}
	return o, nil
}

// explain prints each step with the time since the start and its own.
func explain(w io.Writer, notes bool) func(plan.Event) {
	return func(e plan.Event) {
		if e.Skipped {
			return
		}
		if e.Note != "" && notes {
			fmt.Fprintf(w, "# %s\n", e.Note)
		}
		result := " = " + strconv.FormatInt(e.Returned, 10)
		if e.Errno != 0 {
			result = " = -1 " + unix.ErrnoName(e.Errno)
		} else if e.Returned == -1 {
			result = "" // not one call
		}
		fmt.Fprintf(w, "%3d %9.3f ms %-7s %s%s <%.6f>\n", e.Index, float64(e.Start.Microseconds())/1000, e.Side, e.Step, result, e.Duration.Seconds())
	}
}

// pause shows the step to come and waits for Enter; q, or a signal that stops,
// ends the run.
func pause(r io.Reader, w io.Writer) func(*plan.Step) error {
	key, read := make([]byte, 1), make(chan error, 1)
	stop := stopSignals()
	return func(s *plan.Step) error {
		if s.Note != "" {
			fmt.Fprintf(w, "# %s\n", s.Note)
		}
		fmt.Fprintf(w, "%3d %s: %s   [Enter, or q to stop] ", s.Index, s.Side, s)
		for quit := false; ; {
			go func() {
				n, err := r.Read(key)
				if n == 0 && err == nil {
					err = io.EOF
				}
				read <- err
			}()
			select {
			case <-stop:
				return errStopped
			case err := <-read:
				if err != nil {
					return fmt.Errorf("--step: no answer: %w", err)
				}
			}
			quit = quit || key[0] == 'q'
			if key[0] == '\n' && quit {
				return errStopped
			} else if key[0] == '\n' {
				return nil
			}
		}
	}
}

var errStopped = errors.New("stopped by the user")

// parseFault parses N=ERRNO or N=KILL.
func parseFault(s string) (plan.Fault, error) {
	var step int
	var name string
	if n, _ := fmt.Sscanf(s, "%d=%s", &step, &name); n != 2 || step < 1 {
		return plan.Fault{}, fmt.Errorf("fault %q: want N=ERRNO or N=KILL", s)
	}
	if name == "KILL" {
		return plan.Fault{Step: step}, nil
	}
	for e := unix.Errno(1); e < 134; e++ {
		if unix.ErrnoName(e) == name {
			return plan.Fault{Step: step, Errno: e}, nil
		}
	}
	return plan.Fault{}, fmt.Errorf("fault %q: %s is no errno", s, name)
}
