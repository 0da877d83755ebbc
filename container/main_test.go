package container

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"minirun/cgroups"
	"minirun/examples/leftovers"
)

// The test binary plays two parts more:
//
//	/bin/program …  the program in the containers (program_test.go)
//	runtime JSON    a runtime in a process of its own, to be traced, killed, or
//	                started by an ordinary user (runtime_test.go)
func TestMain(m *testing.M) {
	part := ""
	if len(os.Args) == 3 {
		part = os.Args[1]
	}
	switch {
	case os.Args[0] == "/bin/program":
		os.Exit(program(os.Args[1:]))
	case part == "runtime":
		os.Exit(runtimeProcess(os.Args[2]))
	}
	status := leftovers.Guard(func() int {
		makeGroup()
		path, _ := static() // what fails, fails the tests that ask for it
		leftovers.Programs = []string{path}
		defer os.Remove(filepath.Join(leftovers.GroupRoot(), leftovers.Group())) // EBUSY: it will be seen
		return m.Run()
	})
	os.RemoveAll(temporary)
	os.Exit(status)
}

// makeGroup makes the group below which all tests make theirs, with all controllers
// handed down: so that the plans of several runs of one container are the same.
func makeGroup() {
	h, err := cgroups.Find()
	if err != nil || os.Geteuid() != 0 {
		return
	}
	dir := filepath.Join(h.Mount, leftovers.Group())
	os.Mkdir(dir, 0o755)
	controllers, _ := os.ReadFile(filepath.Join(h.Mount, "cgroup.controllers"))
	for _, c := range strings.Fields(string(controllers)) {
		for _, d := range []string{h.Mount, dir} {
			os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+c), 0) // EBUSY: what the runtime cannot either
		}
	}
}

// fingerprint is what tests may not change, and the files below a directory, if
// one is given.
func fingerprint(dir string) string {
	lines := []string{leftovers.List()}
	if dir != "" {
		filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			lines = append(lines, "file "+path)
			return nil // ENOENT: it has just gone
		})
	}
	return strings.Join(lines, "\n")
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make containers without a user namespace")
	}
}

// static is the path of a test binary that runs in an empty root directory, in
// a directory of its own where bundles can link to it: a copy of this one or, if
// this one needs a C library, another one that does not. It is made before any
// test runs: a process cloned while a program is being written keeps it open for
// writing until its execve, and until then nobody can execute it (ETXTBSY).
var static = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := elf.Open(self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if temporary, err = os.MkdirTemp("", "minirun-test-"); err != nil {
		return "", err
	}
	path := filepath.Join(temporary, "container.test")
	if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		err = copyFile(self, path)
	} else {
		cmd := exec.Command("go", "test", "-c", "-o", path, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, failed := cmd.CombinedOutput(); failed != nil {
			err = fmt.Errorf("go test -c: %w: %s", failed, out)
		}
	}
	return path, errors.Join(err, os.Chmod(temporary, 0o755)) // also for ordinary users
})

// temporary is the directory of the static test binary.
var temporary string

func staticBinary(t testing.TB) string {
	t.Helper()
	path, err := static()
	must(t, err)
	return path
}
