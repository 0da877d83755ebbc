package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"minirun/cmd/testbed"
)

// readOnly is what the first to write is told where there was no room for what an
// overlay makes in its work directory: the kernel mounts it, read-only.
const readOnly = "read-only file system"

// TestNoSpaceForImages: where containers made from images are, there is room for
// nothing, or for one file or page, or two, … Everything either works or says what
// there is no space for.
func TestNoSpaceForImages(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	for _, m := range []testbed.Maker{testbed.Makers[0], testbed.Makers[2]} {
		t.Run(m.Name, func(t *testing.T) {
			f := testbed.BareField(t, m, "minirun")
			testbed.OpenUp(t, filepath.Dir(testbed.Programs))
			f.Must("import " + testbed.Programs + " box")
			testbed.Must(t, os.Mkdir(f.Dir+"/store/containers", 0o700))
			testbed.Must(t, os.Chown(f.Dir+"/store/containers", m.UID, m.UID))
			containers := testbed.MountTmpfs(t, f.Dir+"/store/containers", m.UID)
			f.Must("run --name first box true")
			f.Must("rm first") // and all directories are there
			f.Base = f.Fingerprint()
			for _, words := range []string{"run --rm --name victim box true", "run --name victim box true", "run -d --name victim box sleep 1000"} {
				succeeded := 0
				for _, r := range testbed.Room(12) {
					containers.Leave(r[0], r[1])
					out, err := f.Do(words)
					what := fmt.Sprintf("%s with room for %d pages and %d files", words, r[0], r[1])
					if err == nil {
						succeeded++
					} else if !testbed.OneError.MatchString(out) || !strings.Contains(out, "no space left on device") && !strings.Contains(out, readOnly) {
						t.Errorf("%s: %v, %q; want one line with ENOSPC", what, err, out)
					}
					if list := f.Must("ps -aq"); err != nil && list != "" {
						t.Errorf("%s failed with %q, and it is half made: %s", what, out, f.Must("ps -a"))
					}
					f.Must("rm -f victim")
					if changed := f.Settled(); changed != "" {
						t.Fatalf("%s: %q, and there is left:\n%s", what, out, changed)
					}
					containers.Leave(testbed.Enough, testbed.Enough)
				}
				if succeeded == 0 || succeeded == len(testbed.Room(12)) {
					t.Errorf("%s succeeded %d times of %d, want some", words, succeeded, len(testbed.Room(12)))
				}
			}
		})
	}
}

// TestFullOutput: what cannot be printed is an error of every command that
// prints, be it by the line.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	testbed.Must(t, err)
	defer full.Close()
	commands := []string{"--help", "--version", "run --help", "images", "doctor", "ps"}
	if os.Geteuid() == 0 {
		testbed.ImportPrograms(t)
		testbed.Must(t, exec.Command("minirun", "run", "-d", "--name", "seen", "box", "sleep", "100").Run())
		defer exec.Command("minirun", "rm", "-f", "seen", "printed").Run()
		commands = append(commands, "ps --format json", "ps -q", "images -q", "tree", "threads", "ns", "inspect seen", "ps seen", "plan box", "run -d --name printed box true")
	}
	for _, words := range commands {
		cmd := exec.Command("minirun", strings.Fields(words)...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = full, &stderr
		if cmd.Run() == nil || strings.Count(stderr.String(), "standard output: write /dev/stdout: no space left on device\n") != 1 {
			t.Errorf("%s > /dev/full: %v, %q; want one line about standard output", words, cmd.ProcessState, stderr.String())
		}
	}
}
