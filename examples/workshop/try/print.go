package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"minirun/cgroups"
	"minirun/container/procfs"
)

// A print is what a lab could leave behind: a line for each process, mount, cgroup,
// network device and file.
type print []string

// fingerprint is the print of this machine now. Of the student's own directory the
// attempts do not count.
func fingerprint(home string) print {
	var p print
	processes, _ := procfs.Read("/proc") // none: the comparison says so
	for _, q := range processes {
		if q.Pid != os.Getpid() && q.State != 'Z' {
			p = append(p, fmt.Sprintf("process %d: %s", q.Pid, q.Line()))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		p = append(p, "mount "+strings.TrimSpace(line))
	}
	links, _ := net.Interfaces()
	for _, l := range links {
		p = append(p, "link "+l.Name)
	}
	host, _ := os.Hostname()
	p = append(p, "host name "+host)
	if h, err := cgroups.Find(); err == nil {
		p = append(p, tree(h.Mount, true)...)
	}
	for _, dir := range []string{"/run/minirun", "/run/netns", "/var/lib/minirun/containers", "/var/lib/minirun/names", home} {
		p = append(p, tree(dir, false)...)
	}
	slices.Sort(p)
	return p
}

// tree lists what is below a directory; only directories, if those are asked for.
func tree(root string, directories bool) (list []string) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Base(filepath.Dir(path)) == "minirun-lab" {
			return nil // it went meanwhile; an attempt
		}
		if path != root && (d.IsDir() || !directories) {
			list = append(list, "file "+path)
		}
		return nil
	})
	return list
}

// same compares with the machine now. What is ending gets some seconds for it.
func (p print) same(home string) error {
	var now print
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if now = fingerprint(home); slices.Equal(p, now) {
			return nil
		}
		if time.Now().After(end) {
			break
		}
	}
	var all error
	for _, line := range now {
		if !slices.Contains(p, line) {
			all = errors.Join(all, fmt.Errorf("left behind: %s", line))
		}
	}
	for _, line := range p {
		if !slices.Contains(now, line) {
			all = errors.Join(all, fmt.Errorf("gone: %s", line))
		}
	}
	return all
}
