package overlay

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func newRoot(spec *specs.Spec) (*rootfs.Root, error) {
	r, err := rootfs.New(spec, plan.Facts{}, rootfstest.Has(specs.MountNamespace, specs.PIDNamespace), rootfstest.Bundle, rootfstest.IsDir)
	if err != nil {
		return nil, err
	}
	return r, New(spec, r)
}

// stacked is a root directory of n layers, whose names have so many bytes.
func stacked(n, bytes int) specs.Mount {
	var lower []string
	for i := range n {
		name := fmt.Sprint("/layers/", i, "/")
		lower = append(lower, name+strings.Repeat("x", bytes-len(name)))
	}
	return specs.Mount{Destination: "/", Type: "overlay", Source: "overlay", Options: []string{
		"lowerdir=" + strings.Join(lower, ":"), "upperdir=/c/upper", "workdir=/c/work"}}
}

func TestGolden(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, spec := range map[string]*specs.Spec{
		"overlay": rootfstest.Spec(
			specs.Mount{Destination: "/", Type: "overlay", Source: "overlay", Options: []string{
				"lowerdir=/var/lib/x/layers/" + long + ":/var/lib/x/layers/b", "upperdir=/var/lib/x/c/upper", "workdir=/var/lib/x/c/work"}},
			specs.Mount{Destination: "/proc", Type: "proc"}),
		"pieces":  rootfstest.Spec(stacked(20, 250)),
		"another": rootfstest.Spec(specs.Mount{Destination: "/data", Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a/" + long[:150] + ":/b/" + long[:150]}}),
		"own": rootfstest.Spec(stacked(1, 20),
			specs.Mount{Destination: "/data", Type: "bind", Source: rootfstest.Bundle + "/rootfs/data", Options: []string{"bind", "nodev"}},
			specs.Mount{Destination: "/other", Type: "bind", Source: rootfstest.Bundle + "/rootfs/data", Options: []string{"bind"}}),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := newRoot(spec)
			if err != nil {
				t.Fatal(err)
			}
			rootfstest.Golden(t, name, rootfstest.Inside(r, r.Open, r.PivotRoot))
		})
	}
}

func TestRefused(t *testing.T) {
	_, err := newRoot(rootfstest.Spec(specs.Mount{Destination: "/", Type: "overlay", Options: []string{"lowerdir=/a:b"}}))
	if err == nil || err.Error() != `mounts[0] "/": option "lowerdir=/a:b": not absolute paths` {
		t.Errorf("New() = %v, want a refusal of relative paths", err)
	}
}

// TestPieces: what cannot be taken apart stays as it is.
func TestPieces(t *testing.T) {
	long := strings.Repeat("x", 200)
	for from, want := range map[string]string{
		"lowerdir=/a:/b":                        "lowerdir=/a:/b",
		"lowerdir=/" + long + ":/" + long:       "lowerdir+=/" + long + " lowerdir+=/" + long,
		"lowerdir=/" + long + `:/\:` + long:     "lowerdir=/" + long + `:/\:` + long,
		"lowerdir=/" + long + ":/a::/b/" + long: "lowerdir=/" + long + ":/a::/b/" + long,
		"upperdir=" + long + long:               "upperdir=" + long + long,
	} {
		if got := strings.Join(pieces([]string{from}), " "); got != want {
			t.Errorf("pieces(%s) = %s, want %s", from, got, want)
		}
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
