package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"minirun/container/processes"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// ps with a container is what engines mean by it: the processes of that one.
//
//	ps --format json ID      [4711,4712]
//	ps ID [OPTION...]        what ps(1) with these options, else -ef, says of them

// pids prints the processes of the container that is the first argument.
func pids(c *cli.Context) error {
	format, err := pidsFormat(c)
	if err != nil {
		return err
	}
	k, err := find(c, c.Args().First())
	if err != nil {
		return err
	}
	list, err := processes.Of(k)
	if err != nil {
		return err
	}
	if format == "json" {
		return json.NewEncoder(c.App.Writer).Encode(append([]int{}, list...)) // [] if there are none
	}
	if c.Bool("quiet") {
		_, err := fmt.Fprintln(c.App.Writer, strings.Join(numbers(list), "\n"))
		return err
	}
	options := slices.DeleteFunc(c.Args().Tail(), func(o string) bool { return o == "" }) // go-runc's way to say none
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	// Without -e or the like, ps would choose by user and terminal. We ourselves
	// are sure to be there, and are left out again.
	chosen := strings.Join(numbers(append(list, os.Getpid())), ",")
	out, err := exec.Command("ps", append(options, "-p", chosen)...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		cause, _, _ := bytes.Cut(bytes.TrimSpace(failed.Stderr), []byte("\n")) // its help follows
		return fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, cause)
	} else if err != nil {
		return err
	}
	return only(c.App.Writer, string(out), list)
}

func numbers(pids []int) []string {
	var words []string
	for _, pid := range pids {
		words = append(words, strconv.Itoa(pid))
	}
	return words
}

// pidsFormat is the format; -f, which among containers is a filter, is one too.
func pidsFormat(c *cli.Context) (string, error) {
	format := cmp.Or(append(c.StringSlice("filter"), c.String("format"), "table")...)
	if format != "table" && format != "json" {
		return "", usage{fmt.Errorf("ps %s: format %q: want table or json", c.Args().First(), format)}
	}
	return format, nil
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
