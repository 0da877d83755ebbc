package course

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"minirun/container/procfs"
)

// HidesProcesses says why the process list cannot be used here; nil if it can.
// A mount option of /proc, hidepid, hides the processes of others.
func HidesProcesses() *Verdict {
	if _, err := os.Stat("/proc/1/status"); err == nil {
		return nil
	}
	v := IsCannot("/proc is mounted with hidepid here: it does not show the processes of others. Use: lab vm",
		"여기서는 /proc가 hidepid로 마운트되어 다른 사용자의 프로세스가 보이지 않습니다. 대신: lab vm")
	return &v
}

// All are all processes that /proc shows.
func All() ([]*procfs.Process, error) { return procfs.Read("/proc") }

// Processes are those in the pid namespace of a process, by ascending id: of a container
// all of its own, unless it shares the host's namespace. Zombies are in none; see [All].
func Processes(pid int) ([]*procfs.Process, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	return procfs.Members("/proc", all)[Namespace(pid, "pid")], nil
}

// Find returns the process with these words as its command; nil if there is none.
func Find(list []*procfs.Process, words ...string) *procfs.Process {
	for _, p := range list {
		if strings.Join(p.Command, "\x00") == strings.Join(words, "\x00") && p.State != 'Z' {
			return p
		}
	}
	return nil
}

// Names are the ids of a process, from our own pid namespace to the innermost; nil if
// the process is gone.
func Names(pid int) []int {
	p, err := procfs.One("/proc", pid)
	if err != nil {
		return nil
	}
	return p.NSPid
}

// Namespace is the namespace of a process by its kind, such as "uts", as the kernel
// writes it: "uts:[4026531838]"; "" if the process is gone or may not be looked at.
func Namespace(pid int, kind string) string {
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return ""
	}
	return link
}

// Catches says whether a process has a handler for a signal: SigCgt in /proc/PID/status,
// a mask in hexadecimal.
func Catches(pid int, signal unix.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if hex, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && mask>>(signal-1)&1 == 1
		}
	}
	return false
}

// RootOf is a process's root directory, as we see its path; "" if the process is gone.
func RootOf(pid int) string {
	root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return ""
	}
	return root
}

// Mounts are the mounts that a process sees: proc_pid_mountinfo(5).
func Mounts(pid int) ([]*mountinfo.Info, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	return mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
}

// MountAt is the topmost mount on a path; nil if there is none.
func MountAt(list []*mountinfo.Info, path string) (found *mountinfo.Info) {
	for _, m := range list {
		if m.Mountpoint == path {
			found = m
		}
	}
	return found
}

// HostName is the host name that a process sees. For that uname(1) enters the process's
// UTS namespace, which changes neither.
func HostName(pid int) (string, error) {
	words := []string{"--target", strconv.Itoa(pid), "--uts", "uname", "-n"}
	if os.Geteuid() != 0 {
		words = append([]string{"--user", "--preserve-credentials"}, words...)
	}
	out, err := exec.Command("nsenter", words...).Output()
	return strings.TrimSpace(string(out)), err
}

// End kills the processes of which ours is true, and waits until they are gone. A pidfd
// holds on to each, so that no other process with the same id is hit.
func End(ours func(p *procfs.Process) bool) error {
	all, err := All()
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Pid == os.Getpid() || p.State == 'Z' || !ours(p) {
			continue
		}
		if err := endOne(p.Pid, ours); err != nil {
			return fmt.Errorf("end process %d: %w", p.Pid, err)
		}
	}
	return nil
}

func endOne(pid int, ours func(p *procfs.Process) bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if p, err := procfs.One("/proc", pid); err != nil || !ours(p) {
		return nil // it ended, and the id may be another's
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	n := 0
	for end := time.Now().Add(10 * time.Second); n == 0; { // readable: it has ended
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
		if err != nil && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			return fmt.Errorf("it does not end: %v", err)
		}
		n = max(n, 0)
	}
	return nil
}
