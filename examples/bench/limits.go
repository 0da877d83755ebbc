package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A fact is a measurement that is one number.
type fact struct {
	Title     string  `json:"title"`
	Candidate string  `json:"candidate"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Budget    float64 `json:"budget,omitempty"`  // at most; 0 is none
	Skipped   string  `json:"skipped,omitempty"` // why it was not measured, and what would help
	Err       string  `json:"error,omitempty"`
}

const (
	kib         = 1024
	grain       = 64 * kib        // finer differences come and go from run to run
	mostMemory  = 64 * 1024 * kib // where the search gives up
	mostPids    = 64
	repetitions = 3 // a limit works if it works this often
)

// limits finds the smallest memory.max and pids.max of the container's own
// cgroup under which each runtime can run /bin/true. The runtime itself is
// outside that group; what counts is what it does inside.
//
// This needs the two controllers in cgroup v2. Limiting the runtime from
// outside by a v1 group would measure something else: a child is born in its
// parent's v1 group, so the runtime's own memory would count, too.
//
// A runtime that moves its child into the group late looks smaller than one
// whose child is born there: what a process has used already is not charged to
// the group that it moves to (cgroups(7), "memory" in cgroup v2).
func (b *bench) limits() (facts []fact) {
	const memory, pids = "smallest memory.max", "smallest pids.max"
	if missing := missingControllers(cgroupMount); missing != "" {
		why := "no " + missing + " in cgroup v2 here: build the bench and run it with -only limits below examples/kernel/run"
		return []fact{{Title: memory, Skipped: why}, {Title: pids, Skipped: why}}
	}
	err := os.WriteFile(filepath.Join(cgroupMount, "cgroup.subtree_control"), []byte("+memory +pids"), 0)
	for _, c := range append(b.oci(), b.candidate(sameC)) {
		m := fact{Title: memory, Candidate: c.name, Unit: "KiB", Budget: budgetOf(c, 128), Err: message(err)}
		p := fact{Title: pids, Candidate: c.name, Budget: budgetOf(c, 1), Err: message(err)}
		if err == nil {
			m.search(kib, func() (int, error) { return b.smallestMemory(c) })
			p.search(1, func() (int, error) { return b.smallestPids(c) })
		}
		facts = append(facts, m, p)
	}
	return facts
}

// budgetOf is the budget if it is ours.
func budgetOf(c candidate, value float64) float64 {
	if c.name == minirunc {
		return value
	}
	return 0
}

func (f *fact) search(unit float64, find func() (int, error)) {
	value, err := find()
	f.Value, f.Err = float64(value)/unit, message(err)
}

// missingControllers names those of memory and pids that a cgroup does not have.
func missingControllers(group string) string {
	text, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return "memory and pids"
	}
	var missing []string
	for _, name := range []string{"memory", "pids"} {
		if !slices.Contains(strings.Fields(string(text)), name) {
			missing = append(missing, name)
		}
	}
	return strings.Join(missing, " and ")
}

// smallestMemory is found first as a power of two, then to a grain, by halving.
func (b *bench) smallestMemory(c candidate) (int, error) {
	high := grain
	for {
		err := b.runUnder(c, container{memory: high})
		if err == nil {
			break
		}
		if high *= 2; high > mostMemory {
			return 0, fmt.Errorf("memory.max %d: %w", mostMemory, err)
		}
	}
	low := high / 2 // does not work, or is less than a grain
	for high-low > grain {
		if middle := (low + high) / 2 / grain * grain; b.runUnder(c, container{memory: middle}) == nil {
			high = middle
		} else {
			low = middle
		}
	}
	return high, nil
}

func (b *bench) smallestPids(c candidate) (n int, err error) {
	for n = 1; n <= mostPids; n++ {
		if err = b.runUnder(c, container{pids: n}); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("pids.max %d: %w", mostPids, err)
}

// runUnder returns nil if /bin/true runs under the limits, every time.
func (b *bench) runUnder(c candidate, limited container) error {
	limited.id, limited.program = c.name+"-limits", "/bin/true"
	progress("%s: memory %d KiB, pids %d", c.name, limited.memory/kib, limited.pids)
	defer progress("")
	if c.name == sameC {
		return b.sameUnder(c, limited)
	}
	bundle, err := b.writeBundle(limited)
	for i := 0; i < repetitions && err == nil; i++ {
		_, err = b.runner.run(b.command(c, "run", "--bundle", bundle, limited.id)...)
		reap()
	}
	if err != nil {
		b.remove(c, limited.id)
	}
	return err
}

// sameUnder limits a group around the one that the C program makes.
func (b *bench) sameUnder(c candidate, limited container) error {
	group := filepath.Join(cgroupMount, limited.id)
	err := os.Mkdir(group, 0o755)
	if err == nil && limited.memory > 0 {
		err = os.WriteFile(filepath.Join(group, "memory.max"), []byte(strconv.Itoa(limited.memory)), 0)
	}
	if err == nil && limited.pids > 0 {
		err = os.WriteFile(filepath.Join(group, "pids.max"), []byte(strconv.Itoa(limited.pids)), 0)
	}
	for i := 0; i < repetitions && err == nil; i++ {
		_, err = b.runner.run(c.path, filepath.Join(b.dir, "rootfs"), filepath.Join(group, "c"), "/bin/true")
	}
	return errors.Join(err, removeGroups(group))
}
