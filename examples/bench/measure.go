package main

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A result is one operation, measured.
type result struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Cache string `json:"cache"` // the state of the binaries in the page cache (cache.go)
	Rows  []row  `json:"rows"`
}

// A row is what one candidate took, once per round.
type row struct {
	Candidate string    `json:"candidate"`
	Usec      []float64 `json:"usec"`
	Err       string    `json:"error,omitempty"` // why there is no more
}

// warmUp rounds are not counted: caches fill, the runtimes make their folders.
const warmUp = 3

// measure does an operation in rounds. Every round starts with another
// candidate, so that none always follows the same one: what the kernel still
// tidies up after a container (a network namespace takes longest) burdens the next.
func measure(op operation, rounds int) result {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // our own pauses are not theirs
	r := result{Name: op.name, Title: op.title}
	for _, s := range op.subjects {
		r.Rows = append(r.Rows, row{Candidate: s.name, Err: message(s.err)})
	}
	for round := range warmUp + rounds {
		progress("%s: round %d of %d", op.title, max(round-warmUp+1, 0), rounds)
		for i := range op.subjects {
			i = (i + round) % len(op.subjects)
			r.Rows[i].add(op.subjects[i], round >= warmUp)
		}
	}
	progress("")
	if op.end != nil {
		op.end()
	}
	return r
}

// add does it once more. A candidate that failed does not take part any more.
func (r *row) add(s subject, counts bool) {
	if r.Err != "" {
		return
	}
	took, err := s.once()
	reap()
	if err != nil {
		r.Err = err.Error()
	} else if counts {
		r.Usec = append(r.Usec, float64(took)/float64(time.Microsecond))
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// progress shows what is going on, on a terminal only; "" wipes it.
func progress(format string, args ...any) {
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err == nil {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}

// quantile of unsorted values: q = 0.5 is the median. Between two values it is
// interpolated; of none it is not a number.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	at := q * float64(len(v)-1)
	low := int(at)
	high := min(low+1, len(v)-1)
	return v[low] + (at-float64(low))*(v[high]-v[low])
}

func (r row) median() float64 { return quantile(r.Usec, 0.5) }

// median of a candidate; not a number if it did not take part.
func (r result) median(candidate string) float64 {
	for _, row := range r.Rows {
		if row.Candidate == candidate {
			return row.median()
		}
	}
	return math.NaN()
}
