package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"minirun/cmd/testbed"
)

// TestFullDisk: how a container ended is written down although the disk with its state is
// full by then.
func TestFullDisk(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	t.Cleanup(func() { testbed.NothingLeft(t) })
	root := t.TempDir()
	testbed.MountTmpfs(t, root, 0).Leave(200, 200)
	minirun := func(words ...string) string {
		t.Helper()
		out, err := exec.Command("minirun", append([]string{"--root", root + "/minirun", "--store", "/var/lib/minirun"}, words...)...).Output()
		testbed.Must(t, err)
		return strings.TrimSpace(string(out))
	}
	minirun("run", "-d", "--name", "full", "box", "trap", "TERM=7")
	for !strings.Contains(minirun("logs", "full"), "ready") {
		time.Sleep(10 * time.Millisecond)
	}
	fill(t, filepath.Join(root, "filler"))
	minirun("stop", "full")
	if got := minirun("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "full"); got != "exited 7" {
		t.Errorf("with a full disk it is %q, want exited 7", got)
	}
	testbed.Must(t, os.Remove(filepath.Join(root, "filler")))
	minirun("rm", "full")
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	testbed.Must(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1<<12))
	}
}
