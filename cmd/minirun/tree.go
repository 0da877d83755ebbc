package main

import (
	"fmt"
	"io"
	"os/user"
	"slices"
	"strconv"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container/procfs"
)

func treeCommand() *cli.Command {
	return glass("tree", "show containers as the processes that they are, like ps afxuww",
		"PID is the process id on the host, CPID the one in the container; the monitor above\n"+
			"it is a process of the host that only waits for the container.", (*view).tree, (*view).treeJSON)
}

// A branch is a process and how deep in the tree it is.
type branch struct {
	*procfs.Process
	depth int
	last  []bool // whether it, and those above it, are the last of their siblings
}

// branches lists the trees of a container: first the monitor with, below it, the
// container process and its descendants; then the processes that exec has started.
func (v *view) branches(l *listed) []branch {
	var list []branch
	var grow func(p *procfs.Process, last []bool)
	grow = func(p *procfs.Process, last []bool) {
		list = append(list, branch{p, len(last), slices.Clone(last)})
		var below []*procfs.Process
		for _, child := range v.children[p.Pid] {
			if v.owner[child.Pid] == l {
				below = append(below, child)
			}
		}
		for i, child := range below {
			grow(child, append(slices.Clone(last), i == len(below)-1))
		}
	}
	first := v.byPid[l.Pid]
	if first == nil {
		return nil // it ended while we looked
	}
	if parent := v.byPid[first.Parent]; parent != nil && parent.Name == "minirunc" {
		grow(parent, nil)
	} else {
		grow(first, nil)
	}
	for _, p := range v.of(l) {
		if p != first && v.owner[p.Parent] != l {
			grow(p, nil)
		}
	}
	return list
}

func (v *view) tree(w io.Writer, containers []*listed) error {
	for i, l := range containers {
		if i > 0 {
			fmt.Fprintln(w)
		}
		heading(w, l)
		fmt.Fprintf(w, "%7s %6s %-10s %4s %8s %-4s %s\n", "PID", "CPID", "USER", "THR", "RSS", "STAT", "COMMAND")
		for _, b := range v.branches(l) {
			inner := "-"
			if v.owner[b.Pid] == l {
				inner = strconv.Itoa(b.Inner())
			}
			report.Printf(w, "%7d %6s %-10s %4d %8s %-4c %s%s\n", b.Pid, inner, userName(b.UID), b.Threads, units.BytesSize(float64(b.RSS)), b.State, b.art(), b.Line())
		}
	}
	return nil
}

// art draws the branches as ps does.
func (b branch) art() string {
	s := ""
	for i, last := range b.last {
		switch {
		case i == len(b.last)-1:
			s += ` \_ `
		case last:
			s += "    "
		default:
			s += " |  "
		}
	}
	return s
}

// userName is the host's name for a user id, or the number.
func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// A shownProcess is a process in JSON.
type shownProcess struct {
	Container    string
	Pid          int
	ContainerPid int `json:",omitempty"`
	Parent       int
	UID          uint32
	Threads      int
	RSS          int64
	State        string
	Command      []string
}

func (v *view) shown(l *listed, p *procfs.Process) shownProcess {
	s := shownProcess{l.ID, p.Pid, 0, p.Parent, p.UID, p.Threads, p.RSS, string(p.State), p.Command}
	if v.owner[p.Pid] == l {
		s.ContainerPid = p.Inner()
	}
	return s
}

func (v *view) treeJSON(w io.Writer, containers []*listed) error {
	var list []shownProcess
	for _, l := range containers {
		for _, b := range v.branches(l) {
			list = append(list, v.shown(l, b.Process))
		}
	}
	return printJSON(w, list)
}
