package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"minirun/cmd/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m, "minirunc", main) }

func TestScripts(t *testing.T) { testbed.Scripts(t, "testdata/script") }

func TestNativeScripts(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	testbed.Scripts(t, "testdata/native")
}

// TestLinks: what an engine calls a thousand times a minute has none of what only
// people need.
func TestLinks(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil && (os.Geteuid() != 0 || errors.Is(err, exec.ErrNotFound)) {
		t.Skipf("go list: %v: needs the Go command, and a cache that this user can read", err)
	} else if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, path := range strings.Fields(string(out)) {
		for _, heavy := range []string{"urfave", "yaml", "net/http", "minirun/rootfs/image", "minirun/container/bundle", "go-containerregistry", "klauspost", "nftables", "archive/tar", "text/template", "regexp"} {
			if strings.Contains(path, heavy) && path != "minirun/rootfs/image/private" { // which both programs need
				t.Errorf("minirunc links %s", path)
			}
		}
	}
}
