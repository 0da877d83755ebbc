package protect_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestEntry: linked as the Makefile does it, the program is protected before
// its Go runtime has begun to boot, if one of the words is there; and begins
// with one thread, the command line, and no more variables than it was given.
func TestEntry(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a mount")
	}
	symbol := "_minirunc_linux_" + runtime.GOARCH
	if _, err := os.Stat("entry_" + runtime.GOARCH + ".s"); err != nil {
		t.Skip("on this processor it is Protect, in Go, that does it")
	}
	program := filepath.Join(t.TempDir(), "entry")
	build := exec.Command("go", "build", "-ldflags", "-E "+symbol, "-o", program, "./testdata/entry")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	const safe, unsafe = "true 1 [FIRST=x LAST=last]", "false 1 [FIRST=x LAST=last]"
	for line, want := range map[string]string{
		"create x":                safe,
		"--root /r create":        safe,
		"exec":                    safe,
		"run --bundle /b x":       safe,
		"--root /r exec x y":      safe,
		"":                        unsafe,
		"state x":                 unsafe,
		"start creates -run":      unsafe,
		"execs xcreate runs":      unsafe,
		"c cr cre crea creat":     unsafe,
		"e ex exe r ru":           unsafe,
		"kill execute rune creat": unsafe,
	} {
		cmd := exec.Command(program, strings.Fields(line)...)
		cmd.Env = []string{"FIRST=x", "LAST=last"}
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want+" ["+line+"]" {
			t.Errorf("entry %s: %q, %v; want %s", line, got, err, want)
		}
	}
	cmd := exec.Command(program, "create")
	cmd.Env = []string{} // as few as there can be
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "true 1 [] [create]\n" {
		t.Errorf("entry create without an environment: %q, %v", out, err)
	}
}
