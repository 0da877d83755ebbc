package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
)

func threadsCommand() *cli.Command {
	return glass("threads", "count threads, like ps -eLf | awk '{print $2}' | sort -n | uniq -c", "", (*view).threads, (*view).threadsJSON)
}

// threadsJSON prints the same processes, one a line, as tree does.
func (v *view) threadsJSON(w io.Writer, containers []*listed) error {
	var list []shownProcess
	for _, l := range containers {
		for _, p := range v.of(l) {
			list = append(list, v.shown(l, p))
		}
	}
	return printJSON(w, list)
}

// threads prints, for each process of a container, how many threads it has and
// its id on the host; and their sum.
func (v *view) threads(w io.Writer, containers []*listed) error {
	all := 0
	for i, l := range containers {
		if i > 0 {
			fmt.Fprintln(w)
		}
		heading(w, l)
		sum := 0
		for _, p := range v.of(l) {
			report.Printf(w, "%7d %d  %s\n", p.Threads, p.Pid, p.Line())
			sum += p.Threads
		}
		fmt.Fprintf(w, "%7d threads in %s\n", sum, counted(len(v.of(l)), "process", "processes"))
		all += sum
	}
	if len(containers) > 1 {
		fmt.Fprintf(w, "\n%7d threads in %d containers\n", all, len(containers))
	}
	return nil
}

// counted is a number with its word: 1 thread, 2 threads.
func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + more
}
