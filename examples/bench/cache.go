package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// This file puts all programs that are compared into one state of the page cache.
// What was just written to a file lies there in large folios, which a program
// maps with few faults; what was read back from the disk lies in single pages.
// That alone makes up to a fifth of a short program's time, so a binary fresh
// from the linker must not be compared with one that was installed long ago.

// The states, by the names that -cache takes.
const (
	written = "written" // a copy of the binary was just written
	fromTo  = "read"    // the copy was dropped from the page cache, and is read as it is executed
)

var cacheStates = []string{written, fromTo}

// prepare copies every program into the house, in the same state of the page
// cache, and lets the candidates be the copies.
func (b *bench) prepare(state string) error {
	dir := filepath.Join(b.dir, state)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	all := []*candidate{&b.people}
	for i := range b.candidates {
		all = append(all, &b.candidates[i])
	}
	var errs []error
	for _, c := range all {
		if c.path == "" {
			continue
		}
		copied := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
		if err := writeCopy(c.path, copied); err != nil {
			errs = append(errs, err)
			continue
		}
		c.path = copied
		if state == fromTo {
			errs = append(errs, dropCache(copied))
		}
	}
	return errors.Join(errs...)
}

// writeCopy copies a program.
func writeCopy(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// dropCache takes a file out of the page cache. Only what is on the disk can be
// dropped, so it is written there first. A tmpfs is nothing but page cache.
func dropCache(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("posix_fadvise %s: %w", path, err)
	}
	var left unix.Cachestat_t
	err = unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &left, 0)
	if errors.Is(err, unix.ENOSYS) {
		return nil // before Linux 6.5 nobody can tell
	}
	if err == nil && left.Cache > 0 {
		err = fmt.Errorf("%s: %d pages stay in the page cache: is TMPDIR on a disk?", path, left.Cache)
	}
	return err
}

// cacheWords are the states that -cache names.
func (o options) cacheWords() ([]string, error) {
	words := strings.Split(o.cache, ",")
	for _, w := range words {
		if !slices.Contains(cacheStates, w) {
			return nil, fmt.Errorf("-cache %q: want some of %s", o.cache, strings.Join(cacheStates, ","))
		}
	}
	return words, nil
}
