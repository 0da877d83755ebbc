package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// TestHoles: of a log that is longer than any disk, what was written is printed,
// and the last lines are found; a hole that is read would take hours.
func TestHoles(t *testing.T) {
	const far = 8 << 40
	for about, c := range map[string]struct {
		parts map[int64]string
		size  int64
		tails map[int]string
	}{
		"none":    {map[int64]string{0: "a\nb\nc\n"}, 6, map[int]string{-1: "a\nb\nc\n", 0: "", 1: "c\n", 2: "b\nc\n", 3: "a\nb\nc\n", 9: "a\nb\nc\n"}},
		"unended": {map[int64]string{0: "a\nb"}, 3, map[int]string{1: "b", 2: "a\nb"}},
		"empty":   {nil, 0, map[int]string{-1: "", 1: ""}},
		"only":    {nil, far, map[int]string{-1: "", 1: ""}},
		"after":   {map[int64]string{0: "a\nb\n"}, far, map[int]string{-1: "a\nb\n", 1: "b\n", 2: "a\nb\n"}},
		"before":  {map[int64]string{far: "a\nb\n"}, far + 4, map[int]string{-1: "a\nb\n", 1: "b\n", 3: "a\nb\n"}},
		"between": {map[int64]string{0: "a\nb\n", far / 3: "c\n", far - 5: "d\n", far: "e\n"}, far + 1<<20,
			map[int]string{-1: "a\nb\nc\nd\ne\n", 1: "e\n", 2: "d\ne\n", 3: "c\nd\ne\n", 4: "b\nc\nd\ne\n"}},
		"a long line": {map[int64]string{1 << 40: "a\n" + strings.Repeat("x", 1<<20) + "\nb\n"}, far, map[int]string{1: "b\n", 2: strings.Repeat("x", 1<<20) + "\nb\n"}},
	} {
		path := filepath.Join(t.TempDir(), "log")
		w, err := os.Create(path)
		testbed.Must(t, err)
		for at, text := range c.parts {
			_, err := w.WriteAt([]byte(text), at)
			testbed.Must(t, err)
		}
		testbed.Must(t, w.Truncate(c.size))
		for n, want := range c.tails {
			f, err := openLog(at(path))
			testbed.Must(t, err)
			var b strings.Builder
			if err := errors.Join(seekTail(f, n), copyData(&b, f)); err != nil {
				t.Errorf("%s, %d lines: %v", about, n, err)
			}
			if got := strings.ReplaceAll(b.String(), "\x00", ""); got != want || b.Len() > len(want)+1<<16 { // what is left of a block is none
				t.Errorf("%s: of %d bytes, the last %d lines are %.99q, want %.99q", about, b.Len(), n, got, want)
			}
			_, err = w.WriteAt([]byte("later\n"), c.size+far/8) // as one that follows sees it
			testbed.Must(t, err)
			b.Reset()
			if err := copyData(&b, f); err != nil || strings.Trim(b.String(), "\x00") != "later\n" {
				t.Errorf("%s: later, there is %.99q, %v", about, b.String(), err)
			}
			testbed.Must(t, w.Truncate(c.size))
			f.Close()
		}
		w.Close()
	}
}

// TestLease: a lease on a log is an error within a second or two.
func TestLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	testbed.Must(t, err)
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal("F_SETLEASE:", err)
	}
	if f, err := openLog(at(path)); !errors.Is(err, unix.EWOULDBLOCK) || !strings.Contains(err.Error(), "has a lease") {
		t.Errorf("openLog() = %v, %v, want EWOULDBLOCK", f, err)
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	testbed.Must(t, err)
	r, err := openLog(at(path))
	testbed.Must(t, err)
	r.Close()
}

// at opens a log that is no container's.
func at(path string) func() (*os.File, error) {
	return func() (*os.File, error) { return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) }
}
