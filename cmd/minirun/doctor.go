package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cmd/report"
	"minirun/container/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what this machine can do for containers, and what it lacks",
		Action: func(c *cli.Context) error {
			healthy := true
			for _, check := range checks {
				found, err := check.look()
				mark := "ok     "
				if err != nil {
					mark, found = "missing", report.OneLine(err)
					if check.required {
						healthy = false
					}
				}
				report.Printf(c.App.Writer, "%s  %-18s %s\n", mark, check.name, found)
			}
			if !healthy {
				return report.Exit(1)
			}
			return nil
		},
	}
}

// checks are the features of kernel and machine that minirun uses.
var checks = []struct {
	name     string
	required bool
	look     func() (string, error)
}{
	{"kernel", true, lookKernel},
	{"cgroup v2", true, lookCgroup},
	{"controllers", false, lookControllers},
	{"overlay", true, func() (string, error) { return lookFilesystem("overlay") }},
	{"user namespaces", false, lookUserNamespaces},
	{"time namespaces", false, func() (string, error) { return lookFile("/proc/self/ns/time") }},
	{"seccomp", true, func() (string, error) { return lookFile("/proc/sys/kernel/seccomp/actions_avail") }},
	{"own cgroup", false, lookOwnCgroup},
	{"subordinate ids", false, lookOthers},
}

// lookOwnCgroup checks that there is a cgroup below which the user may make others.
func lookOwnCgroup() (string, error) {
	h, err := cgroups.Find()
	if err != nil {
		return "", err
	}
	g, err := h.Group("minirun-doctor") // where an ordinary user's containers go
	if err != nil {
		return "", err
	}
	parent := filepath.Dir(g.Dir)
	if !g.Writable() {
		return "", fmt.Errorf("%s is not delegated to user %d: no limits (a systemd user session delegates)", parent, os.Geteuid())
	}
	return "below " + parent, nil
}

// lookOthers checks that an ordinary user's containers can have more users than root:
// newuidmap(1), and ids in /etc/subuid and /etc/subgid. Root needs neither.
func lookOthers() (string, error) {
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

// lookKernel checks for Linux 5.14, which has cgroup.kill.
func lookKernel() (string, error) {
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

func lookCgroup() (string, error) {
	h, err := cgroups.Find()
	if err != nil {
		return "", err
	}
	return h.Mount, nil
}

// lookControllers checks for the controllers of run's flags.
func lookControllers() (string, error) {
	h, err := cgroups.Find()
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(h.Mount + "/cgroup.controllers")
	if err != nil {
		return "", err
	}
	have := strings.Fields(string(data))
	var missing []string
	for _, want := range []string{"cpu", "memory", "pids"} {
		if !strings.Contains(" "+strings.Join(have, " ")+" ", " "+want+" ") {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("%s: not in cgroup v2 here (cgroup v1 holds them?): no limits on them", strings.Join(missing, ", "))
	}
	return strings.Join(have, " "), nil
}

func lookFilesystem(name string) (string, error) {
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(data), "\t"+name+"\n") {
		return "", fmt.Errorf("not in /proc/filesystems (modprobe %s)", name)
	}
	return name, nil
}

func lookUserNamespaces() (string, error) {
	data, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(string(data)) == "0" {
		return "", fmt.Errorf("user.max_user_namespaces is 0: no containers for ordinary users")
	}
	return "up to " + strings.TrimSpace(string(data)), nil
}

func lookFile(path string) (string, error) {
	_, err := os.Stat(path)
	return path, err
}
