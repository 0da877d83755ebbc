package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// This file reads and writes control files. The names of their formats are those
// of cgroup-v2.rst, "Interface Files".

// Read returns the text of a control file. A group that is removed while its file
// is open counts as missing too: the error is ENOENT.
func (g *Group) Read(file string) (string, error) { return read(g.Dir, file) }

// ReadFlatKeyed reads a control file of keys and numbers; see [ParseFlatKeyed].
func (g *Group) ReadFlatKeyed(file string) (map[string]uint64, error) {
	text, err := g.Read(file)
	if err != nil {
		return nil, err
	}
	values, err := ParseFlatKeyed(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(g.Dir, file), err)
	}
	return values, nil
}

// ParseFlatKeyed parses lines such as
//
//	usage_usec 3520
func ParseFlatKeyed(text string) (map[string]uint64, error) {
	values := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, err
		}
		values[key] = n
	}
	return values, nil
}

// read reads a control file. Why not os.ReadFile? It makes twice as many system
// calls, and every start reads one file a level.
func read(dir, file string) (string, error) {
	path := filepath.Join(dir, file)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd) // EIO is impossible: nothing was written
	// Until the end: cgroup.procs can be longer than any buffer.
	var text []byte
	for buffer := make([]byte, 4096); ; {
		n, err := unix.Read(fd, buffer)
		if err == unix.ENODEV {
			err = unix.ENOENT
		}
		if err != nil {
			return "", &os.PathError{Op: "read", Path: path, Err: err}
		}
		if text = append(text, buffer[:n]...); n == 0 {
			return string(text), nil
		}
	}
}

// readWords reads a control file that is a list of words.
func readWords(dir, file string) ([]string, error) {
	text, err := read(dir, file)
	return strings.Fields(text), err
}

// readPids reads a control file that is a list of process ids.
func readPids(dir, file string) ([]int, error) {
	words, err := readWords(dir, file)
	if err != nil {
		return nil, err
	}
	pids := make([]int, len(words))
	for i, w := range words {
		if pids[i], err = strconv.Atoi(w); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, file), err)
		}
	}
	return pids, nil
}

// write writes one line to a control file. Why not os.WriteFile? It would try to
// create a missing file, which fails with EACCES and hides ENOENT.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	return nil
}

// isRemoved says whether the group was removed before its file was opened
// (ENOENT) or after (ENODEV).
func isRemoved(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }
