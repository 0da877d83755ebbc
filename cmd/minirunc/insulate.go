package main

import (
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// A descriptor is a right to the whole file, not only to what its holder usually
// does with it. A program that has the caller's terminal as descriptor 1 can read
// what is typed there; a program that has a log which was opened to append can
// truncate it, by way of /proc/self/fd/1. So a program in a container that was
// made from an image gets pipes, and minirunc copies:
//
//	caller's 0    -> minirunc -> pipe -> 0 of the program
//	caller's 1, 2 <- minirunc <- pipe <- 1, 2 of the program
//
// For an engine's containers this is not done: an engine passes descriptors that
// are meant for the container.

// insulation is the pipes of one program.
type insulation struct {
	theirs []*os.File // the program's ends
	copies []*copying
}

// insulate makes pipes for those of the program's descriptors for which nothing is
// chosen yet.
func (s *session) insulate() (*insulation, error) {
	i := &insulation{}
	if s.spec.Process.Terminal {
		return i, nil
	}
	if s.options.Stdin == nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		s.options.Stdin, i.theirs = r, append(i.theirs, r)
		go func() { io.Copy(w, os.Stdin); w.Close() }() // EPIPE: nobody reads any more
	}
	var err error
	if s.options.Stdout, err = i.output(os.Stdout); err != nil {
		return nil, err
	}
	if same(os.Stdout, os.Stderr) {
		s.options.Stderr = s.options.Stdout // one pipe, and so all in its order
		return i, nil
	}
	s.options.Stderr, err = i.output(os.Stderr)
	return i, err
}

// silence lets a detached program that has no terminal write to the null device. It
// must not keep the caller's terminal: nobody waits for it.
func (s *session) silence() (err error) {
	if !s.spec.Process.Terminal {
		s.options.Stdout, err = os.OpenFile("/dev/null", os.O_WRONLY, 0)
		s.options.Stderr = s.options.Stdout
	}
	return err
}

// output is the end of a pipe whose other end is copied to a file.
func (i *insulation) output(to *os.File) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // else a caller that takes no more would end minirunc
	i.theirs, i.copies = append(i.theirs, w), append(i.copies, startCopying(r, to))
	return w, nil
}

// started closes our copies of the program's ends. While we have them, the pipes
// do not end with the program.
func (i *insulation) started() {
	for _, f := range i.theirs {
		f.Close()
	}
}

// finish waits until the caller has all that the program has written.
func (i *insulation) finish() {
	for _, c := range i.copies {
		c.finish()
	}
}

func same(a, b *os.File) bool {
	infoA, errA := a.Stat()
	infoB, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
