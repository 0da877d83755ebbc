package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"minirun/cmd/testbed"
)

// TestNoHTTP: what starts with each container does not link Go's HTTP, which costs each start
// a third more. Only minirun-pull does.
func TestNoHTTP(t *testing.T) {
	for _, c := range []struct {
		program string
		want    bool
	}{{"minirun", false}, {"minirunc", false}, {"minirun-pull", true}} {
		out, err := exec.Command("go", "list", "-deps", "../"+c.program).Output()
		if err != nil && (os.Geteuid() != 0 || errors.Is(err, exec.ErrNotFound)) {
			t.Skipf("go list: %v: needs the Go command, and a cache that this user can read", err)
		} else if err != nil {
			t.Fatalf("go list -deps ../%s: %v", c.program, err)
		}
		if got := strings.Contains("\n"+string(out), "\nnet/http\n"); got != c.want {
			t.Errorf("%s links net/http: %v, want %v", c.program, got, c.want)
		}
	}
}

// registryWithBox lets docker.io be a registry on loopback, which has the tests' image, and
// makes a place for a store that has not.
func registryWithBox(t *testing.T) (minirun func(words string) (stdout, stderr string, err error), store string) {
	t.Helper()
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	origin, store := t.TempDir(), filepath.Join(t.TempDir(), "store")
	out, err := exec.Command("minirun", "--store", origin, "import", "--change", `CMD ["echo", "hello"]`, testbed.Programs, "box").CombinedOutput()
	if err != nil {
		t.Fatalf("import: %v, %s", err, out)
	}
	t.Setenv("XDG_CONFIG_HOME", fakeRegistry(t, origin))
	t.Cleanup(func() { testbed.NothingLeft(t) })
	return func(words string) (string, string, error) {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command("minirun", append([]string{"--store", store}, strings.Fields(words)...)...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}, store
}

// TestPull: run fetches an image that is not here, and prints what docker run prints.
func TestPull(t *testing.T) {
	minirun, _ := registryWithBox(t)
	for _, c := range []struct{ words, stdout, stderr string }{
		{"run --rm box", "^hello\n$", `(?s)^Unable to find image 'box:latest' locally\nlatest: Pulling from library/box\n[0-9a-f]{12}: Pulling fs layer\n.*[0-9a-f]{12}: Pull complete\nDigest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for box:latest\n$`},
		{"run --rm box", "^hello\n$", "^$"},
		{"run --rm --pull always box", "^hello\n$", `^latest: Pulling from library/box\n[0-9a-f]{12}: Already exists\nDigest: .*\nStatus: Image is up to date for box:latest\n$`},
		{"run --rm --pull always -q box", "^hello\n$", "^$"},
		{"pull box", `^Using default tag: latest\nlatest: Pulling from library/box\n[0-9a-f]{12}: Already exists\nDigest: .*\nStatus: Image is up to date for box:latest\ndocker.io/library/box:latest\n$`, "^$"},
		{"image pull -q docker.io/library/box:latest", "^docker.io/library/box:latest\n$", "^$"},
		{"rmi box", "^box\n$", "^$"},
		{"images -q", "^$", "^$"},
	} {
		stdout, stderr, err := minirun(c.words)
		if err != nil || !regexp.MustCompile(c.stdout).MatchString(stdout) || !regexp.MustCompile(c.stderr).MatchString(stderr) {
			t.Errorf("%s: %v\n%s\nand on standard error\n%s", c.words, err, stdout, stderr)
		}
	}
}

// TestPullKilled: killed at any moment, a pull leaves a store that works, and the next pull
// succeeds. What is left of it goes with rmi.
func TestPullKilled(t *testing.T) {
	minirun, store := registryWithBox(t)
	start := time.Now()
	if _, stderr, err := minirun("pull -q box"); err != nil {
		t.Fatal(stderr)
	}
	whole := time.Since(start)
	minirun("rmi box")
	killed := 0
	for range 30 {
		cmd := exec.Command("minirun", "--store", store, "pull", "-q", "box") // it becomes minirun-pull
		testbed.Must(t, cmd.Start())
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		if out, stderr, err := minirun("images"); err != nil || stderr != "" {
			t.Fatalf("images: %v, %s%s", err, out, stderr)
		}
		if rand.IntN(2) == 0 {
			minirun("image prune")
		}
		if out, stderr, err := minirun("run --rm --pull always -q box"); err != nil || out != "hello\n" {
			t.Fatalf("the next: %v, %s%s", err, out, stderr)
		}
		minirun("rmi box")
		for _, pattern := range []string{"/pulls/*", "/blobs/sha256/*", "/layers/*", "/tmp/*"} {
			if left, _ := filepath.Glob(store + pattern); left != nil {
				t.Fatalf("after rmi there is left: %q", left)
			}
		}
	}
	if killed < 10 {
		t.Errorf("only %d of 30 were killed before they ended", killed)
	}
}

// TestPullFull: there is no room for all of the image, at some point or other.
func TestPullFull(t *testing.T) {
	minirun, store := registryWithBox(t)
	testbed.Must(t, os.Mkdir(store, 0o700))
	disk := testbed.MountTmpfs(t, store, 0)
	minirun("pull -q box")
	minirun("rmi box") // and all directories are there
	failed := 0
	for pages := 0; pages < 20000; pages = pages*3/2 + 1 {
		disk.Leave(pages, 100)
		_, stderr, err := minirun("pull -q box")
		if err != nil {
			failed++
			if !regexp.MustCompile(`^minirun: pull box:latest: .*no space left on device\nhint: .*minirun image prune.*\n$`).MatchString(stderr) && pages > 3 {
				t.Errorf("with room for %d pages: %s", pages, stderr)
			}
		}
		disk.Leave(100000, 1000)
		if out, stderr, err := minirun("run --rm -q box"); err != nil || out != "hello\n" {
			t.Fatalf("with room again: %v, %s%s", err, out, stderr)
		}
		minirun("rmi box")
	}
	if failed < 10 {
		t.Errorf("only %d had too little room", failed)
	}
}
