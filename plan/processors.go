package plan

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// At every start Go's threads take turns, as they do when signals are asked for. To
// wake another processor each time takes longer than to go on with the same one,
// and each change of the memory that they share has to be told to it. So the
// program's entry (container/protect_amd64.s) puts them together on one, and they
// stay there until something is started that is not a plan's, or takes long. What a
// plan starts may use all processors (clone).

// together says that the entry did.
var together bool

// processors are masks for sched_setaffinity(2): the one where our threads are, and all.
var processors struct{ one, all unix.CPUSet }

// Spread lets our threads, and whatever they start from now on, run on all
// processors again that our cgroup has. It fails only without /proc.
func Spread() error {
	cloning.Lock()
	defer cloning.Unlock()
	if !together {
		return nil
	}
	fill(&processors.all)
	unix.SchedSetaffinity(0, &processors.all) // at least who calls, and starts something
	ours, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("our own threads: %w", err)
	}
	done := map[string]bool{}
	for more := ours == strconv.Itoa(os.Getpid()); more; { // else it has the numbers of another pid namespace
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("our own threads: %w", err)
		}
		more = false
		for _, t := range threads {
			if id, err := strconv.Atoi(t.Name()); err == nil && !done[t.Name()] {
				unix.SchedSetaffinity(id, &processors.all) // ESRCH: it ended
				done[t.Name()], more = true, true          // one that is not spread yet may have made another
			}
		}
	}
	together = false
	return nil
}

// masks are the addresses of where our threads are and of all processors, or 0
// if the threads are spread.
func masks() (one, all uintptr) {
	if !together {
		return 0, 0
	}
	fill(&processors.all)
	unix.SchedGetaffinity(0, &processors.one) // EINVAL: then the entry would have failed, too
	return uintptr(unsafe.Pointer(&processors.one)), uintptr(unsafe.Pointer(&processors.all))
}

func fill(set *unix.CPUSet) {
	for i := range set {
		set[i] |= ^set[i]
	}
}
