package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Kinds are the eight kinds of namespace, by their names in /proc/PID/ns. Two
// more files there, pid_for_children and time_for_children, say where the next
// child of the process will be born, not where the process is.
var Kinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

// Namespaces returns the namespaces of a process by kind, each as the kernel
// writes it: "net:[4026531840]", the kind and the inode number of the file that
// stands for it. A kind that the kernel does not have is missing. Needs the
// rights of ptrace(2) over the process, or fails with EACCES; a process that
// has ended is [fs.ErrNotExist].
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
	if found["mnt"] == "" { // a zombie keeps those of its ids, pid and user, until it is reaped
		return nil, fmt.Errorf("namespaces of process %d: %w", pid, fs.ErrNotExist)
	}
	return found, nil
}

// Members says which processes are in each namespace, by the namespace's name
// ("net:[4026531840]"). Every process is asked once, however many containers are
// compared with the answer. A process that has ended, or that we have no right to
// ask, is in none.
func Members(root string, list []*Process) map[string][]*Process {
	members := map[string][]*Process{}
	for _, p := range list {
		namespaces, err := Namespaces(root, p.Pid)
		if err != nil {
			continue
		}
		for _, name := range namespaces {
			members[name] = append(members[name], p)
		}
	}
	return members
}
