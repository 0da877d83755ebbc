package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cgroups/systemd"
	"minirun/cmd/early"
	"minirun/cmd/report"
	"minirun/container/bundle"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// requestFlags are the flags that describe the container.
func requestFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "keep standard input open"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the container a terminal"},
		&cli.StringFlag{Name: "name", Usage: "call the container `NAME`"},
		&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "limit memory to `SIZE` (512k, 64m, 1g)"},
		&cli.Float64Flag{Name: "cpus", Usage: "limit CPU time to that of `N` processors (0.5)"},
		&cli.Int64Flag{Name: "pids-limit", Usage: "limit processes and threads to `N`; -1 for no limit"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME=VALUE`, or pass on NAME"},
		&cli.StringSliceFlag{Name: "env-file", Usage: "set the NAME=VALUE, and pass on the NAME, of each line of `FILE`"},
		&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "mount a host's directory or file: `SOURCE:DESTINATION[:ro]`"},
		&cli.StringSliceFlag{Name: "tmpfs", Usage: "mount an empty directory in memory: `DESTINATION[:OPTIONS]`"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`, names or numbers"},
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`"},
		&cli.StringFlag{Name: "hostname", Aliases: []string{"h"}, Usage: "call the host `NAME`"},
		&cli.BoolFlag{Name: "read-only", Usage: "make the root file system read-only"},
		&cli.StringFlag{Name: "entrypoint", Usage: "run `PROGRAM` instead of the image's entrypoint"},
		&cli.StringSliceFlag{Name: "cap-add", Usage: "add a `CAPABILITY`, or ALL"},
		&cli.StringSliceFlag{Name: "cap-drop", Usage: "drop a `CAPABILITY`, or ALL"},
		&cli.StringSliceFlag{Name: "without", Usage: "take a `LAYER` of the container's away, to see what it is for: " + strings.Join(bundle.LayerNames(), ", ")},
		&cli.BoolFlag{Name: "rm", Usage: "remove the container when it ends"},
		&cli.StringFlag{Name: "pull", Usage: "fetch the image from its registry: `missing` (if it is not here), always or never", Value: "missing"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show nothing of the fetching"},
	}, networkFlags()...)
}

// lookFlags make a plan visible while it runs.
func lookFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "explain", Usage: "print each system call as it happens, with its time"},
		&cli.BoolFlag{Name: "step", Usage: "wait for Enter before each system call; h helps"},
		&cli.StringFlag{Name: "fault", Usage: "break on purpose: let step `N=ERRNO` fail, or kill who makes it (N=KILL); N may be the name of a call"},
	}
}

// runFlags returns all flags of run.
func runFlags() []cli.Flag {
	return append(append(requestFlags(), lookFlags()...),
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "run in the background and print the id"})
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "make a container from an image and run it",
		ArgsUsage: "IMAGE [COMMAND [ARG...]]",
		Description: "Examples:\n" +
			"   minirun run --rm -it busybox                  a shell in a container\n" +
			"   minirun run -d --name web httpd               in the background\n" +
			"   minirun run -d -p 8080:80 httpd               its port 80 is the host's port 8080\n" +
			"   minirun run -d -P --network-rate 10mbit httpd\n" +
			"   minirun run -m 64m --cpus 0.5 httpd           with limits\n" +
			"   minirun run --rm -v $PWD:/src:ro busybox ls /src\n" +
			"   minirun run --explain --rm busybox true       see every system call",
		Flags:  runFlags(),
		Action: func(c *cli.Context) error { return ownFailure(run(c)) },
	}
}

// run writes the bundle, and then becomes the minirunc that runs it. A signal meanwhile
// cancels the run, and the bundle is removed again: by run, by minirunc, or by the guard
// (guard.go).
func run(c *cli.Context) error {
	if !c.Args().Present() {
		return usage{errors.New("run: no image given")}
	}
	if err := checkManager(c); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := pulledBundle(c)
	if err != nil {
		return err
	}
	remove := removeWords(c, b, self)
	fd, err := guard(remove...)
	var attached []string
	if err == nil {
		attached, err = attach(c, b)
	}
	early.Reset()
	if s := early.Signal(); s != 0 {
		err = report.Exit(128 + int(s))
	}
	if err == nil {
		err = become(slices.Concat(runWords(c, b, fd, attached), []string{"--"}, remove)...)
	}
	return errors.Join(err, store(c).Delete(b), leave(c, b))
}

// runWords returns minirunc's command line. Behind the id follows the command with
// which minirunc removes the container and the bundle (see people.go of minirunc).
func runWords(c *cli.Context, b *bundle.Bundle, guard int, attached []string) []string {
	words := append(globalFlags(c), "run", "--monitor", "--guard", strconv.Itoa(guard), "--name", b.Annotation(bundle.Name), "--bundle", b.Dir)
	words = append(words, givenFlags(c, "detach", "interactive", "rm", "explain", "step", "fault")...)
	return append(append(words, attached...), b.ID)
}

// removeWords is the command that removes the container and the bundle.
func removeWords(c *cli.Context, b *bundle.Bundle, self string) []string {
	words := []string{self}
	for _, flag := range []string{"root", "store"} {
		if c.IsSet(flag) {
			words = append(words, "--"+flag, c.String(flag))
		}
	}
	return append(words, "rm", "--force", b.ID)
}

// givenFlags returns those of the named flags that the user gave, as words for
// minirunc.
func givenFlags(c *cli.Context, names ...string) (words []string) {
	for _, name := range names {
		if value := c.Value(name); value == true {
			words = append(words, "--"+name)
		} else if c.IsSet(name) && value != false {
			words = append(words, fmt.Sprintf("--%s=%v", name, value))
		}
	}
	return words
}

// checkManager refuses --systemd-cgroup if systemd does not run.
func checkManager(c *cli.Context) error {
	switch m := c.String("cgroup-manager"); {
	case m != "cgroupfs" && m != "systemd":
		return usage{fmt.Errorf("--cgroup-manager %q: want cgroupfs or systemd; what is made from an image has a cgroup", m)}
	case !bySystemd(c):
		return nil
	}
	if err := systemd.Booted(); err != nil {
		return fmt.Errorf("--systemd-cgroup: %w", err)
	}
	return nil
}

// pulledBundle makes the bundle, and fetches the image before if --pull says so. That the
// image is missing is found out by using it: a container of one that is here must not take
// longer.
func pulledBundle(c *cli.Context) (*bundle.Bundle, error) {
	when := c.String("pull")
	switch when {
	case "missing", "never":
	case "always":
		if err := pullForRun(c); err != nil {
			return nil, err
		}
	default:
		return nil, usage{fmt.Errorf("run: --pull %q: want missing, always or never", when)}
	}
	early.Listen()
	b, err := makeBundle(c)
	if when != "missing" || !errors.Is(err, image.ErrNotFound) {
		return b, err
	}
	early.Reset() // a signal ends us while we fetch, and what fetches with us
	if _, wrong := image.ParseReference(c.Args().First()); wrong != nil {
		return nil, err // an id: no registry knows it
	}
	if _, none := pullProgram.find(); none != nil {
		return nil, fmt.Errorf("%w; %w", err, none)
	}
	if !c.Bool("quiet") {
		fmt.Fprintf(os.Stderr, "Unable to find image '%s' locally\n", report.Printable(familiar(c.Args().First())))
	}
	if err := pullForRun(c); err != nil {
		return nil, err
	}
	early.Listen()
	return makeBundle(c)
}

// makeBundle makes the bundle. Meanwhile a lock keeps others from removing the image.
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
	img, r, err := imageAndRequest(c)
	if err != nil {
		return nil, err
	}
	return store(c).Make(img, r)
}

// imageAndRequest returns the image that the command line names, and the request.
func imageAndRequest(c *cli.Context) (*image.Image, bundle.Request, error) {
	s, err := images(c)
	if err != nil {
		return nil, bundle.Request{}, err
	}
	img, err := s.Find(c.Args().First())
	if err != nil {
		return nil, bundle.Request{}, err
	}
	r, err := request(c)
	if c.Bool("publish-all") {
		r.Publish = bundle.Exposed(img, r.Publish)
	}
	return img, r, err
}

// request turns the flags into a request.
func request(c *cli.Context) (bundle.Request, error) {
	r := bundle.Request{
		Name: c.String("name"), Args: c.Args().Tail(), Terminal: c.Bool("tty"), Env: c.StringSlice("env"),
		Volumes: c.StringSlice("volume"), Tmpfs: c.StringSlice("tmpfs"), User: c.String("user"), Workdir: c.String("workdir"),
		Hostname: c.String("hostname"), ReadOnly: c.Bool("read-only"),
		CPUs: c.Float64("cpus"), Pids: c.Int64("pids-limit"), CapAdd: c.StringSlice("cap-add"), CapDrop: c.StringSlice("cap-drop"),
		Remove: c.Bool("rm"), Systemd: bySystemd(c), Without: split(c.StringSlice("without")),
	}
	if err := networkOf(c, &r); err != nil {
		return r, err
	}
	fromFiles, err := readEnv(c.StringSlice("env-file"))
	if err != nil {
		return r, err
	}
	r.Env = append(fromFiles, r.Env...)
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

// readEnv reads the lines of --env-file. Empty ones, and those that begin with #, are
// left out; all else is taken as it is, quotes too.
func readEnv(paths []string) (env []string, err error) {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			if strings.HasPrefix(line, "=") {
				return nil, fmt.Errorf("--env-file %s: line %q: want NAME=VALUE or NAME", path, line)
			}
			env = append(env, line)
		}
	}
	return env, nil
}

// split makes --without pid,net the same as --without pid --without net.
func split(lists []string) (all []string) {
	for _, l := range lists {
		all = append(all, strings.Split(l, ",")...)
	}
	return all
}

// terminalSize returns the size of the user's terminal; nil if there is none.
func terminalSize() *specs.Box {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 {
		return nil
	}
	return &specs.Box{Height: uint(size.Row), Width: uint(size.Col)}
}
