package protect

import (
	"os"

	"golang.org/x/sys/unix"
)

// Go's runtime has a thread of its own (sysmon) that wakes up every 20 µs at first.
// In a program that lives for a few milliseconds this takes a fifth of the processor
// time. The kernel may let a thread sleep longer than it asked for, by the thread's
// timer slack. So the program's entry (entry_amd64.s) sets a large one, which all
// threads inherit. [prctl(2)], PR_SET_TIMERSLACK.
//
// [prctl(2)]: https://man7.org/linux/man-pages/man2/prctl.2.html
const (
	normalSlack = 50_000    // nanoseconds; every process starts with it
	largeSlack  = 5_000_000 // nanoseconds
)

// Restore takes back what the entry has set for Go's runtime as it boots, so that
// what this thread clones or executes from now on does not inherit it: hooks on the
// host get our environment. Call it first in main. The timer slack is the one that
// every process starts with; no kernel refuses. GOMAXPROCS is the entry's if it is
// "01"; a caller would write 1.
func Restore() {
	unix.Prctl(unix.PR_SET_TIMERSLACK, normalSlack, 0, 0, 0)
	if os.Getenv("GOMAXPROCS") == "01" {
		os.Unsetenv("GOMAXPROCS")
	}
}
