// Try plays the labs as students do, well and badly, and looks whether lab says what it
// should.
//
//	try [NUMBER]...    these labs, or all
//	try vm             lab vm, in a terminal; on the machine itself, and as any user
//
// It wants root, minirun and lab in PATH, the images in the store, and a machine of its
// own (examples/alone): everything that is there afterwards and was not before is a
// leftover. For each lab:
//
//	unsolved     not yet
//	solution     right, also when asked again; what the check read is unchanged by it
//	wrong-*      each fails with its own sentence, in both languages
//	mutation     the solution fails if minirun leaves out the step that the lab is about
//	lab.md       every command prints what the text shows, and solves the lab; lab.ko.md too
//	reset        gives back the machine as it was, also after a SIGKILL at any moment
//
//	main.go        the labs, one after the other
//	play.go        scripts, checks
//	terminal.go    terminals, transcripts
//	vm.go          lab vm
//	print.go       what is on this machine
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"minirun/examples/workshop"
	"minirun/examples/workshop/course"
)

func main() {
	if slices.Equal(os.Args[1:], []string{"vm"}) {
		if err := tryVM(); err != nil {
			fmt.Printf("FAIL\tlab vm: %v\n", err)
			os.Exit(1)
		}
		fmt.Printf("ok  \tlab vm\n")
		return
	}
	var only []int
	for _, word := range os.Args[1:] {
		n, err := strconv.Atoi(word)
		if err != nil || workshop.Find(n) == nil {
			fmt.Fprintf(os.Stderr, "try: %s: no such lab\n", word)
			os.Exit(2)
		}
		only = append(only, n)
	}
	failed := false
	for _, l := range workshop.Labs {
		if len(only) > 0 && !slices.Contains(only, l.Number) {
			continue
		}
		failed = !try(l) || failed
	}
	if failed {
		os.Exit(1)
	}
}

// try plays one lab, and prints a line for each thing that it has tried.
func try(l *course.Lab) bool {
	p, err := newPlayer(l)
	if err != nil {
		fmt.Printf("FAIL\tlab %d: %v\n", l.Number, err)
		return false
	}
	defer p.close()
	if !p.able() {
		return os.Getenv("MINIRUN_KERNEL") != "own" // there a skip is a failure
	}
	good := true
	for _, part := range p.parts() {
		err := p.alone(part.play)
		if err != nil {
			fmt.Printf("FAIL\tlab %d: %s: %v\n", l.Number, part.name, err)
			good = false
			continue
		}
		fmt.Printf("ok  \tlab %d: %s\n", l.Number, part.name)
	}
	return good
}
