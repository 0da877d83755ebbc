package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/exit"
	members "minirun/container/processes"
	"minirun/container/procfs"
	"minirun/rootfs/image/private"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A listed container is one as ps, tree, threads and ns show it.
type listed struct {
	ID, Name, Image, Command, Ports string
	Created                         time.Time
	Status                          string // in docker's words
	State                           string // created, running, paused, exited
	Pid                             int    // 0 if it does not run
	Cgroup                          string
	ExitCode                        int

	container *container.Container // nil: only its bundle is there
	bundle    *bundle.Bundle       // nil: it has none in the store
}

// running says whether it has processes.
func (l *listed) running() bool { return l.Pid != 0 }

// list returns all containers, newest first: those of the store, and those that
// somebody has made with minirunc from a bundle of their own.
func list(c *cli.Context) ([]*listed, error) {
	bundles, err := store(c).List()
	if err != nil {
		return nil, err
	}
	broken := func(err error) { warn(err.Error() + ": " + removesContainer) }
	states, err := root(c).List(broken)
	if err != nil {
		return nil, err
	}
	byID := map[string]*container.Container{}
	for _, k := range states {
		byID[k.ID] = k
	}
	var all []*listed
	for _, b := range bundles {
		l := &listed{ID: b.ID, Name: b.Annotation(bundle.Name), Image: b.Annotation(bundle.Image), Command: b.Annotation(bundle.Command),
			bundle: b,
			Ports:  portsColumn(b.Annotation(bundle.Ports), b.Published()), Created: b.CreatedAt(), Status: "Created", State: "created"}
		if b.HasRun { // its state is gone: the machine has booted since
			l.Status, l.State = "Exited", "exited"
		}
		if k := byID[b.ID]; k != nil {
			if err := l.take(k); errors.Is(err, container.ErrDamaged) {
				broken(err)
			} else if err != nil {
				return nil, err
			}
			delete(byID, b.ID)
		}
		all = append(all, l)
	}
	for _, k := range byID {
		l := &listed{ID: k.ID, Name: k.ID, Image: k.Bundle, Created: k.Created}
		if err := l.take(k); errors.Is(err, container.ErrDamaged) {
			broken(err)
			continue
		} else if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b *listed) int { return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID)) })
	return all, nil
}

// take adds the container's state.
func (l *listed) take(k *container.Container) error {
	word, err := statusWord(k)
	if err != nil {
		return err
	}
	l.Cgroup, l.container, l.State = k.Cgroup, k, word
	switch l.State {
	case "running":
		l.Status = "Up " + units.HumanDuration(time.Since(k.Started))
	case "paused":
		l.Status = "Up " + units.HumanDuration(time.Since(k.Started)) + " (Paused)"
	case "exited":
		l.Status = "Exited"
		if e, ok := exit.Read(k.Dir(), k.Identity); ok {
			l.Status = fmt.Sprintf("Exited (%d) %s ago", e.Code, units.HumanDuration(time.Since(e.At)))
			l.ExitCode = e.Code
		}
		return nil
	default:
		l.Status = "Created"
	}
	l.Pid = k.Pid
	return nil
}

// chosen returns the running containers that the arguments name, or all.
func chosen(c *cli.Context) ([]*listed, error) {
	all, err := list(c)
	if err != nil {
		return nil, err
	}
	if !c.Args().Present() {
		return slices.DeleteFunc(all, func(l *listed) bool { return !l.running() }), nil
	}
	var some []*listed
	for _, word := range c.Args().Slice() {
		k, err := find(c, word)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(l *listed) bool { return l.ID == k.ID })
		if i < 0 || !all[i].running() {
			return nil, fmt.Errorf("%s: %w", word, container.ErrNotRunning)
		}
		some = append(some, all[i])
	}
	return some, nil
}

// A view is the list of processes, and the container of each.
type view struct {
	processes []*procfs.Process
	byPid     map[int]*procfs.Process
	children  map[int][]*procfs.Process
	owner     map[int]*listed // the container of a process, by process id
}

