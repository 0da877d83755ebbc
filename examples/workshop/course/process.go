package course

import (
	"os"

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

// Names are the ids of a process, from our own pid namespace to the innermost; nil if
// the process is gone.
func Names(pid int) []int {
	p, err := procfs.One("/proc", pid)
	if err != nil {
		return nil
	}
	return p.NSPid
}
