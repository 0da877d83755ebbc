package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An operation is something that several candidates can do.
type operation struct {
	name     string
	title    string
	subjects []subject
	end      func() // tidies up after the last round; may be nil
}

// A subject is one candidate about to do it.
type subject struct {
	name string
	once func() (time.Duration, error)
	err  error // why it cannot take part
}

// operations are what is timed. The containers that some need are made when
// their first round comes, not here.
func (b *bench) operations() []operation {
	return []operation{
		{name: "run", title: "run /bin/true", subjects: b.runs()},
		{name: "create", title: "create, start, delete", subjects: b.each(b.lifecycle)},
		b.running("exec", "exec /bin/true", func(c candidate, id string) []string { return b.command(c, "exec", id, "/bin/true") }),
		b.running("state", "state", func(c candidate, id string) []string { return b.command(c, "state", id) }),
		{name: "version", title: "--version", subjects: b.each(func(c candidate) func() (time.Duration, error) {
			return b.timed(c.path, "--version")
		})},
		{name: "image", title: "run an image", subjects: b.images(), end: func() { b.remove(b.candidate(crun), "crun-image") }},
	}
}

// images are minirun, which makes a bundle of an image and executes minirunc, and
// crun with a bundle that it did not have to make.
func (b *bench) images() (subjects []subject) {
	if b.people.path != "" {
		imported := false
		run := b.timed(b.stored("run", "--rm", "--network", "none", "bench", "/bin/true")...)
		subjects = append(subjects, subject{name: minirun, once: func() (time.Duration, error) {
			if !imported {
				if err := b.importImage(); err != nil {
					return 0, err
				}
				imported = true
			}
			return run()
		}})
	}
	for _, s := range b.runs() {
		if s.name == crun {
			s.name = crun
			subjects = append(subjects, s)
		}
	}
	return subjects
}

// each makes a subject of every installed OCI runtime.
func (b *bench) each(make func(candidate) func() (time.Duration, error)) (subjects []subject) {
	for _, c := range b.oci() {
		subjects = append(subjects, subject{name: c.name, once: make(c)})
	}
	return subjects
}

// timed is a subject that is a single command.
func (b *bench) timed(argv ...string) func() (time.Duration, error) {
	return func() (time.Duration, error) { return b.runner.run(argv...) }
}

// runs are the subjects of run: here everybody can take part.
func (b *bench) runs() (subjects []subject) {
	for _, c := range b.candidates {
		if c.path == "" {
			continue
		}
		s := subject{name: c.name}
		switch {
		case c.oci:
			var bundle, id string
			id = c.name + "-run"
			bundle, s.err = b.writeBundle(container{id: id, program: "/bin/true"})
			s.once = b.timed(b.command(c, "run", "--bundle", bundle, id)...)
		case c.name == bwrap:
			s.once = b.timed(b.bubblewrap(c.path)...)
		case c.name == sameC:
			s.once = b.timed(c.path, filepath.Join(b.dir, "rootfs"), filepath.Join(cgroupMount, "same"), "/bin/true")
		default:
			s.once = b.timed(c.path)
		}
		subjects = append(subjects, s)
	}
	return subjects
}

// lifecycle is create, start and delete. The end of the program in between is
// waited for, but not timed: it is not the runtime's work.
func (b *bench) lifecycle(c candidate) func() (time.Duration, error) {
	id := c.name + "-create"
	return func() (total time.Duration, err error) {
		bundle, err := b.writeBundle(container{id: id, program: "/bin/true"})
		if err != nil {
			return 0, err
		}
		pidFile := filepath.Join(bundle, "pid")
		steps := []func() (time.Duration, error){
			b.timed(b.command(c, "create", "--bundle", bundle, "--pid-file", pidFile, id)...),
			b.timed(b.command(c, "start", id)...),
			func() (time.Duration, error) { return 0, waitForFile(pidFile) },
			b.timed(b.command(c, "delete", id)...),
		}
		for _, step := range steps {
			took, err := step()
			if err != nil {
				b.remove(c, id)
				return 0, err
			}
			total += took
		}
		return total, nil
	}
}

// waitForFile waits for the end of the process whose id is in a file.
func waitForFile(pidFile string) error {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("process id in %s: %w", pidFile, err)
	}
	return waitFor(pid)
}

// running is an operation on a container that runs all the while.
func (b *bench) running(name, title string, argv func(c candidate, id string) []string) operation {
	op := operation{name: name, title: title}
	id := func(c candidate) string { return c.name + "-" + name }
	op.subjects = b.each(func(c candidate) func() (time.Duration, error) {
		started := false
		return func() (time.Duration, error) {
			if !started {
				if err := b.start(c, id(c)); err != nil {
					return 0, err
				}
				started = true
			}
			return b.runner.run(argv(c, id(c))...)
		}
	})
	op.end = func() {
		for _, c := range b.oci() {
			b.remove(c, id(c))
		}
	}
	return op
}

// start runs a container that only waits.
func (b *bench) start(c candidate, id string) error {
	bundle, err := b.writeBundle(container{id: id, program: "/bin/pause"})
	if err == nil {
		_, err = b.runner.run(b.command(c, "run", "--detach", "--bundle", bundle, id)...)
	}
	return err
}

// remove removes a container that may not exist: what runtimes say about that
// differs, and what is left goes with the house.
func (b *bench) remove(c candidate, id string) {
	b.runner.run(b.command(c, "delete", "--force", id)...)
	unix.Rmdir(filepath.Join(cgroupMount, id)) // ENOENT: the runtime did it
	reap()
}
