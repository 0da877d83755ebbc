package cgroups

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// This file finds the mounted cgroup2 and turns a cgroupsPath into a directory:
//
//	cgroupsPath    the runtime's own group    directory below the mount
//	/minirun/web   any                        /minirun/web
//	minirun-web    /user.slice/session        /user.slice/minirun-web
//	/../../etc     any                        /etc (of cgroup2, not the host's)
//
// Why is a relative path beside the own group and not below it? The own group has
// processes, for example this one, so it cannot hand controllers down.

// ErrNotMounted says that there is no cgroup2 file system to make groups in.
var ErrNotMounted = errors.New("cgroup v2 is not mounted")

// A Hierarchy is the mounted cgroup2 file system: the tree of all groups, or the
// part of it that our cgroup namespace shows.
type Hierarchy struct {
	// Mount is where it is mounted: /sys/fs/cgroup or, where the controllers of
	// cgroup v1 have that place, /sys/fs/cgroup/unified.
	Mount string

	// Own is the path of the runtime's own group below Mount, such as
	// /user.slice/x. If it is "", [Hierarchy.Group] looks it up for a relative path.
	Own string
}

// places are where cgroup2 usually is. Find looks there first, because the kernel
// takes long to print the table of all mounts.
var places = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// Find finds the mounted cgroup2. The error is [ErrNotMounted] if there is none.
func Find() (*Hierarchy, error) {
	for _, place := range places {
		if isCgroup2(place) {
			return &Hierarchy{Mount: place}, nil
		}
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if m.FSType == "cgroup2" && isCgroup2(m.Mountpoint) {
			return &Hierarchy{Mount: m.Mountpoint}, nil
		}
	}
	return nil, ErrNotMounted
}

// isCgroup2 says whether path shows a cgroup2 (statfs(2)). The table of mounts
// does not tell, because it also lists mounts that are covered by others.
func isCgroup2(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(path, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC
}

// Group returns the group that the spec's cgroupsPath means: an absolute path is
// below the mount, a relative one is beside the runtime's own group. No path leads
// out of the mount. The group need not exist.
func (h *Hierarchy) Group(path string) (*Group, error) {
	parent := "/"
	if !filepath.IsAbs(path) {
		own, err := h.own()
		if err != nil {
			return nil, fmt.Errorf("cgroup %q: %w", path, err)
		}
		parent = filepath.Dir(own)
	}
	// Why clean it as an absolute path? ".." at the root stays at the root.
	below := filepath.Join(parent, filepath.Clean("/"+path))
	// A group that is the parent itself would not be the container's alone.
	if below == parent {
		return nil, fmt.Errorf("cgroup %q: not the path of a group of its own", path)
	}
	return &Group{Dir: filepath.Join(h.Mount, below), mount: h.Mount}, nil
}

// own is the runtime's own group as a path below the mount.
func (h *Hierarchy) own() (string, error) {
	if h.Own != "" {
		return h.Own, nil
	}
	return h.PathOf("self")
}

// PathOf is the group that a process is in now, as a path below the mount.
func (h *Hierarchy) PathOf(pid string) (string, error) {
	mounts, err := readMounts()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return "", err
	}
	path, ok := ParsePath(string(text))
	if !ok {
		return "", fmt.Errorf("read /proc/%s/cgroup: no line of cgroup v2", pid)
	}
	return below(mounts, h.Mount, path)
}

// ParsePath finds the path of a process's cgroup v2 group in the text of its
// /proc/PID/cgroup (cgroups(7)), which on a host with both versions reads
//
//	8:pids:/
//	4:memory:/jobs
//	0::/user.slice/session-1.scope
func ParsePath(text string) (path string, ok bool) {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, true
		}
	}
	return "", false
}

// below turns the path of a group as the kernel prints it into a path below the
// mount. The mount may show only a part of the tree: then its root is not "/".
func below(mounts []*mountinfo.Info, mount, path string) (string, error) {
	root := "/"
	for _, m := range mounts {
		if m.Mountpoint == mount && m.FSType == "cgroup2" {
			root = m.Root // the last mount counts: it covers those before it
		}
	}
	// The root of a mount from outside our cgroup namespace begins with "/..".
	rel, err := filepath.Rel(root, path)
	if err != nil || strings.HasPrefix(root, "/..") || strings.HasPrefix(rel, "..") {
		return "", fmt.Errorf("group %s is not below %s, which shows %s", path, mount, root)
	}
	return filepath.Join("/", rel), nil
}

// readMounts reads the table of mounts of our mount namespace (proc_pid_mountinfo(5)).
func readMounts() ([]*mountinfo.Info, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMounts(f)
}

// parseMounts keeps the mounts of both cgroup versions.
func parseMounts(r io.Reader) ([]*mountinfo.Info, error) {
	return mountinfo.GetMountsFromReader(r, mountinfo.FSTypeFilter("cgroup", "cgroup2"))
}
