package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// manyContainers are started and removed one after another.
const manyContainers = 100

// detached measures containers that run in the background: what one adds in
// memory, and how long a hundred of them take, by the commands that a person
// types. The image holds nothing but the two programs.
func (b *bench) detached() []fact {
	c := b.candidate(minirun)
	facts := []fact{
		{Title: "memory one detached container adds (PSS of its monitor)", Candidate: c.name, Unit: "KiB", Budget: 1024, Skipped: c.missing},
		{Title: fmt.Sprintf("the same for each of %d", manyContainers), Candidate: c.name, Unit: "KiB", Budget: 1024, Skipped: c.missing},
		{Title: fmt.Sprintf("starting one of %d detached containers", manyContainers), Candidate: c.name, Unit: "s", Skipped: c.missing},
		{Title: fmt.Sprintf("removing one of %d running containers", manyContainers), Candidate: c.name, Unit: "s", Skipped: c.missing},
	}
	if c.path == "" {
		return facts
	}
	values, err := b.many(c)
	for i := range facts {
		facts[i].Value, facts[i].Err = values[i], message(err)
	}
	return facts
}

// many starts and removes the containers, and looks at the memory after the
// first and after the last. The values are in the order of detached.
func (b *bench) many(c candidate) (values [4]float64, err error) {
	if err := b.importImage(c); err != nil {
		return values, err
	}
	var names []string
	var started time.Duration
	for i := range manyContainers {
		progress("detached container %d of %d", i+1, manyContainers)
		names = append(names, fmt.Sprint("b", i))
		took, startErr := b.runner.run(b.stored(c, "run", "-d", "--name", names[i], "bench", "/bin/pause")...)
		if err = startErr; err != nil {
			names = names[:i]
			break
		}
		started += took
		if i == 0 {
			values[0], err = settled()
		}
	}
	progress("")
	average, pssErr := monitors()
	removed, removeErr := b.runner.run(b.stored(c, append([]string{"rm", "-f"}, names...)...)...)
	reap()
	values[1], values[2], values[3] = average, started.Seconds()/manyContainers, removed.Seconds()/manyContainers
	return values, errors.Join(err, pssErr, removeErr)
}

// stored is minirun's command line for containers of images, which it keeps in
// our folder.
func (b *bench) stored(c candidate, arguments ...string) []string {
	return b.command(c, append([]string{"--store", filepath.Join(b.dir, "store")}, arguments...)...)
}

// importImage makes an image of the two programs.
func (b *bench) importImage(c candidate) error {
	name := filepath.Join(b.dir, "image.tar")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := tar.NewWriter(file)
	if err := archive.AddFS(os.DirFS(filepath.Join(b.dir, "rootfs"))); err != nil {
		return fmt.Errorf("archive the image: %w", err)
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("archive the image: %w", err)
	}
	_, err = b.runner.run(b.stored(c, "import", name, "bench")...)
	return err
}

// settled is what monitors returns when it no longer changes: run -d returns
// while the monitor still shares memory with it.
func settled() (float64, error) {
	for before := math.NaN(); ; time.Sleep(100 * time.Millisecond) {
		now, err := monitors()
		if err != nil || now == before {
			return now, err
		}
		before = now
	}
}

// monitors returns the proportional set size, in KiB, of the processes that
// wait for our containers, per container. A container without one (its parent
// is process 1, which is us) adds nothing.
func monitors() (float64, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	var total, containers float64
	for _, dir := range processes {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil || field(strings.NewReader(string(status)), "Name") != "pause" {
			continue // it has ended, or is none of ours
		}
		containers++
		if parent := field(strings.NewReader(string(status)), "PPid"); parent != "1" {
			size, err := pss(parent)
			if err != nil {
				return 0, err
			}
			total += size
		}
	}
	if containers == 0 {
		return 0, errors.New("no container process in /proc")
	}
	return total / containers, nil
}

// pss reads the proportional set size of a process in KiB: its own pages, and
// its share of those that it has in common with others.
func pss(pid string) (float64, error) {
	file, err := os.Open(filepath.Join("/proc", pid, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return strconv.ParseFloat(strings.TrimSuffix(field(file, "Pss"), " kB"), 64)
}

// field returns the value of a line "Name:  value", or "".
func field(lines io.Reader, name string) string {
	s := bufio.NewScanner(lines)
	for s.Scan() {
		if key, value, _ := strings.Cut(s.Text(), ":"); key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
