// Package signals knows signals by the names that people and images have for them.
//
// The names are those of kill(1): KILL or SIGKILL, a few with two names, and the real-time
// signals, which the kernel has no names for. Programs count those from RTMIN on or from
// RTMAX backwards, as in RTMIN+3, with which systemd halts. RTMIN is 34, because the C
// library keeps the first two of the kernel's for itself (signal(7)).
//
// Man pages: [kill(1)], [signal(7)].
//
// [kill(1)]: https://man7.org/linux/man-pages/man1/kill.1.html
// [signal(7)]: https://man7.org/linux/man-pages/man7/signal.7.html
package signals

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The real-time signals that programs may use.
const (
	rtMin = 34
	rtMax = 64
)

// second are the names of signals that have another one.
var second = map[string]unix.Signal{"CLD": unix.SIGCHLD, "IOT": unix.SIGABRT, "POLL": unix.SIGIO, "UNUSED": unix.SIGSYS}

// Parse takes a number, or a name with or without SIG, in capitals or not. Number 0 is no
// signal, but asks whether one could be sent.
func Parse(text string) (unix.Signal, error) {
	if n, ok := number(text, rtMax); ok {
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if s := unix.SignalNum("SIG" + name); s != 0 {
		return s, nil
	}
	if s, ok := second[name]; ok {
		return s, nil
	}
	if n, ok := realTime(name); ok {
		return unix.Signal(n), nil
	}
	return 0, fmt.Errorf("signal %q: no such signal", text)
}

// realTime takes RTMIN, RTMIN+1, RTMAX-1 or RTMAX.
func realTime(name string) (int, bool) {
	from, sign, by := name, "", ""
	if i := strings.IndexAny(name, "+-"); i >= 0 {
		from, sign, by = name[:i], name[i:i+1], name[i+1:]
	}
	n, ok := 0, sign == ""
	if !ok {
		n, ok = number(by, rtMax-rtMin)
	}
	switch {
	case from == "RTMIN" && sign != "-":
		return rtMin + n, ok
	case from == "RTMAX" && sign != "+":
		return rtMax - n, ok
	}
	return 0, false
}

// number takes a number of digits alone, up to most.
func number(text string, most int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && text[0] != '+' && text[0] != '-' && n <= most
}
