package container

import "testing"

func TestRun(t *testing.T) {
	needRoot(t)
	b := newBox(t, "print hello", "pid", "cwd", "fds", "exit 3")
	if got, code := b.run(Options{}); got != "hello\n1\n/\n0 1 2" || code != 3 {
		t.Errorf("run = %q, %d; want …, 3", got, code)
	}
}
