package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cmd/early"
	"minirun/cmd/report"
	"minirun/container/bundle"
	"minirun/namespaces/network"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// doctor tries what a container needs, where it needs it and as the user who asks: files
// of /proc tell what a kernel was built with, not what it lets this user do here. What it
// makes for that, it removes (doctor_try.go).

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:   "doctor",
		Usage:  "try what this machine can do for containers, and say what it lacks",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "inside", Hidden: true}}, // doctor's own child, see try
		Action: doctor,
	}
}

func doctor(c *cli.Context) error {
	if what := c.String("inside"); what != "" {
		return inside(what, c.Args().Slice())
	}
	signal.Ignore(early.Stopping...) // ^C would leave behind what is being tried
	healthy := true
	for _, check := range checks {
		found, err := check.look(c)
		mark := "ok     "
		if err != nil {
			mark, found = "missing", report.OneLine(err)
			healthy = healthy && !check.required()
		}
		report.Printf(c.App.Writer, "%s  %-18s %s\n", mark, check.name, found)
	}
	if !healthy {
		return report.Exit(1)
	}
	return nil
}

func always() bool   { return true }
func never() bool    { return false }
func forRoot() bool  { return os.Geteuid() == 0 }
func forUsers() bool { return os.Geteuid() != 0 }

// checks are the features of kernel and machine that minirun uses. Without one that is
// required no container runs.
var checks = []struct {
	name     string
	required func() bool
	look     func(*cli.Context) (string, error)
}{
	{"kernel", always, lookKernel},
	{"overlay", always, tryOverlay},
	{"user namespaces", forUsers, tryUserNamespace},
	{"subordinate ids", never, lookOthers},
	{"time namespaces", never, tryTimeNamespace},
	{"seccomp", always, trySeccomp},
	{"cgroup v2", always, lookCgroup},
	{"own cgroup", forRoot, tryCgroup},
	{"controllers", never, tryControllers},
	{"network", never, lookNetwork},
}

// lookOthers checks that an ordinary user's containers can have more users than root:
// newuidmap(1), and ids in /etc/subuid and /etc/subgid. Root needs neither.
func lookOthers(*cli.Context) (string, error) {
	if os.Geteuid() == 0 {
		return "root has all", nil
	}
	uids, gids, err := bundle.Others()
	if err != nil {
		return "", fmt.Errorf("only root in containers: %w", err)
	}
	count := func(maps []specs.LinuxIDMapping) (sum uint32) {
		for _, m := range maps {
			sum += m.Size
		}
		return sum
	}
	return fmt.Sprintf("%d users from %d on, %d groups from %d on", count(uids), uids[0].HostID, count(gids), gids[0].HostID), nil
}

// lookNetwork checks that root's containers can be connected with the bridge, and tells what is
// changed on the host for those that are, what is left of others, and who else drops packets.
func lookNetwork(*cli.Context) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("only root makes links: an ordinary user's containers have loopback alone")
	}
	h, err := network.Look()
	if err != nil {
		return "", fmt.Errorf("containers have loopback alone: %w", err)
	}
	found := "no bridge; the first container makes " + h.Bridge.Name + ", " + h.Bridge.Address.String()
	if h.Bridge.Exists {
		found = fmt.Sprintf("%s, %s, with %s", h.Bridge.Name, h.Bridge.Address, counted(len(h.Links), "container", "containers"))
	}
	for _, name := range network.Forwarding() {
		found += "; net.ipv4.conf." + name + ".forwarding is 1 until the last one is gone"
	}
	if n := len(h.Stale()); n > 0 {
		found += "; " + counted(n, "element leads", "elements lead") + " to nobody, and will be removed by the next run or rm"
	}
	chains, err := network.Foreign()
	if len(chains) > 0 {
		found += "; " + strings.Join(chains, "; ") + ": drops what is forwarded"
	}
	return found, err
}

// lookKernel checks for Linux 5.14, which has cgroup.kill.
func lookKernel(*cli.Context) (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("release %q: not a version", release)
	}
	if major < 5 || major == 5 && minor < 14 {
		return "", fmt.Errorf("Linux %s: 5.14 or later is needed", release)
	}
	return "Linux " + release, nil
}

func lookCgroup(*cli.Context) (string, error) {
	h, err := cgroups.Find()
	if err != nil {
		return "", err
	}
	return h.Mount, nil
}
