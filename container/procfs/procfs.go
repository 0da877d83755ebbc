package procfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A Process is one process, as it was when we looked.
type Process struct {
	Pid, Parent int
	NSPid       []int // its ids in our pid namespace and in those nested in it, outermost first

	Name    string   // the program's, at most 15 bytes; may hold any, such as blanks or newlines
	Command []string // arguments; empty for a kernel thread or a zombie
	State   byte     // R, S, D, Z, T, … as in ps
	UID     uint32   // effective user, in our user namespace

	Threads int   // NLWP
	RSS     int64 // resident memory in bytes; 0 for a kernel thread or a zombie

	Cgroup       string // path in cgroup v2, from the root of our cgroup namespace; "" without
	PIDNamespace string // "pid:[4026531836]"; "" if we have no right to know, or it is a zombie
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
	switch {
	case p.State == 'Z':
		return "[" + Printable(p.Name) + "] <defunct>"
	case len(p.Command) == 0:
		return "[" + Printable(p.Name) + "]"
	}
	return Printable(strings.Join(p.Command, " "))
}

// Printable is a name or an argument with ? for what a terminal might obey: the
// process chose it, and may mean harm.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}

// Read returns all processes that we may look at, by ascending id.
func Read(root string) ([]*Process, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var list []*Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // cpuinfo, meminfo, …
		}
		p, err := One(root, pid)
		if gone(err) || hidden(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Process) int { return a.Pid - b.Pid })
	return list, nil
}

// One returns a process. All of its files are opened below the same descriptor of
// /proc/PID. If the process ends meanwhile, and its id is given to another, that descriptor
// still belongs to the first one, and answers ESRCH: so the parts always fit together.
func One(root string, pid int) (*Process, error) {
	dir, err := os.OpenRoot(filepath.Join(root, strconv.Itoa(pid)))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	p := &Process{Pid: pid}
	for _, file := range []struct {
		name  string
		parse func(string) error
	}{
		{"status", p.parseStatus},
		{"cmdline", p.parseCommand},
		{"cgroup", p.parseCgroup},
	} {
		text, err := readStart(dir, file.name)
		if err != nil {
			return nil, err
		}
		if err := file.parse(string(text)); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir.Name(), file.name, err)
		}
	}
	p.PIDNamespace, _ = dir.Readlink("ns/pid") // EACCES: another user's. We can do without
	return p, nil
}

// enough is how many bytes of a file of /proc are read. An honest process has less there. But
// a process can make its command line as long as all of its memory (prctl(2),
// PR_SET_MM_MAP), and ps must not take as much for that.
const enough = 1 << 20

// readStart reads the first bytes of a file, at most enough.
func readStart(dir *os.Root, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, enough))
}

// gone says whether the process ended while we looked: then open(2) answers ENOENT, and
// read(2) of a file that was open already answers ESRCH.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// hidden says whether /proc is mounted with hidepid=1 and the process is another user's. With
// hidepid=2 such a process is not in /proc at all (proc(5)).
func hidden(err error) bool { return errors.Is(err, fs.ErrPermission) }
