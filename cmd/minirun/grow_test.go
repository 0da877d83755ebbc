package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"minirun/cmd/testbed"
)

// TestManyGrow: a command that is given twice as many containers, by their names or by the
// beginnings of their ids as ps prints them, makes twice as many system calls and reads twice
// as much of directories, and not four times.
func TestManyGrow(t *testing.T) {
	testbed.NeedRoot(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("no strace: install the package strace")
	}
	testbed.Programs = testbed.ImageTar(t)
	const few = 60
	for _, c := range []struct{ command, by string }{{"rm -f", "id"}, {"rm -f", "name"}, {"rm -f", "spoilt"}, {"stop -t 0", "id"}, {"inspect", "id"}} {
		one, two := workOf(t, c.command, c.by, few), workOf(t, c.command, c.by, 2*few)
		t.Logf("%s of %d containers by %s: %d calls and entries; of %d: %d", c.command, few, c.by, one, 2*few, two)
		if float64(two) > 2.4*float64(one) {
			t.Errorf("%s of containers by %s: twice as many are %.1f times as much", c.command, c.by, float64(two)/float64(one))
		}
	}
}

// workOf is how many system calls a command makes for n containers, and how many entries of
// directories it reads.
func workOf(t *testing.T, command, by string, n int) (work int) {
	t.Helper()
	f := testbed.BareField(t, testbed.Makers[0], "minirun")
	var words []string
	for i := range n {
		id := fmt.Sprintf("%x", sha256.Sum256([]byte(strconv.Itoa(i))))
		name := fmt.Sprintf("name%d", i)
		dir := f.Dir + "/store/containers/" + id
		testbed.Must(t, os.MkdirAll(dir, 0o711))
		testbed.Must(t, os.MkdirAll(f.Dir+"/store/names", 0o700))
		testbed.Must(t, os.Symlink("../containers/"+id, f.Dir+"/store/names/"+name))
		text := fmt.Sprintf(`{"ociVersion":"1.0.2","process":{"args":["x"],"cwd":"/","capabilities":{}},"root":{"path":"rootfs"},"linux":{},"annotations":{"org.minirun.name":%q}}`, name)
		if by == "spoilt" {
			text = "{"
		}
		testbed.Must(t, os.WriteFile(dir+"/config.json", []byte(text), 0o600))
		testbed.Must(t, os.WriteFile(dir+"/log", nil, 0o600))
		if by == "name" {
			words = append(words, name)
		} else {
			words = append(words, id[:12])
		}
	}
	log := filepath.Join(f.Dir, "calls")
	traced := f.Command(command + " " + strings.Join(words, " "))
	cmd := exec.Command("strace", append([]string{"-f", "-qq", "-e", "trace=openat,openat2,getdents64,readlinkat,unlinkat,newfstatat,read,flock", "-o", log}, traced.Args...)...)
	cmd.Dir = traced.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v, %s", command, err, out)
	}
	text, err := os.ReadFile(log)
	testbed.Must(t, err)
	for _, m := range regexp.MustCompile(`(?m)(\w+)\(.*/\* (\d+) entries \*/|(\w+)\(`).FindAllStringSubmatch(string(text), -1) {
		entries, _ := strconv.Atoi(m[2]) // "" for other calls
		work += 1 + entries
	}
	return work
}
