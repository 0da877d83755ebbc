package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// manyContainers are started and removed one after another.
const manyContainers = 100

// glances are the commands that look at all of them, or, where there is an id,
// at one.
var glances = []string{"ps", "tree", "ns", "state"}

// detached measures containers that run in the background: what one adds in
// memory, how long a hundred of them take, and how long it takes to look at
// them, by the commands that a person types. The image holds nothing but the two
// programs.
func (b *bench) detached() []fact {
	facts := []fact{
		{Title: "memory one detached container adds (PSS of its monitor)", Unit: "KiB", Budget: 300},
		{Title: fmt.Sprintf("the same for each of %d", manyContainers), Unit: "KiB", Budget: 110},
		{Title: fmt.Sprintf("starting one of %d detached containers", manyContainers), Unit: "ms"},
	}
	for _, word := range glances {
		facts = append(facts, fact{Title: fmt.Sprintf("%s beside %d containers", word, manyContainers), Unit: "ms"})
	}
	facts = append(facts, fact{Title: fmt.Sprintf("removing one of %d running containers", manyContainers), Unit: "ms"})
	var values []float64
	var err error
	if b.people.path != "" {
		values, err = b.many()
	}
	for i := range facts {
		facts[i].Candidate, facts[i].Skipped, facts[i].Err = b.people.name, b.people.missing, message(err)
		if i < len(values) {
			facts[i].Value = values[i]
		}
	}
	return facts
}

// many starts and removes the containers, and looks at the memory after the
// first and after the last. The values are in the order of detached.
func (b *bench) many() (values []float64, err error) {
	if err := b.importImage(); err != nil {
		return nil, err
	}
	var names []string
	var started time.Duration
	var first float64
	for i := range manyContainers {
		progress("detached container %d of %d", i+1, manyContainers)
		name := fmt.Sprint("b", i)
		took, startErr := b.runner.run(b.stored("run", "-d", "--network", "none", "--name", name, "bench", "/bin/pause")...)
		if err = startErr; err != nil {
			break
		}
		names = append(names, name)
		started += took
		if i == 0 {
			first, err = settled()
		}
	}
	progress("")
	average, pssErr := monitors()
	values = []float64{first, average, milliseconds(started) / manyContainers}
	for _, word := range glances {
		took, glanceErr := b.glance(word)
		values, err = append(values, took), errors.Join(err, glanceErr)
	}
	removed, removeErr := b.runner.run(b.stored(append([]string{"rm", "-f"}, names...)...)...)
	reap()
	return append(values, milliseconds(removed)/manyContainers), errors.Join(err, pssErr, removeErr)
}

// glance is how long a command takes that looks at containers, in ms.
func (b *bench) glance(word string) (float64, error) {
	argv := b.stored(word)
	if word == "state" {
		out, err := exec.Command(argv[0], b.stored("ps", "-q", "--no-trunc")[1:]...).Output()
		id, _, _ := strings.Cut(string(out), "\n")
		if err != nil || id == "" {
			return 0, fmt.Errorf("ps -q: %q, %w", out, err)
		}
		argv = b.command(b.people, "state", id)
		argv[0] = b.candidate(minirunc).path
	}
	var took []float64
	for range 9 {
		t, err := b.runner.run(argv...)
		if err != nil {
			return 0, err
		}
		took = append(took, milliseconds(t))
	}
	return quantile(took, 0.5), nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// stored is minirun's command line for containers of images, which it keeps in
// our folder.
func (b *bench) stored(arguments ...string) []string {
	return b.command(b.people, append([]string{"--store", filepath.Join(b.dir, "store")}, arguments...)...)
}

// importImage makes an image of the two programs.
func (b *bench) importImage() error {
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
	_, err = b.runner.run(b.stored("import", name, "bench")...)
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
