package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/exit"
	"minirun/container/failure"
	"minirun/container/files"
)

// An engine is around for as long as its containers are: it keeps their output,
// waits for their end and removes them. minirun is not, and so leaves that to
// minirunc, by flags that help does not show:
//
//	minirunc run --monitor --name web --detach --bundle DIR ID -- minirun rm --force ID
//	minirunc exec --insulate --process FILE ID
//
//	--monitor      the end of the container is written down: by a monitor, with
//	               --detach, else by minirunc itself. The output of a detached
//	               container goes to the files stdout and stderr of the bundle.
//	--insulate     the program gets pipes, not the caller's own files: see insulate.go
//	               (--monitor includes it)
//	--interactive  what the caller types is for the program
//	--name         not used: it is there to be seen in ps
//	--guard        the number of a descriptor: minirun's guard executes COMMAND if it is
//	               closed before minirunc has written a byte (guard.go of minirun)
//	--network      the file with the container's link (package link)
//	--lease        the number of a descriptor that is closed once the link exists (package network)
//	--rm           the container is removed at its end
//	COMMAND        removes the container, and the bundle, which is minirun's. It is
//	               executed if the making of the container fails and, with --rm, at
//	               the end.
//
// With --monitor or --insulate errors are told in minirun's name, with the exit
// codes of [peopleCode]. With --people before a command, they are told in that name only.
type people struct {
	insulate    bool
	interactive bool
	remove      bool
	command     []string
	guard       guard
	lease       guard
}

// A guard is the descriptor of --guard; nil without one.
type guard struct{ *os.File }

// guarded takes the descriptor over. Nothing that minirunc starts may keep it.
func guarded(fd int) guard {
	if fd < 3 {
		return guard{}
	}
	unix.CloseOnExec(fd)
	return guard{os.NewFile(uintptr(fd), "guard")}
}

// release tells the guard that there is nothing to remove.
func (g guard) release() {
	if g.File != nil {
		g.Write([]byte{1}) // EPIPE: somebody has killed the guard. ErrClosed: it was released before
		g.Close()
	}
}

// close closes the descriptor, which was held for that alone.
func (g guard) close() {
	if g.File != nil {
		g.Close()
	}
}

// peopleCode is the exit code of run and exec for an error of their own, as
// docker has it: 127 if the program was not found, 126 if it cannot be executed,
// else 125.
func peopleCode(err error) error {
	switch {
	case !errors.Is(err, failure.ErrProgram):
		return report.Failure{Err: err, Code: 125}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return report.Failure{Err: err, Code: 127}
	}
	return report.Failure{Err: err, Code: 126}
}

// clean executes the command that removes container and bundle, and waits for it.
// In a session of its own a ^C in the user's terminal does not interrupt it.
func (p people) clean() error {
	if len(p.command) == 0 {
		return nil
	}
	var message bytes.Buffer // of interest only if it fails: somebody else may have removed them already
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Stderr = &message
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", p.command[0], err, bytes.TrimSpace(message.Bytes()))
	}
	return nil
}

// openLog opens the file that a detached container's output and errors go to: one, so that
// they stay in the order in which they were written. What is no regular file there is
// not written to, nor what a link leads to.
func openLog(bundle string) (*os.File, error) {
	path := filepath.Join(bundle, "log")
	if err := files.CheckRegular(path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
}

// endless is a standard input that says nothing and does not end: a pipe opened
// for reading and writing, so that its reader is also its writer.
func endless() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), os.O_RDWR, 0)
}

// reserve makes the file that record will write.
func reserve(k *container.Container) error {
	f, err := exit.Open(k.Dir())
	if err != nil {
		return err
	}
	return f.Close()
}

// record writes down how a container ended whose monitor minirunc itself was.
func record(k *container.Container, status unix.WaitStatus) error {
	if err := exit.Write(k.Dir(), status); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // it was removed meanwhile
}
