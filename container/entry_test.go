package container_test

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
// with the command line and environment that it was given, and with one thread.
// ps shows the same of it. Where the kernel does not let it be another program
// without being executed again, it is executed again.
func TestEntry(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a mount")
	}
	symbol := "_protect_linux_" + runtime.GOARCH
	if _, err := os.Stat("protect_" + runtime.GOARCH + ".s"); err != nil {
		t.Skip("on this processor it is Protect, in Go, that does it")
	}
	program := filepath.Join(t.TempDir(), "entry")
	build := exec.Command("go", "build", "-ldflags", "-E "+symbol, "-o", program, "./testdata/entry")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	const safe, unsafe = "true 1 last x", "false 1 last x"
	for line, want := range map[string]string{
		"create x":           safe,
		"--root /r create":   safe,
		"exec":               safe,
		"run --bundle /b x":  safe,
		"run --bundle=/b x":  safe,
		"run -b /b x":        safe,
		"":                   unsafe,
		"state x":            unsafe,
		"run image creates":  unsafe,
		"run image -bc":      unsafe,
		"execs xcreate":      unsafe,
		"c cr e b - -- --bu": unsafe,
	} {
		cmd := exec.Command(program, strings.Fields(line)...)
		cmd.Env = []string{"FIRST=x", "LAST=last"}
		shown := "comm [entry] <nil>\ncmdline [" + strings.TrimSpace(program+" "+line) + "] <nil>\nenviron [FIRST=x LAST=last] <nil>\n"
		out, err := cmd.CombinedOutput()
		if want += " [" + line + "]\n" + shown; err != nil || string(out) != want {
			t.Errorf("entry %s: %q, %v; want %q", line, out, err, want)
		}
	}
	for environment, want := range map[string]string{
		"":         "true 1   [create]\ncomm [entry] <nil>\ncmdline [" + program + " create] <nil>\nenviron [] <nil>\n", // as few as there can be
		"REFUSE=1": "true 1 last x [create]\ncomm [minirun] <nil>\ncmdline [" + program + " create] <nil>\nenviron [FIRST=x LAST=last] <nil>\n",
	} {
		cmd := exec.Command(program, "create")
		cmd.Env = strings.Fields(environment)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("entry create with %q: %q, %v; want %q", environment, out, err, want)
		}
	}
}
