// Package procfs reads the process list: what ps(1) reads.
//
// /proc is the kernel's answer to "what is running?": a directory for each
// process, with its state as text. A container's processes are in it like all
// others, since they are processes like all others; one only has to know which
// they are. They are those in the container's cgroup or pid namespace.
//
// Nothing here prints. The root directory is an argument: "/proc", or a copy of
// it in a test. Processes that end while we look are left out.
//
// Man pages: [proc(5)], [proc_pid_stat(5)], [proc_pid_status(5)].
//
// [proc(5)]: https://man7.org/linux/man-pages/man5/proc.5.html
// [proc_pid_stat(5)]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
// [proc_pid_status(5)]: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
package procfs

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Process is one process, as it was when we looked.
type Process struct {
	Pid, Parent int
	Name        string   // the program's, at most 15 bytes
	State       byte     // R, S, D, Z, T, … as in ps
	UID         uint32   // effective user
	Threads     int      // NLWP
	RSS         int64    // resident memory in bytes
	Command     []string // arguments; empty for a kernel thread or a zombie
	NSPid       []int    // its ids in nested pid namespaces, outermost first
	Cgroup      string   // path in cgroup v2; "" without
}

// Inner is the process id in the innermost pid namespace: what the process
// itself takes for its id.
func (p *Process) Inner() int {
	if len(p.NSPid) == 0 {
		return p.Pid
	}
	return p.NSPid[len(p.NSPid)-1]
}

// Line is the command as ps prints it: [name] where there are no arguments.
func (p *Process) Line() string {
	if len(p.Command) == 0 {
		return "[" + p.Name + "]"
	}
	return strings.Join(p.Command, " ")
}

// Read returns all processes, by ascending id.
func Read(root string) ([]*Process, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var list []*Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // not a process
		}
		p, err := one(filepath.Join(root, e.Name()), pid)
		if gone(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Process) int { return a.Pid - b.Pid })
	return list, nil
}

// gone says whether the process ended while we looked: open says ENOENT, read
// ESRCH.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no such process")
}

func one(dir string, pid int) (*Process, error) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return nil, err
	}
	command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return nil, err
	}
	cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return nil, err
	}
	p := &Process{Pid: pid, Cgroup: parseCgroup(cgroup), Command: parseCommand(command)}
	p.parseStatus(status)
	return p, nil
}

// parseStatus reads /proc/PID/status:
//
//	Name:	httpd
//	State:	S (sleeping)
//	PPid:	4711
//	Uid:	33	33	33	33
//	NSpid:	4712	9
//	VmRSS:	    3856 kB
//	Threads:	27
func (p *Process) parseStatus(text []byte) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		n, _ := strconv.ParseInt(fields[0], 10, 64) // 0 for what is no number
		switch key {
		case "Name":
			p.Name = strings.TrimSpace(value)
		case "State":
			p.State = fields[0][0]
		case "PPid":
			p.Parent = int(n)
		case "Uid":
			effective, _ := strconv.ParseUint(fields[min(1, len(fields)-1)], 10, 32)
			p.UID = uint32(effective)
		case "Threads":
			p.Threads = int(n)
		case "VmRSS":
			p.RSS = n << 10
		case "NSpid":
			for _, f := range fields {
				id, _ := strconv.Atoi(f)
				p.NSPid = append(p.NSPid, id)
			}
		}
	}
}

// parseCgroup reads /proc/PID/cgroup, of which one line is that of cgroup v2:
//
//	4:memory:/user
//	0::/minirun-4f2a
func parseCgroup(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return ""
}

// parseCommand reads /proc/PID/cmdline: arguments that end in NUL bytes. Some
// programs overwrite theirs with one line for ps, which may end in many.
func parseCommand(text []byte) []string {
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 {
		return nil
	}
	return strings.Split(string(text), "\x00")
}

// Kinds are the eight kinds of namespace, by their names in /proc/PID/ns.
var Kinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

// Namespaces returns the namespaces of a process by kind, each as the kernel
// writes it: "net:[4026531840]". A kind that the kernel does not have is
// missing. Needs the rights of ptrace(2) over the process.
func Namespaces(root string, pid int) (map[string]string, error) {
	found := map[string]string{}
	for _, kind := range Kinds {
		name, err := os.Readlink(filepath.Join(root, strconv.Itoa(pid), "ns", kind))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		found[kind] = name
	}
	return found, nil
}
