package main

import (
	"fmt"
	"io"
	"os"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"minirun/container/sockets"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// resize gives the program's terminal the size of ours.
func resize(master *os.File) {
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size) // EIO: it is closed
	}
}

// terminalSize is the size of the caller's terminal; nil if there is none.
func terminalSize() *specs.Box {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 {
		return nil
	}
	return &specs.Box{Height: uint(size.Row), Width: uint(size.Col)}
}

// receiveTerminal takes the master of the program's terminal. An end of line is then "\n",
// as the program writes it, also in a pipe or a file: if our output is a terminal, that one
// makes "\r\n" of it.
func (s *session) receiveTerminal() (err error) {
	if s.master, _, err = sockets.Receive(s.socket); err != nil {
		return err
	}
	if err := console.ClearONLCR(s.master.Fd()); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

// attachTerminal connects our terminal with the program's. If what is typed is for
// the program, ours is made raw: every key goes to the program's terminal, and ^C
// becomes a signal there. Else ^C stays a signal to us, which is passed on. done
// waits for the rest of the output and makes our terminal what it was. pressed is called
// for each ^C that is typed for the program.
func (s *session) attachTerminal(pressed func()) (done func(), err error) {
	restore := func() {}
	interactive := s.people.interactive || !s.people.insulate
	if ours, err := console.ConsoleFromFile(os.Stdin); err == nil && interactive {
		if err := ours.SetRaw(); err != nil {
			return nil, fmt.Errorf("terminal: %w", err)
		}
		restore = func() { ours.Reset() } // EIO: our terminal is gone
	}
	resize(s.master)
	if interactive {
		go func() {
			io.Copy(s.master, keys{os.Stdin, pressed})
			s.master.Write([]byte{4}) // ^D: how a terminal says that nothing more comes
		}()
	}
	output := startCopying(s.master, os.Stdout) // until EIO: the last process closed the terminal
	return func() {
		output.finish()
		restore()
	}, nil
}
