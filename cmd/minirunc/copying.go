package main

import (
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// copying copies the output of a program to one of the caller's files.
type copying struct {
	*os.File              // our end of a pipe, or of a terminal
	count    atomic.Int64 // bytes that were read
	done     chan struct{}
}

// startCopying copies until nobody has the other end any more, or the caller takes no
// more (EPIPE, ENOSPC). Then the program's next write fails with EPIPE.
func startCopying(from *os.File, to io.Writer) *copying {
	c := &copying{File: from, done: make(chan struct{})}
	go func() {
		io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{c}) // wrapped, so that io.Copy does not find a faster way past the counter
		c.Close()
		close(c.done)
	}()
	return c
}

func (c *copying) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.count.Add(int64(n))
	return n, err
}

// waiting are the bytes that we have not read yet.
func (c *copying) waiting() (n int) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n
}

// finish waits until the caller has everything that the program had written by its
// end, however slow the caller is. Processes that the program has left behind may
// still have the other end; for their output it waits only a moment.
func (c *copying) finish() {
	for all := int64(c.waiting()) + c.count.Load(); ; {
		select {
		case <-c.done:
			return
		case <-time.After(200 * time.Millisecond):
		}
		if c.waiting() > 0 && c.count.Load() < all {
			continue
		}
		if c.SetReadDeadline(time.Unix(0, 1)) == nil { // a terminal has no deadlines
			<-c.done // only the present write is finished
		}
		return
	}
}
