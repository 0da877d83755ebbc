package procfs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"minirun/cgroups"
)

// This file parses. The kernel writes each file in a format of its own, shown
// at its parser.

// parseStatus reads /proc/PID/status:
//
//	Name:	httpd
//	State:	S (sleeping)
//	PPid:	4711
//	Uid:	33	33	33	33
//	NSpid:	4712	9
//	VmRSS:	    3856 kB
//	Threads:	27
//
// Uid is the real, effective, saved and file system user; NSpid is missing from
// kernels without pid namespaces, VmRSS where there is no memory. The name may
// hold anything, but no newline as such: a process cannot add a line. Why not
// /proc/PID/stat, which ps reads too? It has no ids of users and namespaces, and
// whoever parses it must find the end of the name first. proc_pid_status(5).
func (p *Process) parseStatus(text string) error {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		fields, err := strings.Fields(value), error(nil)
		switch key {
		case "Name":
			p.Name = nameEscapes.Replace(strings.TrimPrefix(value, "\t"))
		case "State":
			p.State, err = letter(fields)
		case "PPid":
			p.Parent, err = number(fields)
		case "Uid":
			p.UID, err = effective(fields)
		case "NSpid":
			p.NSPid, err = numbers(fields)
		case "VmRSS":
			p.RSS, err = kilobytes(fields)
		case "Threads":
			p.Threads, err = number(fields)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if p.State == 0 {
		return errors.New("no state")
	}
	return nil
}

// nameEscapes undoes what the kernel does to a name so that it stays on its line.
var nameEscapes = strings.NewReplacer(`\n`, "\n", `\\`, `\`)

// letter is the state: the word in parentheses after it says the same.
func letter(fields []string) (byte, error) {
	if len(fields) == 0 {
		return 0, errors.New("want a letter")
	}
	return fields[0][0], nil
}

// number is a line with exactly one number.
func number(fields []string) (int, error) {
	if len(fields) != 1 {
		return 0, fmt.Errorf("%q: want one number", fields)
	}
	return strconv.Atoi(fields[0])
}

// numbers is a line of numbers: NSpid has one for each pid namespace that the process is in.
func numbers(fields []string) ([]int, error) {
	list := make([]int, len(fields))
	for i := range fields {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return nil, err
		}
		list[i] = n
	}
	return list, nil
}

// effective is the second of the four users, by which the kernel checks most rights
// (credentials(7)).
func effective(fields []string) (uint32, error) {
	if len(fields) < 2 {
		return 0, fmt.Errorf("%q: want a real and an effective user", fields)
	}
	n, err := strconv.ParseUint(fields[1], 10, 32)
	return uint32(n), err
}

// kilobytes returns bytes: the kernel's kB are 1024 of them.
func kilobytes(fields []string) (int64, error) {
	if len(fields) != 2 || fields[1] != "kB" {
		return 0, fmt.Errorf("%q: want a number of kB", fields)
	}
	n, err := strconv.ParseInt(fields[0], 10, 53)
	return n << 10, err
}

// parseCgroup reads /proc/PID/cgroup, of which one line is that of cgroup v2:
//
//	4:memory:/user
//	0::/minirun-4f2a
//
// A path outside of our cgroup namespace begins with "/..", one that was
// removed ends in " (deleted)". proc_pid_cgroup(5).
func (p *Process) parseCgroup(text string) error {
	path, _ := cgroups.ParsePath(text)
	p.Cgroup = strings.TrimSuffix(path, " (deleted)")
	return nil
}

// parseCommand reads /proc/PID/cmdline: arguments that end in NUL bytes. Some
// programs overwrite theirs with one line for ps, which may end in many.
// proc_pid_cmdline(5).
func (p *Process) parseCommand(text string) error {
	if text = strings.TrimRight(text, "\x00"); text != "" {
		p.Command = strings.Split(text, "\x00")
	}
	return nil
}
