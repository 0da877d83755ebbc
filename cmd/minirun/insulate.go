package main

import (
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// A descriptor is a right to the whole file, not to what the caller does with
// it: who has a terminal as descriptor 1 can read what is typed there, and who
// has a log that was opened to append can truncate it, by way of
// /proc/self/fd/1. So a program in a container that was made from an image does
// not get the caller's terminals and files, but pipes, and we copy:
//
//	caller's 0    -> minirun -> pipe -> 0 of the program
//	caller's 1, 2 <- minirun <- pipe <- 1, 2 of the program
//
// The commands of engines pass on what they have: it is meant for the container.

// insulation are the pipes of one program.
type insulation struct {
	theirs []*os.File // ends that the program has, and we shall not keep
	copies []*copying
}

// insulate puts pipes in the place of the caller's descriptors, where the
// program has not been given something else already.
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
		s.options.Stderr = s.options.Stdout // one pipe, and all in its order
		return i, nil
	}
	s.options.Stderr, err = i.output(os.Stderr)
	return i, err
}

// silence throws away what a detached program writes that has no terminal of its
// own: nobody waits for it, and the caller's terminal would stay in its hands.
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
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // else it would be us who end with it
	i.theirs, i.copies = append(i.theirs, w), append(i.copies, startCopying(r, to))
	return w, nil
}

// started closes our copies of the program's ends: without them its end is the
// end of what is to be copied.
func (i *insulation) started() {
	for _, f := range i.theirs {
		f.Close()
	}
}

// finish waits until all that the program has written is with the caller.
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
