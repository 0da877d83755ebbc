package testbed

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// A Screen is a terminal's other side: what came out of it so far.
type Screen struct {
	sync.Mutex
	bytes.Buffer
}

func (s *Screen) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.Write(p)
}

// Text is all that was shown.
func (s *Screen) Text() string {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.String()
}

// Shows waits until the screen does.
func (s *Screen) Shows(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(s.Text(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the terminal shows no %q but %q", want, s.Text())
		}
	}
}

// OnTerminal starts a program on a terminal of its own, of 30 rows and 100 columns.
func OnTerminal(t *testing.T, program string, args ...string) (console.Console, *Screen, *exec.Cmd) {
	t.Helper()
	master, path, err := console.NewPty()
	Must(t, err)
	t.Cleanup(func() { master.Close() })
	Must(t, master.Resize(console.WinSize{Height: 30, Width: 100}))
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	Must(t, err)
	slave := os.NewFile(uintptr(fd), path)
	defer slave.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	Must(t, cmd.Start())
	s := &Screen{}
	go io.Copy(struct{ io.Writer }{s}, master) // not by the buffer itself, which has no lock; EIO: the last process closed the terminal
	return master, s, cmd
}
