package plan

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBpfAgain: signals, of which Go's scheduler sends many, do not keep a
// program from being loaded. If they reach the thread, this fails within a few loads.
func TestBpfAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: BPF_PROG_LOAD needs CAP_BPF")
	}
	const move, exit = 0xb7, 0x95 // r0 = 0, and the end
	code := make([]uint64, 4000)
	for i := range code {
		code[i] = move
	}
	code[len(code)-1] = exit
	p := &Plan{}
	p.On(Runtime)
	attr := &Memory{
		Bytes:  append(words32(unix.BPF_PROG_TYPE_CGROUP_DEVICE, uint32(len(code))), make([]byte, 144)...),
		Points: map[int]*Memory{8: {Bytes: words64(code...)}, 16: {Bytes: make([]byte, 1)}},
	}
	p.Call("bpf", unix.SYS_BPF, Num(unix.BPF_PROG_LOAD), attr, Num(len(attr.Bytes))).Opens()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			default:
				unix.Kill(os.Getpid(), unix.SIGURG) // Go ignores what it has not sent
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	for range 50 {
		if _, err := p.Start(Options{}); err != nil {
			t.Fatal(err)
		}
	}
}
