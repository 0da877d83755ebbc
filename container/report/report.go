// Package report tells an engine which process the runtime has made.
//
// An engine such as containerd starts the runtime, which exits while the container
// process goes on. The process id is not on any output of the runtime, because that
// is the container's output. So the engine asks for it in one of two ways:
//
//	--pid-file PATH       a file with the process id
//	--pidfd-socket PATH   a pidfd, which refers to the process even after its id is
//	                      used again (pidfd_open(2))
package report

import (
	"fmt"
	"os"
	"strconv"

	"minirun/container/files"
	"minirun/container/sockets"
)

// Process reports the process pid, which must be alive or not yet waited for, once
// its program runs or waits for start. pidFile "" and pidFD nil ask for nothing.
// kind is the text that runc sends along with a pidfd: "standard" for the container
// process, "setns" for one that exec adds.
func Process(pid int, kind string, pidFD *os.File, pidFile string) error {
	if pidFD != nil {
		if err := sockets.SendPidFD(pidFD, kind, pid); err != nil {
			return fmt.Errorf("pidfd socket: %w", err)
		}
	}
	if pidFile == "" {
		return nil
	}
	return files.Replace(pidFile, []byte(strconv.Itoa(pid)), 0o644)
}
