package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A container can do more with its log than write to it: it can make it longer than
// any disk, with a hole (ftruncate(2)), or take a lease on it. So the functions here
// do not wait for the container, and do not read holes.

// openLog opens a log. If the container holds a lease on it (F_SETLEASE of fcntl(2)),
// the kernel asks the container by a signal to give it up, and open(2) would wait for
// that, for up to fs.lease-break-time: 45 seconds. open does not wait (O_NONBLOCK), and openLog
// waits for one second.
func openLog(open func() (*os.File, error)) (*os.File, error) {
	for end := time.Now().Add(time.Second); ; time.Sleep(20 * time.Millisecond) {
		f, err := open()
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%w: the container has a lease on it, until fs.lease-break-time is over", err)
		}
	}
}

// copyData copies a log from the file's position to its present end, without holes.
func copyData(to io.Writer, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	for err == nil {
		var start, end int64
		if start, err = nextData(f, at); err != nil || start >= info.Size() {
			break
		}
		if end, err = f.Seek(start, unix.SEEK_HOLE); err != nil {
			break // ENXIO: it was cut meanwhile
		}
		if _, err = f.Seek(start, io.SeekStart); err == nil {
			var n int64
			n, err = io.CopyN(to, f, min(end, info.Size())-start)
			at = start + n
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ENXIO) {
		err = nil
	}
	_, back := f.Seek(at, io.SeekStart)
	return errors.Join(err, back)
}

// nextData is the first place from at on that is not in a hole; the highest possible
// place if there is none. lseek(2), SEEK_DATA: Linux 3.1.
func nextData(f *os.File, at int64) (int64, error) {
	start, err := f.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 1<<63 - 1, nil
	}
	return start, err
}

// tailLines parses --tail: a number of lines, or all (-1).
func tailLines(s string) (int, error) {
	if s == "all" || s == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("tail %q: want a number of lines, or all", s)
	}
	return n, nil
}

// seekTail positions f before its last n lines; -1 is before all. It reads
// backwards, because a log can be much longer than its last lines. In a hole its
// steps double; when it has found data again, they are halved.
func seekTail(f *os.File, n int) error {
	const block = 64 << 10
	if n < 0 {
		return nil
	}
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buffer, last := make([]byte, block), true
	for step := int64(block); at > 0; {
		step = min(step, at)
		start, err := nextData(f, at-step)
		switch {
		case err != nil:
			return err
		case start >= at:
			at, step = at-step, 2*step
			continue
		case step > block:
			step /= 2
			continue
		}
		at -= step
		read, err := f.ReadAt(buffer[:step], at)
		if err != nil && err != io.EOF { // it was cut meanwhile
			return err
		}
		var text []byte
		text, last = withoutEnd(buffer[:read], last)
		begin, missing := lastLines(text, n)
		if missing == 0 {
			_, err := f.Seek(at+begin, io.SeekStart)
			return err
		}
		step, n = block, missing
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// withoutEnd leaves out, of the last text of a log, the end of the last line, which is
// not that of the line before, and a hole behind it. If nothing else is there, the
// last line is yet to come.
func withoutEnd(text []byte, last bool) (rest []byte, stillLast bool) {
	if !last {
		return text, false
	}
	text = bytes.TrimRight(text, "\x00")
	return bytes.TrimSuffix(text, []byte("\n")), len(text) == 0
}

// lastLines looks for the n-th end of a line from behind: it returns where the text
// behind that begins, and how many of the n are missing.
func lastLines(text []byte, n int) (begin int64, missing int) {
	for i := bytes.LastIndexByte(text, '\n'); i >= 0; i = bytes.LastIndexByte(text[:i], '\n') {
		if n--; n == 0 {
			return int64(i) + 1, 0
		}
	}
	return 0, n
}
