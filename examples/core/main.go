// Core measures the house: how much code there is, and whether every part of it
// is where it belongs.
//
//	core [-sources]
//
// The six folders at the top are the core: what every container is made of. A
// folder below one of them is an annex: a property that only some containers
// have. The table has a line for each, and below it come the rules that are
// broken (DESIGN, section 3):
//
//   - the core has at most 5,000 lines of code (count.go);
//   - imports point down only (imports.go);
//   - with -sources, every step of an ordinary container's plan was recorded by
//     the core (sources.go). This asks the programs $MINIRUN and $MINIRUNC, as root.
//
// The tests of this package check the same.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"text/tabwriter"
)

// most is how many lines of code the core may have: what can be read in an evening.
const most = 5000

func main() {
	askPrograms := flag.Bool("sources", false, "also check who recorded the steps of the plans of $MINIRUN and $MINIRUNC")
	flag.Parse()
	house, err := look(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "core:", err)
		os.Exit(1)
	}
	house.print(os.Stdout)
	broken := append(house.tooLarge(), house.wrongImports()...)
	switch {
	case *askPrograms && os.Geteuid() != 0:
		fmt.Println("left out: who recorded the plans: it needs root")
	case *askPrograms:
		broken = append(broken, wrongSources(os.Getenv("MINIRUN"), os.Getenv("MINIRUNC"))...)
	}
	for _, b := range broken {
		fmt.Println("FAIL", b)
	}
	if len(broken) > 0 {
		os.Exit(1)
	}
}

// print prints a line a package, and one for the core.
func (h house) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	line := func(name string, p pkg, exports string) {
		fmt.Fprintf(w, "%s\t%5d\t%8d\t%12.2f\t%7s\n", name, p.code, p.comments, p.density(), exports)
	}
	fmt.Fprintln(w, "core\t code\tcomments\tcomment/code\texports")
	for _, p := range h {
		if p.core() {
			line(p.dir, p, fmt.Sprint(p.exports))
		}
	}
	line("together", h.core(), "")
	fmt.Fprintln(w, "annexes\t\t\t\t")
	for _, p := range h {
		if !p.core() {
			line(p.dir, p, "")
		}
	}
}

// tooLarge says so if the core is larger than it may be.
func (h house) tooLarge() []string {
	if got := h.core().code; got > most {
		return []string{fmt.Sprintf("the core has %d lines of code: at most %d", got, most)}
	}
	return nil
}

// core is all packages of the core as if they were one.
func (h house) core() (sum pkg) {
	for _, p := range h {
		if p.core() {
			sum.code += p.code
			sum.comments += p.comments
		}
	}
	return sum
}

// core says whether a package is at the top.
func (p pkg) core() bool { return path.Dir(p.dir) == "." }

// density is how many lines of comment there are for one of code.
func (p pkg) density() float64 { return float64(p.comments) / float64(max(p.code, 1)) }
