package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// This file compares what happened with what was expected, and prints it.

// A reason is why some cases cannot pass, and which.
type reason struct {
	why   string
	cases []string // "program: text"
}

// sometimes says that the cases may pass as well.
func (r reason) sometimes() bool { return strings.HasPrefix(r.why, "sometimes ") }

// readReasons reads the file cannot-pass: a reason on a line of its own, below
// it, indented by a tab, the cases. A line with # is a comment.
func readReasons(file string) ([]reason, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []reason
	for n, line := range strings.Split(string(data), "\n") {
		name, isCase := strings.CutPrefix(line, "\t")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !isCase:
			list = append(list, reason{why: line})
		case len(list) == 0:
			err = errors.Join(err, fmt.Errorf("%s:%d: a case without a reason", file, n+1))
		case slices.ContainsFunc(list, func(r reason) bool { return slices.Contains(r.cases, name) }):
			err = errors.Join(err, fmt.Errorf("%s:%d: listed twice: %s", file, n+1, name))
		default:
			r := &list[len(list)-1]
			r.cases = append(r.cases, name)
		}
	}
	return list, err
}

// unexpected returns the cases of a program that failed and are not listed.
func unexpected(r run, reasons []reason) (cases []verdict) {
	for _, v := range judge(r) {
		if v.outcome == failed && !slices.ContainsFunc(reasons, func(r reason) bool { return slices.Contains(r.cases, v.name()) }) {
			cases = append(cases, v)
		}
	}
	return cases
}

// report prints a table of the programs, the cases that failed, expected or
// not, and those that were expected to and did not. It says whether all is as
// expected. If everything ran, a listed case that did not come up is told, too.
func report(w io.Writer, ran []run, reasons []reason, everything bool) bool {
	var all tally
	var failures []string
	came := map[string]int{} // the outcome of each case
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "passed\tskipped\texpected to fail\tfailed\t\n")
	slices.SortFunc(ran, func(a, b run) int { return strings.Compare(a.Program, b.Program) })
	for _, r := range ran {
		one := tally{}
		for _, v := range judge(r) {
			came[v.name()] = v.outcome
			one[v.outcome]++
		}
		for _, v := range unexpected(r, reasons) {
			failures = append(failures, v.name()+indent(v.why))
			one[failed]--
			one[unlisted]++
		}
		one.print(table, r.Program)
		all.add(one)
	}
	all.print(table, fmt.Sprintf("%d programs", len(ran)))
	table.Flush()
	section(w, "expected to fail, but did not: take them off the list", expectations(w, reasons, came, everything))
	section(w, "failed", failures)
	return len(failures) == 0
}

// expectations prints the cases that failed as expected, below the reason, and
// returns those that did not.
func expectations(w io.Writer, reasons []reason, came map[string]int, everything bool) (surprises []string) {
	for _, r := range reasons {
		var cases []string
		for _, c := range r.cases {
			switch outcome, ok := came[c]; {
			case ok && outcome == failed:
				cases = append(cases, c)
			case r.sometimes():
			case ok:
				surprises = append(surprises, c)
			case everything:
				surprises = append(surprises, c+"  (did not come up)")
			}
		}
		section(w, "expected to fail: "+r.why, cases)
	}
	return surprises
}

// unlisted is one more column besides the outcomes: failed is there what was
// expected to fail.
const unlisted = failed + 1

// A tally counts cases by outcome.
type tally [unlisted + 1]int

func (t *tally) add(o tally) {
	for i, n := range o {
		t[i] += n
	}
}

func (t tally) print(w io.Writer, name string) {
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t  %s\n", t[passed], t[skipped], t[failed], t[unlisted], name)
}

func section(w io.Writer, title string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n%s\n    %s\n", title, strings.Join(lines, "\n    "))
	}
}

func indent(why string) string {
	if why == "" {
		return ""
	}
	return "\n        " + why
}
