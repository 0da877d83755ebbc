package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"minirun/container/processes"
)

// ps prints the processes of a container:
//
//	ps --format json ID      [4711,4712]
//	ps ID [OPTION...]        what ps(1) with these options, else -ef, says of them
func ps(c *call) error {
	format := c.format()
	quiet := c.flags.yes("quiet q", "process ids only")
	if err := c.parse(1, programs); err != nil {
		return err
	}
	if err := checkFormat(*format); err != nil {
		return fmt.Errorf("ps %s: %w", c.args[0], err)
	}
	k, err := c.load()
	if err != nil {
		return err
	}
	pids, err := processes.Of(k)
	switch {
	case err != nil:
		return err
	case *format == "json":
		return json.NewEncoder(c.out).Encode(append([]int{}, pids...)) // [] if there are none
	case *quiet:
		_, err := fmt.Fprintln(c.out, strings.Join(numbers(pids), "\n"))
		return err
	}
	text, err := hostPs(c.args[1:], pids)
	if err != nil {
		return err
	}
	return only(c.out, text, pids)
}

// hostPs is what ps(1) prints of some processes, and of this one. Without -e or
// the like, ps would choose by user and terminal; and with an empty list it would
// fail. So minirunc, which certainly runs, is in the list.
func hostPs(options []string, pids []int) (string, error) {
	options = slices.DeleteFunc(options, func(o string) bool { return o == "" }) // go-runc's way to say none
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	chosen := strings.Join(numbers(append(pids, os.Getpid())), ",")
	out, err := exec.Command("ps", append(options, "-p", chosen)...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		cause, _, _ := bytes.Cut(bytes.TrimSpace(failed.Stderr), []byte("\n")) // its help follows
		err = fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, cause)
	}
	return string(out), err
}

func numbers(pids []int) []string {
	var words []string
	for _, pid := range pids {
		words = append(words, strconv.Itoa(pid))
	}
	return words
}

// only prints the heading of a list of ps(1), and the lines of some processes.
func only(w io.Writer, text string, pids []int) error {
	heading, rest, _ := strings.Cut(text, "\n")
	column := slices.Index(strings.Fields(heading), "PID")
	if column < 0 {
		return fmt.Errorf("ps: no column PID in %q", heading)
	}
	fmt.Fprintln(w, heading)
	for line := range strings.Lines(rest) {
		words := strings.Fields(line)
		if len(words) <= column {
			continue
		}
		if pid, err := strconv.Atoi(words[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Fprint(w, line)
		}
	}
	return nil
}
