package signals

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]unix.Signal{
		"0": 0, "9": 9, "64": 64, "KILL": unix.SIGKILL, "SIGKILL": unix.SIGKILL, "sigterm": unix.SIGTERM, "winch": unix.SIGWINCH,
		"SIGRTMIN": 34, "RTMIN": 34, "SIGRTMIN+3": 37, "rtmin+30": 64, "SIGRTMAX": 64, "RTMAX-0": 64, "RTMAX-1": 63, "SIGRTMAX-30": 34,
		"CLD": unix.SIGCHLD, "SIGIOT": unix.SIGABRT, "POLL": unix.SIGIO,
	} {
		if got, err := Parse(text); got != want || err != nil {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "SIG", "-1", "+1", "65", "1e1", "SIGSIGKILL", "FOO", "RTMIN+", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMAX-31", "RTMIN+-1", "RTMIN++1", "RTMIN+3+3", "RT", "SIGRTMIN +3", "9 "} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %d, want an error", text, got)
		}
	}
}

// TestKill: all names that the shell's kill(1) knows mean the same here.
func TestKill(t *testing.T) {
	out, err := exec.Command("bash", "-c", `for i in {1..31} {34..64}; do echo $i $(kill -l $i); done`).Output()
	if err != nil {
		t.Skip("no bash: ", err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		want, err1 := Parse(number)
		got, err2 := Parse(name)
		if err1 != nil || err2 != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d, %v", name, got, err2, want, err1)
		}
		n++
	}
	if n != 62 {
		t.Errorf("%d signals compared, want 62", n)
	}
}
