package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Stat is the little that tells one process from a later one with the same id,
// and whether it still runs.
type Stat struct {
	State    byte   // R, S, D, Z, T, … as in ps
	Executed bool   // it has called execve since it was cloned
	Start    uint64 // when it was cloned, in clock ticks after boot
}

// Ended says whether the process is a zombie: it has ended, and its parent has
// not waited for it yet.
func (s Stat) Ended() bool { return s.State == 'Z' || s.State == 'X' }

// forkNoExec is the kernel's flag of a process that has not called execve
// (PF_FORKNOEXEC, linux/sched.h).
const forkNoExec = 0x40

// ReadStat reads /proc/PID/stat. It is one file, and so cheaper than [One]; a
// process that is gone is fs.ErrNotExist, or ESRCH if it ended in between.
func ReadStat(root string, pid int) (Stat, error) {
	path := filepath.Join(root, strconv.Itoa(pid), "stat")
	text, err := ReadSmall(path)
	if err != nil {
		return Stat{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return Stat{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// ReadSmall reads a file of /proc of at most a page. Why not os.ReadFile? It makes twice as
// many system calls, and every start reads two such files.
func ReadSmall(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd) // EIO is impossible: nothing was written
	text := make([]byte, 4096)
	n, err := unix.Read(fd, text)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return string(text[:n]), nil
}

// parseStat reads the state, the flags and the start time, which are the fields
// 3, 9 and 22 (proc_pid_stat(5)):
//
//	4711 (name with ) and blanks) S 1 4711 4711 0 -1 4194560 …
//
// The name may hold parentheses, so it ends at the last one.
func parseStat(text string) (s Stat, err error) {
	_, after, _ := strings.Cut(text[max(0, strings.LastIndexByte(text, ')')):], " ")
	fields := strings.Fields(after)
	if len(fields) < 20 {
		return Stat{}, fmt.Errorf("%q: too short", text)
	}
	flags, flagsErr := strconv.ParseUint(fields[6], 10, 64)
	start, startErr := strconv.ParseUint(fields[19], 10, 64)
	return Stat{fields[0][0], flags&forkNoExec == 0, start}, errors.Join(flagsErr, startErr)
}
