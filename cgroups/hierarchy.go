package cgroups

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// This file finds the mounted cgroup2 and says where in it a group lies.

// ErrNotMounted says that there is no cgroup2 file system to make groups in.
var ErrNotMounted = errors.New("cgroup v2 is not mounted")

// A Hierarchy is the mounted cgroup2 file system: the tree of all groups, or
// the part of it that we can see.
type Hierarchy struct {
	// Mount is where it is mounted: /sys/fs/cgroup or, where the controllers of
	// cgroup v1 have that place, /sys/fs/cgroup/unified.
	Mount string

	// Own is the path of our own group below Mount, such as /user.slice/x.
	// "" means that [Hierarchy.Group] looks it up when a relative path needs it.
	Own string
}

// places are where cgroup2 usually is. Asking for these two first spares us
// the table of all mounts, which the kernel takes long to print.
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
// cannot: it also lists mounts that others cover.
func isCgroup2(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(path, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC
}

// Group returns the group that the spec's cgroupsPath means: an absolute path
// is below the mount, a relative one is beside our own group. Whatever the
// path, the group is below the mount. It need not exist.
func (h *Hierarchy) Group(path string) (*Group, error) {
	parent := "/"
	if !filepath.IsAbs(path) {
		own, err := h.own()
		if err != nil {
			return nil, fmt.Errorf("cgroup %q: %w", path, err)
		}
		parent = filepath.Dir(own)
	}
	// Why clean it as an absolute path? So ".." ends at the root instead of leading out.
	below := filepath.Join(parent, filepath.Clean("/"+path))
	if below == parent {
		return nil, fmt.Errorf("cgroup %q: not the path of a group of its own", path)
	}
	return &Group{Dir: filepath.Join(h.Mount, below), top: h.Mount}, nil
}

// own is our own group as a path below the mount.
func (h *Hierarchy) own() (string, error) {
	if h.Own != "" {
		return h.Own, nil
	}
	mounts, err := readMounts()
	if err != nil {
		return "", err
	}
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	defer f.Close()
	path, err := parseOwn(f)
	if err != nil {
		return "", err
	}
	return below(mounts, h.Mount, path)
}

// parseOwn finds the path of a process's cgroup v2 group in its
// /proc/PID/cgroup (cgroups(7)), which on a host with both versions reads
//
//	8:pids:/
//	4:memory:/jobs
//	0::/user.slice/session-1.scope
func parseOwn(r io.Reader) (string, error) {
	for s := bufio.NewScanner(r); s.Scan(); {
		if path, ok := strings.CutPrefix(s.Text(), "0::"); ok {
			return path, nil
		}
	}
	return "", errors.New("read /proc/self/cgroup: no line of cgroup v2")
}

// below turns the path of a group as the kernel gives it into one below the
// mount, which may show only a part of the tree: its root is then not "/".
func below(mounts []*mountinfo.Info, mount, path string) (string, error) {
	root := "/"
	for _, m := range mounts {
		if m.Mountpoint == mount && m.FSType == "cgroup2" {
			root = m.Root // the last one counts: it covers those before
		}
	}
	// "/.." begins the root of a mount from outside of our cgroup namespace.
	rel, err := filepath.Rel(root, path)
	if err != nil || strings.HasPrefix(root, "/..") || strings.HasPrefix(rel, "..") {
		return "", fmt.Errorf("our own group %s is not below %s, which shows %s", path, mount, root)
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
