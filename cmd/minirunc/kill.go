package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func kill(c *call) error {
	all := c.flags.yes("all a", "to all processes of the container; that there is none is then no error")
	if err := c.parse(1, 2); err != nil {
		return err
	}
	name := ""
	if len(c.args) == 2 {
		name = c.args[1]
	}
	signal, err := parseSignal(cmp.Or(name, "TERM"))
	if err != nil {
		return err
	}
	k, err := c.load()
	if err != nil {
		return err
	}
	return k.Kill(signal, *all)
}

// parseSignal takes a number, KILL or SIGKILL. Number 0 is no signal, but asks
// whether one could be sent.
func parseSignal(name string) (unix.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
		return unix.Signal(n), nil
	}
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("signal %q: no such signal", name)
}
