package pidfd

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOpen: a number is the process only together with all that else was written down, and
// only until it has ended; a zombie has.
func TestOpen(t *testing.T) {
	cmd := exec.Command("cat")
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	id, err := Of(cmd.Process.Pid, -1)
	if err != nil || id.Pid != cmd.Process.Pid || id.StartTime == 0 || id.Inode == 0 || id.Boot == "" {
		t.Fatalf("Of = %+v, %v", id, err)
	}
	for what, change := range map[string]func(*Identity){
		"of another number":    func(i *Identity) { i.Pid = os.Getpid() },
		"started later":        func(i *Identity) { i.StartTime++ },
		"never started":        func(i *Identity) { i.StartTime = 0 },
		"of the same tick":     func(i *Identity) { i.Inode++ },
		"of the boot before":   func(i *Identity) { i.Boot = "0dd8f6f5-1f6c-4f6c-8e3a-0a4f7a1f2b3c" },
		"of a time without id": func(i *Identity) { i.Pid = 0 },
	} {
		other := id
		change(&other)
		if fd, err := other.Open(); !errors.Is(err, ErrEnded) {
			t.Errorf("Open of a process %s = %d, %v", what, fd, err)
		}
		if s, err := other.Stat(); !errors.Is(err, ErrEnded) {
			t.Errorf("Stat of a process %s = %v, %v", what, s, err)
		}
	}
	old := Identity{Pid: id.Pid, StartTime: id.StartTime} // written down before there was more
	if _, err := old.Stat(); err != nil {
		t.Errorf("Stat of number and start time = %v", err)
	}
	fd, err := id.Open()
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
	if again, err := id.Stat(); !errors.Is(err, ErrEnded) || !again.Ended() {
		t.Errorf("Stat of a zombie = %v, %v", again, err)
	}
	cmd.Wait()
	if again, err := id.Stat(); !errors.Is(err, ErrEnded) || again.Ended() {
		t.Errorf("Stat after wait = %v, %v", again, err)
	}
}

// TestInode: since Linux 6.9 the pidfds of two processes have different inodes, and those of
// one process the same.
func TestInode(t *testing.T) {
	var s unix.Statfs_t
	first, err := unix.PidfdOpen(os.Getpid(), 0)
	if err == nil {
		defer unix.Close(first)
		err = unix.Fstatfs(first, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.Type != unix.PID_FS_MAGIC {
		t.Skip("no pidfs: needs Linux 6.9; the start time alone tells processes apart")
	}
	self, again := of(t, os.Getpid()), of(t, os.Getpid())
	if parent := of(t, os.Getppid()); self != again || parent.Inode == self.Inode {
		t.Errorf("Of = %+v, %+v; of the parent %+v", self, again, parent)
	}
}

func of(t *testing.T, pid int) Identity {
	t.Helper()
	id, err := Of(pid, -1)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestNobody: numbers for which kill(2) would take many processes are nobody's.
func TestNobody(t *testing.T) {
	for _, pid := range []int{0, -1, -os.Getpid(), -1 << 31, 1 << 40} {
		if fd, err := (Identity{Pid: pid}).Open(); !errors.Is(err, ErrEnded) {
			t.Errorf("Open(%d) = %d, %v", pid, fd, err)
		}
		if s, err := (Identity{Pid: pid}).Stat(); !errors.Is(err, ErrEnded) {
			t.Errorf("Stat(%d) = %v, %v", pid, s, err)
		}
	}
}
