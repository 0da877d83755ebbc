package pidfd

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/procfs"
)

// TestOpen: an id is the process only together with its start time, and only
// until it has ended; a zombie has.
func TestOpen(t *testing.T) {
	cmd := exec.Command("cat")
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	s, err := procfs.ReadStat("/proc", pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, start := range []uint64{0, s.Start + 1} {
		if fd, err := Open(pid, start); !errors.Is(err, ErrEnded) {
			t.Errorf("Open with start time %d = %d, %v", start, fd, err)
		}
	}
	fd, err := Open(pid, s.Start)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if Wait(fd, 10*time.Millisecond) {
		t.Error("Wait = true while the process runs")
	}
	input.Close()
	if !Wait(fd, 0) {
		t.Error("Wait = false without a limit")
	}
	if again, err := Stat(pid, s.Start); !errors.Is(err, ErrEnded) || !again.Ended() {
		t.Errorf("Stat of a zombie = %v, %v", again, err)
	}
	cmd.Wait()
	if again, err := Stat(pid, s.Start); !errors.Is(err, ErrEnded) || again.Ended() {
		t.Errorf("Stat after wait = %v, %v", again, err)
	}
}

// TestNobody: numbers for which kill(2) would take many processes are nobody's.
func TestNobody(t *testing.T) {
	for _, pid := range []int{0, -1, -os.Getpid(), -1 << 31, 1 << 40} {
		if fd, err := Open(pid, 0); !errors.Is(err, ErrEnded) {
			t.Errorf("Open(%d) = %d, %v", pid, fd, err)
		}
		if s, err := Stat(pid, 0); !errors.Is(err, ErrEnded) {
			t.Errorf("Stat(%d) = %v, %v", pid, s, err)
		}
	}
}
