package sockets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSend: a file arrives as another descriptor of the same open file.
func TestSend(t *testing.T) {
	theirs, ours, err := Pair("test")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	if err := unix.SetsockoptInt(int(ours.Fd()), unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Send(theirs, []byte("a pipe"), int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	file, sender, err := Receive(ours)
	if err != nil || file.Name() != "a pipe" || sender != os.Getpid() {
		t.Fatalf("Receive = %v, %d, %v; want a pipe from %d", file, sender, err, os.Getpid())
	}
	if flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags of what was received = %d, %v; want FD_CLOEXEC", flags, err)
	}
	file.Write([]byte("hello"))
	file.Close()
	text := make([]byte, 9)
	if n, err := r.Read(text); string(text[:n]) != "hello" || err != nil {
		t.Errorf("read %q, %v", text[:n], err)
	}
	for _, step := range []struct {
		name string
		send func()
	}{
		{"without a descriptor", func() { theirs.Write([]byte("x")) }},
		{"after the end", func() { theirs.Close() }},
	} {
		step.send()
		if file, _, err := Receive(ours); err == nil || err.Error() != "no descriptor came" {
			t.Errorf("Receive %s = %v, %v", step.name, file, err)
		}
	}
	path := filepath.Join(t.TempDir(), "nobody")
	if f, err := Dial("console socket", path); err == nil || !strings.HasPrefix(err.Error(), "console socket "+path+": ") {
		t.Errorf("Dial = %v, %v", f, err)
	}
}
