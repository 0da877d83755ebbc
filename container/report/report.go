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
	"minirun/plan"
)

// Process reports the process p, once its program runs or waits for start. The
// runtime holds a pidfd of it already, or it is the runtime's child and not yet waited
// for, so that its number is still its own. pidFile "" and pidFD nil ask for nothing.
// kind is the text that runc sends along with a pidfd: "standard" for the container
// process, "setns" for one that exec adds.
func Process(p *plan.Process, kind string, pidFD *os.File, pidFile string) error {
	if pidFD != nil {
		send := func() error { return sockets.SendPidFD(pidFD, kind, p.Pid) }
		if p.PidFD >= 0 {
			send = func() error { return sockets.Send(pidFD, []byte(kind), p.PidFD) }
		}
		if err := send(); err != nil {
			return fmt.Errorf("pidfd socket: %w", err)
		}
	}
	if pidFile == "" {
		return nil
	}
	return files.Replace(pidFile, []byte(strconv.Itoa(p.Pid)), 0o644)
}
