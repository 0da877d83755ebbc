// Look is a container's program: it prints what it sees, and ends with status 7.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	host, _ := os.Hostname() // every error shows as a difference
	fmt.Printf("pid %d on %s\n", os.Getpid(), host)
	fmt.Println("mounts", strings.Join(mountPoints(), " "))
	groups, _ := os.ReadFile("/proc/self/cgroup")
	lines := strings.Split(strings.TrimSpace(string(groups)), "\n")
	fmt.Println("cgroup", lines[len(lines)-1])
	status, _ := os.ReadFile("/proc/self/status")
	for _, name := range []string{"CapBnd", "CapEff", "CapInh", "NoNewPrivs"} {
		fmt.Println("status", name, field(string(status), name))
	}
	fmt.Println("descriptors", strings.Join(inherited(), " "))
	fmt.Println("links", strings.Join(list("/sys/class/net"), " "))
	for _, path := range []string{"/new", "/proc/sys/kernel/hostname"} {
		_, err := os.Create(path)
		fmt.Printf("create %s: %v\n", path, errors.Unwrap(err))
	}
	if _, err := os.OpenFile("/dev/null", os.O_RDWR, 0); err == nil {
		fmt.Println("open /dev/null: ok")
	}
	fmt.Println("entries of /sys/firmware:", len(list("/sys/firmware")))
	os.Exit(7)
}

// mountPoints are those of the spec: masked and read-only paths, which differ
// from kernel to kernel, are left out.
func mountPoints() (points []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		point := strings.Fields(line)[4]
		if point != "/sys/firmware" && !strings.HasPrefix(point, "/proc/") {
			points = append(points, point)
		}
	}
	slices.Sort(points)
	return points
}

// inherited are the open descriptors that are no anonymous file of the Go
// runtime's own and not the one by which they are listed.
func inherited() (fds []string) {
	for _, fd := range list("/proc/self/fd") {
		if target, err := os.Readlink("/proc/self/fd/" + fd); err == nil && !strings.HasPrefix(target, "anon_inode:") {
			fds = append(fds, fd)
		}
	}
	return fds
}

func list(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// field returns the value of a line "Name:  value".
func field(lines, name string) string {
	_, rest, _ := strings.Cut(lines, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}
