package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// options are the command line.
type options struct {
	rounds int
	only   string // names of what to measure, comma-separated; "" is everything
	cache  string // states of the page cache to time in, comma-separated
	svg    string // where the picture goes; "" for none
	json   string // where the raw results go; "" for none
}

// names of what can be measured, in the order in which it is.
var names = []string{"run", "create", "exec", "state", "version", "image", "limits", "detached", "beside"}

func main() {
	runtime.LockOSThread() // the house ends with the thread that made it
	var o options
	flag.IntVar(&o.rounds, "n", 60, "measure every candidate `N` times")
	flag.StringVar(&o.only, "only", "", "measure only these `NAMES`: "+strings.Join(names, ","))
	flag.StringVar(&o.cache, "cache", strings.Join(cacheStates, ","), "time with the binaries in these `STATES` of the page cache: "+strings.Join(cacheStates, ","))
	flag.StringVar(&o.svg, "o", "bench.svg", "write the picture to `FILE`; \"\" for none")
	flag.StringVar(&o.json, "json", "", "write the raw results to `FILE`")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	work := outside
	if inHouse() {
		work = func() error { return inside(o) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) check() error {
	if o.rounds < 1 {
		return fmt.Errorf("-n %d: want 1 or more", o.rounds)
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("argument %q: want none", flag.Arg(0))
	}
	if _, err := o.cacheWords(); err != nil {
		return err
	}
	for name := range strings.SplitSeq(o.only, ",") {
		if o.only != "" && !slices.Contains(names, name) {
			return fmt.Errorf("-only %q: want some of %s", name, strings.Join(names, ","))
		}
	}
	return nil
}

// wants says whether the user asked for a measurement.
func (o options) wants(name string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), name)
}

// inside measures everything, in the house.
func inside(o options) error {
	b, err := moveIn()
	if err != nil {
		return err
	}
	r := &report{Machine: machine(append(b.candidates, b.people)), Rounds: o.rounds}
	r.head(os.Stdout)
	states, err := o.cacheWords()
	if err != nil {
		return err
	}
	for _, state := range states {
		if err := b.prepare(state); err != nil {
			return err
		}
		for _, op := range b.operations() {
			if o.wants(op.name) {
				result := measure(op, o.rounds)
				result.Cache = state
				r.add(os.Stdout, result)
			}
		}
	}
	if o.wants("limits") {
		r.facts(os.Stdout, b.limits())
	}
	if o.wants("detached") {
		r.facts(os.Stdout, b.detached())
	}
	if o.wants("beside") {
		r.facts(os.Stdout, b.beside(o.rounds))
	}
	return r.finish(o)
}
