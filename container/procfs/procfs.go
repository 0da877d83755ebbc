package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is one process, as it was when we looked.
type Process struct {
	Pid, Parent int
	NSPid       []int // its ids in this and the nested pid namespaces, outermost first

	Name         string   // the program's, at most 15 bytes; may hold any of them, such as blanks
	Command      []string // arguments; empty for a kernel thread or a zombie
	State        byte     // R, S, D, Z, T, … as in ps
	KernelThread bool
	UID          uint32 // effective user, in our user namespace
	TTY          string // controlling terminal below /dev, such as "pts/3"; "" without

	Threads int           // NLWP
	RSS     int64         // resident memory in bytes; 0 for a kernel thread or a zombie
	Locked  int64         // of its memory, in bytes, what may not be paged out
	CPU     time.Duration // processor time it has used, in user and kernel mode
	Nice    int           // -20 to 19

	Ticks   uint64    // when it started, in clock ticks after boot: StartTime
	Started time.Time // the same by the clock on the wall

	Group, Session int // process group, session: ids of their leaders
	Foreground     int // process group in the foreground of TTY; -1 without

	Cgroup       string // path in cgroup v2, from the root of our cgroup namespace; "" without
	PIDNamespace string // "pid:[4026531836]"; "" if we have no right to know
}

// Inner is the process id in the innermost pid namespace: what the process
// itself takes for its id.
func (p *Process) Inner() int {
	if len(p.NSPid) == 0 {
		return p.Pid
	}
	return p.NSPid[len(p.NSPid)-1]
}

// Line is the command as ps prints it: [name] where there are no arguments. It
// may hold control characters.
func (p *Process) Line() string {
	switch {
	case p.State == 'Z':
		return "[" + p.Name + "] <defunct>"
	case len(p.Command) == 0:
		return "[" + p.Name + "]"
	}
	return strings.Join(p.Command, " ")
}

// Stat is the column STAT of ps(1): the state, and letters for a high (<) or
// low (N) priority, locked memory (L), a session leader (s), more than one
// thread (l), and the foreground of its terminal (+).
func (p *Process) Stat() string {
	s := string(p.State)
	for _, mark := range []struct {
		letter string
		holds  bool
	}{
		{"<", p.Nice < 0},
		{"N", p.Nice > 0},
		{"L", p.Locked > 0},
		{"s", p.Session == p.Pid},
		{"l", p.Threads > 1},
		{"+", p.Foreground == p.Group},
	} {
		if mark.holds {
			s += mark.letter
		}
	}
	return s
}

// Read returns all processes that we may look at, by ascending id.
func Read(root string) ([]*Process, error) {
	boot, err := bootTime(root)
	if err != nil {
		return nil, err
	}
	pids, err := numbers(root)
	if err != nil {
		return nil, err
	}
	var list []*Process
	for _, pid := range pids {
		p, err := one(root, pid)
		if gone(err) || hidden(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		p.Started = boot.Add(ticks(p.Ticks))
		list = append(list, p)
	}
	return list, nil
}

// one reads a process. All of its files are opened below the same descriptor:
// it stays that of this process, whose files then answer ESRCH, when the id has
// gone to another.
func one(root string, pid int) (*Process, error) {
	dir, err := os.OpenRoot(filepath.Join(root, strconv.Itoa(pid)))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	p := &Process{Pid: pid}
	for _, file := range []struct {
		name  string
		parse func([]byte) error
	}{
		{"stat", p.parseStat},
		{"status", p.parseStatus},
		{"cmdline", p.parseCommand},
		{"cgroup", p.parseCgroup},
	} {
		text, err := dir.ReadFile(file.name)
		if err != nil {
			return nil, err
		}
		if err := file.parse(text); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir.Name(), file.name, err)
		}
	}
	p.PIDNamespace, _ = dir.Readlink("ns/pid") // EACCES, EPERM: another user's; we can do without
	return p, nil
}

// gone says whether the process ended while we looked: open says ENOENT, read
// ESRCH.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// hidden says whether /proc is mounted with hidepid=1, and the process that of
// somebody else.
func hidden(err error) bool { return errors.Is(err, fs.ErrPermission) }

// Threads returns the thread ids of a process, ascending: the column LWP of
// ps -eLf. The first thread of a program has the id of the process.
func Threads(root string, pid int) ([]int, error) {
	return numbers(filepath.Join(root, strconv.Itoa(pid), "task"))
}

// numbers lists the entries of a directory that are numbers, ascending.
func numbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}
