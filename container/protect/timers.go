package protect

import "golang.org/x/sys/unix"

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

// RestoreTimerSlack gives this thread the timer slack that every process starts
// with, and so whatever the thread clones or executes from now on. Call it first in
// main. No kernel refuses.
func RestoreTimerSlack() { unix.Prctl(unix.PR_SET_TIMERSLACK, normalSlack, 0, 0, 0) }
