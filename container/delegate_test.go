package container

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestDelegate: root of a container with a user namespace may make groups below
// its own, if it mounts them writable; and change none of its limits.
func TestDelegate(t *testing.T) {
	needRoot(t)
	for options, want := range map[string]string{
		"rw": "error: open /sys/fs/cgroup/cgroup.max.depth: permission denied",
		"ro": "error: mkdir /sys/fs/cgroup/below: read-only file system\nerror: open /sys/fs/cgroup/cgroup.max.depth: permission denied",
	} {
		b := newBox(t, "mkdir /sys/fs/cgroup/below", "write /sys/fs/cgroup/cgroup.max.depth 1")
		b.with(specs.UserNamespace, "")
		b.with(specs.CgroupNamespace, "")
		ids := []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
		b.Linux.UIDMappings, b.Linux.GIDMappings = ids, ids
		must(t, os.Chown(b.rootfs(""), 100000, 100000)) // mount points are made in it
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{options}})
		if got, _ := b.run(Options{}); got != want {
			t.Errorf("%s: run = %q, want %q", options, got, want)
		}
	}
}

// TestExecDivided: a container has divided its group, so that the group itself
// can have no processes; exec goes where the container process is.
func TestExecDivided(t *testing.T) {
	needRoot(t)
	b := newBox(t, "divide /sys/fs/cgroup", "print divided", "sleep")
	b.with(specs.CgroupNamespace, "")
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup"})
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	c, _, err := b.start(Options{Stdout: w})
	w.Close()
	must(t, err)
	waitLine(t, r, "divided\n")
	got, code := execute(t, c, &specs.Process{Args: []string{"/bin/program", "cat /proc/self/cgroup"}, Cwd: "/"}, Options{})
	if !strings.HasSuffix(got, "0::/init") || code != 0 {
		t.Errorf("cgroup of exec = %q, %d; want /init", got, code)
	}
	must(t, c.Delete(true)) // with the groups below it
}
