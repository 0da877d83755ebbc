package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// This file parses. The kernel writes each file in a format of its own, shown
// at its parser.

// tick is the unit of times in /proc, USER_HZ: a hundredth of a second on all
// machines that Go compiles for. Why not ask sysconf(_SC_CLK_TCK)? It answers
// the same, and is a function of the C library.
const tick = time.Second / 100

func ticks(n uint64) time.Duration { return time.Duration(n) * tick }

// Places of /proc/PID/stat, as proc_pid_stat(5) counts them: from 1.
const (
	fieldState      = 3
	fieldParent     = 4
	fieldGroup      = 5
	fieldSession    = 6
	fieldTTY        = 7
	fieldForeground = 8
	fieldFlags      = 9
	fieldUser       = 14
	fieldSystem     = 15
	fieldNice       = 19
	fieldThreads    = 20
	fieldStart      = 22
)

const flagKernelThread = 0x200000 // PF_KTHREAD in linux/sched.h

// parseStat reads /proc/PID/stat:
//
//	4712 (httpd) S 4711 4711 4711 0 -1 4194368 212 0 3 0 18 7 0 0 20 0 27 0 616220 1253376 986 …
//	pid (name) state parent group session tty foreground flags …
//
// The name may hold blanks, parentheses and newlines: it ends with the last
// parenthesis. proc_pid_stat(5).
func (p *Process) parseStat(text []byte) error {
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return fmt.Errorf("%q: no name in parentheses", text)
	}
	fields := statFields(strings.Fields(string(text[end+1:])))
	if len(fields) < fieldStart-fieldState+1 || len(fields[0]) != 1 {
		return fmt.Errorf("%q: want a state and at least %d fields", text, fieldStart)
	}
	p.Name, p.State = string(text[begin+1:end]), fields[0][0]
	p.Ticks = fields.count(fieldStart)
	p.CPU = ticks(fields.count(fieldUser) + fields.count(fieldSystem))
	p.KernelThread = fields.count(fieldFlags)&flagKernelThread != 0
	return errors.Join(
		fields.number(fieldParent, &p.Parent),
		fields.number(fieldGroup, &p.Group),
		fields.number(fieldSession, &p.Session),
		fields.number(fieldForeground, &p.Foreground),
		fields.number(fieldNice, &p.Nice),
		fields.number(fieldThreads, &p.Threads),
		fields.terminal(&p.TTY),
		fields.counts(fieldFlags, fieldUser, fieldSystem, fieldStart),
	)
}

// statFields are those after the name.
type statFields []string

func (f statFields) number(place int, n *int) (err error) {
	if *n, err = strconv.Atoi(f[place-fieldState]); err != nil {
		return fmt.Errorf("field %d: %w", place, err)
	}
	return nil
}

// count is a field without a sign; 0 if it is none, for which counts is there.
func (f statFields) count(place int) uint64 {
	n, _ := strconv.ParseUint(f[place-fieldState], 10, 64)
	return n
}

func (f statFields) counts(places ...int) error {
	for _, place := range places {
		if _, err := strconv.ParseUint(f[place-fieldState], 10, 64); err != nil {
			return fmt.Errorf("field %d: %w", place, err)
		}
	}
	return nil
}

// terminal decodes a device number: minor in bits 31 to 20 and 7 to 0, major in
// between. Majors as in the kernel's admin-guide/devices.txt.
func (f statFields) terminal(name *string) error {
	var n int
	if err := f.number(fieldTTY, &n); err != nil {
		return err
	}
	major, minor := n>>8&0xfff, n&0xff|n>>12&0xfff00
	switch {
	case n == 0:
		*name = ""
	case major == 4 && minor < 64:
		*name = fmt.Sprintf("tty%d", minor)
	case major == 4:
		*name = fmt.Sprintf("ttyS%d", minor-64)
	case major >= 136 && major <= 143:
		*name = fmt.Sprintf("pts/%d", (major-136)<<8+minor)
	default:
		*name = fmt.Sprintf("%d:%d", major, minor)
	}
	return nil
}

// parseStatus reads /proc/PID/status, for what stat does not have:
//
//	Name:	httpd
//	Uid:	33	33	33	33
//	NSpid:	4712	9
//	VmLck:	       0 kB
//	VmRSS:	    3856 kB
//
// Uid is the real, effective, saved and file system user; NSpid is missing
// before Linux 4.1; what begins with Vm is missing where there is no memory.
// proc_pid_status(5).
func (p *Process) parseStatus(text []byte) error {
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		fields, err := strings.Fields(value), error(nil)
		switch key {
		case "Uid":
			p.UID, err = effective(fields)
		case "NSpid":
			p.NSPid, err = integers(fields)
		case "VmRSS":
			p.RSS, err = kilobytes(fields)
		case "VmLck":
			p.Locked, err = kilobytes(fields)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func effective(fields []string) (uint32, error) {
	if len(fields) < 2 {
		return 0, fmt.Errorf("%q: want a real and an effective user", fields)
	}
	n, err := strconv.ParseUint(fields[1], 10, 32)
	return uint32(n), err
}

func integers(fields []string) ([]int, error) {
	var list []int
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
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
func (p *Process) parseCgroup(text []byte) error {
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			p.Cgroup = strings.TrimSuffix(strings.TrimSuffix(path, "\n"), " (deleted)")
		}
	}
	return nil
}

// parseCommand reads /proc/PID/cmdline: arguments that end in NUL bytes. Some
// programs overwrite theirs with one line for ps, which may end in many.
// proc_pid_cmdline(5).
func (p *Process) parseCommand(text []byte) error {
	if text = bytes.TrimRight(text, "\x00"); len(text) > 0 {
		p.Command = strings.Split(string(text), "\x00")
	}
	return nil
}

// bootTime reads when the machine was started from /proc/stat, in seconds
// after 1970:
//
//	cpu  135877 12 114238 …
//	btime 1795414706
//
// proc_stat(5).
func bootTime(root string) (time.Time, error) {
	path := filepath.Join(root, "stat")
	text, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "btime "); ok {
			sec, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				return time.Time{}, fmt.Errorf("%s: btime: %w", path, err)
			}
			return time.Unix(sec, 0), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s: no btime", path)
}

// StartTime returns when a process started, in clock ticks (hundredths of a
// second) after boot: field 22 of its stat. Process ids are used again, but not
// within one tick: a recorded id is still that of the same process only if the
// start time is the same, too.
func StartTime(root string, pid int) (uint64, error) {
	path := filepath.Join(root, strconv.Itoa(pid), "stat")
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var p Process
	if err := p.parseStat(text); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return p.Ticks, nil
}
