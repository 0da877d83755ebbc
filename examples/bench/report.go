package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// This file says what was found out: as text, as JSON, and whether it is what
// the project promises.

// A report is everything that was found out; it is also what -json writes.
type report struct {
	Machine    description `json:"machine"`
	Rounds     int         `json:"rounds"`
	Operations []result    `json:"operations"`
	Facts      []fact      `json:"facts"`

	failed bool // something did not run
}

// A description is where it was measured, and of what.
type description struct {
	Kernel   string            `json:"kernel"`
	CPUs     int               `json:"cpus"`
	Load     string            `json:"load"` // 1, 5 and 15 minutes, before the first round
	Time     time.Time         `json:"time"`
	Versions map[string]string `json:"versions"` // of the candidates that have one; of others, why they are missing
}

func machine(candidates []candidate) description {
	d := description{CPUs: runtime.NumCPU(), Time: time.Now().UTC(), Versions: map[string]string{}}
	d.Kernel = firstLine("/proc/sys/kernel/osrelease")
	if load := strings.Fields(firstLine("/proc/loadavg")); len(load) >= 3 {
		d.Load = strings.Join(load[:3], " ")
	}
	for _, c := range candidates {
		switch {
		case c.path == "":
			d.Versions[c.name] = "not measured: " + c.missing
		case c.oci || c.name == bwrap:
			out, _ := exec.Command(c.path, "--version").Output() // if it fails, so will its rows
			line, _, _ := strings.Cut(string(out), "\n")
			d.Versions[c.name] = line
		}
	}
	return d
}

func firstLine(file string) string {
	text, _ := os.ReadFile(file) // "" says that there was none
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// head prints where and of what. A missing minirunc is a failure: it is what
// the bench is for. The others are measured where they are installed.
func (r *report) head(w io.Writer) {
	fmt.Fprintf(w, "Linux %s, %d CPUs, load %s, %d rounds\n", r.Machine.Kernel, r.Machine.CPUs, r.Machine.Load, r.Rounds)
	for _, name := range []string{minirunc, crun, runc, bwrap} {
		fmt.Fprintf(w, "  %-12s %s\n", name, r.Machine.Versions[name])
	}
	r.failed = strings.HasPrefix(r.Machine.Versions[minirunc], "not measured")
}

// cacheTitles say in which state of the page cache the binaries were.
var cacheTitles = map[string]string{written: "(just written)", fromTo: "(read from disk)"}

// add prints one operation and keeps it.
func (r *report) add(w io.Writer, op result) {
	r.Operations = append(r.Operations, op)
	fmt.Fprintf(w, "\n%-39s %10s %8s %8s %8s %8s\n", strings.TrimSpace(op.Title+" "+cacheTitles[op.Cache]), "median µs", "p10", "p90", "× crun", "× C")
	for _, row := range op.Rows {
		if row.Err != "" {
			r.failed = true
			fmt.Fprintf(w, "  %-37s did not run: %s\n", row.Candidate, row.Err)
			continue
		}
		line := fmt.Sprintf("  %-37s %10.0f %8.0f %8.0f %8s %8s", row.Candidate, row.median(), quantile(row.Usec, 0.1), quantile(row.Usec, 0.9),
			ratio(row.median()/op.median(crun)), ratio(row.median()/op.median(sameC)))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	for _, b := range budgets {
		if b.operation == op.Name {
			fmt.Fprintf(w, "  %s\n", b.verdict(op))
		}
	}
}

// ratio prints a ratio, or nothing if there is none.
func ratio(x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return fmt.Sprintf("%.2f", x)
}

// A budget is what minirunc may take, as a multiple of another candidate.
type budget struct {
	operation string
	against   string
	most, aim float64 // aim 0: the same as most
}

// budgets are the project's (design, section 7).
var budgets = []budget{
	{"run", crun, 0.68, 0.6},
	{"run", sameC, 1.8, 1.5},
	{"create", crun, 0.6, 0.5},
	{"exec", crun, 0.65, 0.5},
	{"state", crun, 0.48, 0.45},
	{"version", crun, 0.42, 0.4},
}

// verdict compares the medians with the budget.
func (b budget) verdict(op result) string {
	limit := fmt.Sprintf("≤ %g × %s", b.most, b.against)
	if b.aim > 0 {
		limit += fmt.Sprintf(" (aim %g)", b.aim)
	}
	got := op.median(minirunc) / op.median(b.against)
	if math.IsNaN(got) {
		return "budget " + limit + ": not measured"
	}
	return fmt.Sprintf("budget %s: %.2f %s", limit, got, okOrOver(got <= b.most))
}

func okOrOver(ok bool) string {
	if ok {
		return "ok"
	}
	return "OVER"
}

// facts prints single numbers and keeps them.
func (r *report) facts(w io.Writer, facts []fact) {
	r.Facts = append(r.Facts, facts...)
	fmt.Fprintln(w)
	for _, f := range facts {
		r.failed = r.failed || f.Err != ""
		fmt.Fprintln(w, f)
	}
}

func (f fact) String() string {
	s := f.Title + ": "
	if f.Candidate != "" {
		s = f.Title + ", " + f.Candidate + ": "
	}
	switch {
	case f.Skipped != "":
		return s + "not measured: " + f.Skipped
	case f.Err != "":
		return s + "did not run: " + f.Err
	}
	s += strings.TrimSpace(fmt.Sprintf("%.4g %s", f.Value, f.Unit))
	if f.Budget > 0 {
		s += fmt.Sprintf(" (budget ≤ %g: %s)", f.Budget, okOrOver(f.Value <= f.Budget))
	}
	return s
}

// finish writes the files. An error says that something did not run.
func (r *report) finish(o options) error {
	var errs []error
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err == nil {
			err = os.WriteFile(o.json, append(text, '\n'), 0o644)
		}
		errs = append(errs, err)
	}
	if o.svg != "" && len(r.Operations) > 0 {
		errs = append(errs, os.WriteFile(o.svg, []byte(plot(r)), 0o644))
	}
	if r.failed {
		errs = append(errs, errors.New("some measurements are missing, see above"))
	}
	return errors.Join(errs...)
}
