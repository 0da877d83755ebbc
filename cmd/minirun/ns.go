package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container/procfs"
)

func nsCommand() *cli.Command {
	return glass("ns", "show a container's namespaces beside the host's, and who else is in them", "", (*view).ns, (*view).nsJSON)
}

// A namespace is a container's namespace beside the host's of the same kind.
type namespace struct {
	Container string
	Kind      string
	Inside    string // "net:[4026532198]"
	Host      string
	Same      bool
	Members   int      // how many of the container's processes are in it
	Others    []string // the other processes in it, at most a few, as "pid name"
	More      int      // how many more others are in it

	Address string `json:",omitempty"` // of the network namespace of a container on the bridge
	Link    string `json:",omitempty"` // the host's end of its eth0
}

// namespaces compares a container's namespaces with ours. members are the processes
// in each namespace of the machine.
func (v *view) namespaces(l *listed, members map[string][]*procfs.Process) ([]namespace, error) {
	inside, err := procfs.Namespaces("/proc", l.Pid)
	if err != nil {
		return nil, fmt.Errorf("namespaces of %s: %w", l.Name, err)
	}
	host, err := procfs.Namespaces("/proc", os.Getpid())
	if err != nil {
		return nil, err
	}
	rows := make([]namespace, 0, len(procfs.Kinds))
	for _, kind := range procfs.Kinds {
		if inside[kind] == "" {
			continue
		}
		n := namespace{Container: l.ID, Kind: kind, Inside: inside[kind], Host: host[kind], Same: inside[kind] == host[kind]}
		for _, p := range members[inside[kind]] {
			n.add(p, v.owner[p.Pid] == l)
		}
		if cable := linkOf(l.bundle); cable != nil && kind == "net" {
			n.Address, n.Link = cable.Address.String(), cable.Name()
		}
		rows = append(rows, n)
	}
	return rows, nil
}

// add counts a process that is in the namespace.
func (n *namespace) add(p *procfs.Process, member bool) {
	const few = 3
	switch {
	case member:
		n.Members++
	case len(n.Others) < few:
		n.Others = append(n.Others, fmt.Sprintf("%d %s", p.Pid, procfs.Printable(p.Name)))
	default:
		n.More++
	}
}

func (v *view) ns(w io.Writer, containers []*listed) error {
	members := procfs.Members("/proc", v.processes)
	for i, l := range containers {
		rows, err := v.namespaces(l, members)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended meanwhile
		} else if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		heading(w, l)
		t := table(w)
		fmt.Fprintln(t, "KIND\tCONTAINER\tHOST\t\tIN IT\tWHO ELSE")
		for _, n := range rows {
			verdict := "different"
			if n.Same {
				verdict = "same"
			}
			report.Printf(t, "%s\t%s\t%s\t%s\t%d\t%s\n", n.Kind, n.Inside, n.Host, verdict, n.Members, n.others())
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if cable := linkOf(l.bundle); cable != nil {
			report.Printf(w, "link: its eth0, %s, is the other end of the host's %s, which is a port of %s\n", cable.Address, cable.Name(), cable.Bridge)
		}
	}
	return nil
}

func (v *view) nsJSON(w io.Writer, containers []*listed) error {
	var all []namespace
	members := procfs.Members("/proc", v.processes)
	for _, l := range containers {
		rows, err := v.namespaces(l, members)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended meanwhile
		} else if err != nil {
			return err
		}
		all = append(all, rows...)
	}
	return printJSON(w, all)
}

// others names a few processes of others that are in it.
func (n *namespace) others() string {
	if len(n.Others) == 0 {
		return "nobody"
	}
	list := slices.Clone(n.Others)
	if n.More > 0 {
		list = append(list, fmt.Sprintf("and %d more", n.More))
	}
	return strings.Join(list, ", ")
}
