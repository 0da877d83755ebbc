package exit

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/container/pidfd"
)

// TestOpen: before the end the file has its length and says nothing; then it says how, in the
// same room.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != Size {
		t.Errorf("the file has %d bytes, %v, want %d", info.Size(), err, Size)
	}
	if s, ok := Read(dir, pidfd.Identity{Pid: os.Getpid()}); ok {
		t.Errorf("Read() before the end = %v", s)
	}
	for status, want := range map[unix.WaitStatus]int{0: 0, 7 << 8: 7, 9: 137} {
		if err := Write(dir, status); err != nil {
			t.Fatal(err)
		}
		if s, ok := Read(dir, pidfd.Identity{Pid: os.Getpid()}); !ok || s.Code != want {
			t.Errorf("Read() = %v, %v, want code %d", s, ok, want)
		}
	}
}
