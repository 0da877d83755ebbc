package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
)

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
// backwards, since a log may be much longer than what one wants to see of it.
func seekTail(f *os.File, n int) error {
	if n < 0 {
		return nil
	}
	const block = 64 << 10
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buffer := make([]byte, block)
	for at := end; at > 0; {
		size := min(block, at)
		at -= size
		if _, err := f.ReadAt(buffer[:size], at); err != nil {
			return err
		}
		text := buffer[:size]
		if at+size == end && text[size-1] == '\n' {
			text = text[:size-1] // the last line's own end
		}
		for i := bytes.LastIndexByte(text, '\n'); i >= 0; i = bytes.LastIndexByte(text[:i], '\n') {
			if n--; n == 0 {
				_, err := f.Seek(at+int64(i)+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
