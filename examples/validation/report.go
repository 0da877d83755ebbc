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

// tally counts cases.
type tally struct{ passed, skipped, expected, failed int }

// report prints a table of the programs, the cases that failed, expected or
// not, and those that were expected to and did not. It says whether all is as
// expected. If everything ran, a listed case that did not come up is told, too.
func report(w io.Writer, ran []run, reasons []reason, everything bool) bool {
	listed := map[string]bool{} // whether it failed
	for _, r := range reasons {
		for _, c := range r.cases {
			listed[c] = false
		}
	}
	var all tally
	var failures, surprises []string
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "passed\tskipped\texpected to fail\tfailed\t\n")
	slices.SortFunc(ran, func(a, b run) int { return strings.Compare(a.Program, b.Program) })
	for _, r := range ran {
		var one tally
		for _, v := range judge(r) {
			name := v.Program + ": " + v.Text
			_, known := listed[name]
			switch {
			case v.outcome == failed && known:
				one.expected++
				listed[name] = true
			case v.outcome == failed:
				one.failed++
				failures = append(failures, name+indent(v.why))
			case v.outcome == passed:
				one.passed++
			default:
				one.skipped++
			}
			if known && v.outcome != failed {
				surprises = append(surprises, name)
				delete(listed, name)
			}
		}
		one.print(table, r.Program)
		all.add(one)
	}
	all.print(table, fmt.Sprintf("%d programs", len(ran)))
	table.Flush()
	printReasons(w, reasons, listed)
	for _, r := range reasons {
		for _, c := range r.cases {
			if failedAsListed, waiting := listed[c]; everything && waiting && !failedAsListed {
				surprises = append(surprises, c+"  (did not come up)")
			}
		}
	}
	section(w, "expected to fail, but did not: take them off the list", surprises)
	section(w, "failed", failures)
	return all.failed == 0
}

func (t *tally) add(o tally) {
	t.passed += o.passed
	t.skipped += o.skipped
	t.expected += o.expected
	t.failed += o.failed
}

func (t tally) print(w io.Writer, name string) {
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t  %s\n", t.passed, t.skipped, t.expected, t.failed, name)
}

// printReasons prints the cases that failed as expected, below the reason.
func printReasons(w io.Writer, reasons []reason, failed map[string]bool) {
	for _, r := range reasons {
		var cases []string
		for _, c := range r.cases {
			if failed[c] {
				cases = append(cases, c)
			}
		}
		section(w, "expected to fail: "+r.why, cases)
	}
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
