package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// The store and the directory of states, when what is in them is not what minirun has put
// there. Each command either works or says in one line what is wrong, within seconds,
// and what is outside stays as it is.

// A strange is something in the place of a file or a directory of ours.
type strange struct {
	name string
	put  func(path string, outside string) error
}

var stranges = []strange{
	{"a link to a directory", func(path, outside string) error { return os.Symlink(outside, path) }},
	{"a link to a file", func(path, outside string) error { return os.Symlink(outside+"/file", path) }},
	{"a dangling link", func(path, outside string) error { return os.Symlink(outside+"/new", path) }},
	{"a link to /dev/zero", func(path, outside string) error { return os.Symlink("/dev/zero", path) }},
	{"a FIFO", func(path, outside string) error { return unix.Mkfifo(path, 0o600) }},
	{"an endless device", func(path, outside string) error { return unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) }},
	{"a directory", func(path, outside string) error { return os.MkdirAll(path+"/sub", 0o700) }},
	{"another user's directory", func(path, outside string) error { return os.Mkdir(path, 0o700) }},
}

// a secret is in the files outside: no command prints it.
const secret = "nobody may read this"

// outside makes a directory that must not change.
func outside(t *testing.T) (dir string, unchanged func() string) {
	dir = t.TempDir()
	text := func() string {
		list := []string{}
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			info, err := os.Lstat(path)
			if err == nil {
				list = append(list, fmt.Sprint(strings.TrimPrefix(path, dir), info.Mode(), info.Size(), info.ModTime()))
			}
			return err
		})
		return strings.Join(list, "\n")
	}
	for _, sub := range []string{"rootfs", "upper/etc", "work", "sha256", "blobs"} {
		testbed.Must(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	for _, name := range []string{"file", "log", "config.json", "state.json", "upper/etc/passwd", "sha256/x", strings.Repeat("0", 64)} {
		testbed.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600))
	}
	before := text()
	return dir, func() string {
		if after := text(); after != before {
			return fmt.Sprintf("before:\n%s\nafter:\n%s", before, after)
		}
		return ""
	}
}

// objects are the files and directories of a store and of a state.
var objects = strings.Fields(`store/tmp store/blobs store/blobs/sha256 store/layers store/containers store/names store/lock store/index.lock store/index.json
	store/oci-layout store/blobs/sha256/BLOB store/layers/LAYER store/containers/ID store/containers/ID/config.json store/containers/ID/log
	store/containers/ID/upper store/containers/ID/work store/names/victim root/ID root/ID/state.json root/ID/exit root/ID/exec.fifo root/ID/config.json`)

// TestStrangeStore puts something strange in the place of each of them, and carries out all
// commands that use them.
func TestStrangeStore(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	f := testbed.BareField(t, testbed.Makers[0], "minirun")
	for i, object := range objects {
		for j, s := range stranges {
			if j > 0 && (i+j)%7 != 0 && !*testbed.EveryFault || testing.Short() && (j > 0 || i%3 > 0) {
				continue
			}
			f.Must("import " + testbed.Programs + " box")
			f.Must("run --name victim box echo hello")
			id := strings.TrimSpace(f.Must("ps -aq --no-trunc"))
			path := filepath.Join(f.Dir, strings.NewReplacer("ID", id, "BLOB", firstIn(t, f.Dir+"/store/blobs/sha256"), "LAYER", firstIn(t, f.Dir+"/store/layers")).Replace(object))
			dir, unchanged := outside(t)
			testbed.Must(t, os.RemoveAll(path))
			testbed.Must(t, s.put(path, dir))
			if s.name == "another user's directory" {
				testbed.Must(t, os.Chown(path, 1000, 1000))
			}
			useAll(t, f, object+" is "+s.name, id)
			if change := unchanged(); change != "" {
				t.Errorf("%s is %s: what is outside has changed:\n%s", object, s.name, change)
			}
			groups, _ := filepath.Glob("/sys/fs/cgroup/minirun*") // whose state was taken away
			for _, g := range groups {
				os.Remove(g)
			}
			testbed.Must(t, os.RemoveAll(f.Dir+"/store"))
			testbed.Must(t, os.RemoveAll(f.Dir+"/root"))
			testbed.Must(t, errors.Join(os.Mkdir(f.Dir+"/store", 0o700), os.Mkdir(f.Dir+"/root", 0o700)))
		}
	}
}

// useAll carries out all commands that use the store or the states.
func useAll(t *testing.T, f *testbed.Field, what, id string) {
	t.Helper()
	for _, words := range []string{"ps -a", "inspect victim", "logs victim", "images", "run -d --name second box true",
		"import " + testbed.Programs + " other", "rmi other", "rm -f second", "rm victim", "rm -f victim", "rm -f " + id, "rmi -f box", "ps -a"} {
		start := time.Now()
		out, err := f.Do(words)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		last := hintless(lines)
		switch {
		case time.Since(start) > 8*time.Second:
			t.Errorf("%s: %s takes %v", what, words, time.Since(start))
		case strings.Contains(out, secret), strings.Contains(out, "goroutine"):
			t.Errorf("%s: %s prints %q", what, words, out)
		case err != nil && !strings.HasPrefix(last, "minirun"):
			t.Errorf("%s: %s: %v, %q; want a line of minirun's", what, words, err, out)
		}
		if testing.Verbose() && err != nil {
			t.Logf("%s: %s: %q", what, words, out)
		}
	}
}

// hintless is the last line but for a hint.
func hintless(lines []string) string {
	if n := len(lines); n > 1 && strings.HasPrefix(lines[n-1], "hint: ") {
		return lines[n-2]
	}
	return lines[len(lines)-1]
}

// firstIn is the first name in a directory.
func firstIn(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	testbed.Must(t, err)
	return entries[0].Name()
}