// lookAt reads the process list and finds the containers' processes in it.
func lookAt(containers []*listed) (*view, error) {
	processes, err := procfs.Read("/proc")
	if err != nil {
		return nil, err
	}
	v := &view{processes: processes, byPid: map[int]*procfs.Process{}, children: map[int][]*procfs.Process{}, owner: map[int]*listed{}}
	for _, p := range processes {
		v.byPid[p.Pid] = p
		v.children[p.Parent] = append(v.children[p.Parent], p)
	}
	for _, l := range containers {
		if !l.running() {
			continue
		}
		pids, err := members.Of(l.container)
		if err != nil && !private.IsDamage(err) {
			return nil, err
		} else if err != nil {
			warn(fmt.Sprintf("processes of %s: %v", l.ID, err))
			continue
		}
		for _, pid := range pids {
			v.owner[pid] = l
		}
	}
	return v, nil
}

// of lists a container's processes, by ascending id.
func (v *view) of(l *listed) []*procfs.Process {
	var list []*procfs.Process
	for _, p := range v.processes {
		if v.owner[p.Pid] == l {
			list = append(list, p)
		}
	}
	return list
}

// find returns the container with an id, a name or the beginning of an id. A whole id
// comes first, as with docker, and needs no look at the store.
func find(c *cli.Context, word string) (*container.Container, error) {
	k, err := root(c).Load(word)
	if err == nil || errors.Is(err, container.ErrDamaged) {
		return k, err
	}
	b, storeErr := inStore(c, word)
	switch {
	case storeErr == nil:
		k, err := root(c).Load(b.ID)
		if errors.Is(err, container.ErrNotExist) { // it has ended with an earlier boot, or is still being made
			err = fmt.Errorf("%s: %w", word, container.ErrNotRunning)
		}
		return k, err
	case errors.Is(storeErr, bundle.ErrNoSuch):
		return nil, err
	}
	return nil, storeErr
}

// inStore finds a container's bundle.
func inStore(c *cli.Context, word string) (*bundle.Bundle, error) {
	f, err := finder(c)
	if err != nil {
		return nil, err
	}
	return f.Find(word)
}

// A sharedFinder is the command's view of the store: the list of all containers is read at
// most once, also by commands that work on many of them at the same time.
type sharedFinder struct {
	once sync.Once
	*bundle.Finder
	err error
}

// finder opens the store for the command; it is closed with the program.
func finder(c *cli.Context) (*bundle.Finder, error) {
	f := c.App.Metadata["finder"].(*sharedFinder)
	f.once.Do(func() { f.Finder, f.err = store(c).Finder() })
	return f.Finder, f.err
}

// bundleOf is find for a container's bundle, which exists without a state once the
// machine has booted again. A container that somebody has made with minirunc has no
// bundle in the store: for it, an empty one with its id is returned.
func bundleOf(c *cli.Context, word string) (*bundle.Bundle, error) {
	b, err := inStore(c, word)
	if err == nil && b.ID == word {
		return b, nil
	}
	if _, loadErr := root(c).Load(word); loadErr == nil || errors.Is(loadErr, container.ErrDamaged) {
		return &bundle.Bundle{ID: word, Spec: &specs.Spec{}}, nil
	}
	return b, err
}

// glass makes a command of the looking glass. tree, threads and ns show the running
// containers that are named, or all, as text or as JSON.
func glass(name, about, description string, text, json func(*view, io.Writer, []*listed) error) *cli.Command {
	show := map[string]func(*view, io.Writer, []*listed) error{"table": text, "json": json}
	return &cli.Command{
		Name:        name,
		Usage:       about,
		ArgsUsage:   "[CONTAINER...]",
		Description: description,
		Flags:       []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o", "format"}, Usage: "`FORMAT`: table or json", Value: "table"}},
		Action: func(c *cli.Context) error {
			format := c.String("output")
			if show[format] == nil {
				return usage{fmt.Errorf("%s: output %q: want table or json", name, format)}
			}
			containers, err := chosen(c)
			if err != nil {
				return err
			}
			if len(containers) == 0 && format != "json" {
				return errNone
			}
			v, err := lookAt(containers)
			if err != nil {
				return err
			}
			return show[format](v, c.App.Writer, containers)
		},
	}
}

// heading prints which container the lines below are about.
func heading(w io.Writer, l *listed) {
	text := report.Printable(fmt.Sprintf("%.12s  %s  (%s)", l.ID, l.Name, l.Image))
	if colour() {
		text = "\033[1m" + text + "\033[0m"
	}
	fmt.Fprintln(report.Coloured(w), text)
}

var errNone = errors.New("no container is running")
