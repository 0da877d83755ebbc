package devices

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func read(t *testing.T, d specs.LinuxDevice) (rootfs.Device, error) {
	t.Helper()
	r, err := rootfs.New(rootfstest.Spec(), plan.Facts{}, rootfstest.Has(), rootfstest.Bundle, rootfstest.IsDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := New([]specs.LinuxDevice{d}, r); err != nil {
		return rootfs.Device{}, err
	}
	return r.Extra[0], nil
}

// TestNew: what a spec says is what is made.
func TestNew(t *testing.T) {
	mode, one, two := os.FileMode(0o640)|os.ModeDevice, uint32(1), uint32(2)
	for _, c := range []struct {
		spec specs.LinuxDevice
		want rootfs.Device
	}{
		{specs.LinuxDevice{Path: "/dev//x", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &one, GID: &two},
			rootfs.Device{Path: "/dev/x", Kind: unix.S_IFCHR, Major: 1, Minor: 3, Mode: 0o640, UID: 1, GID: 2}},
		{specs.LinuxDevice{Path: "/dev/old", Type: "u", Major: 1, Minor: 5}, rootfs.Device{Path: "/dev/old", Kind: unix.S_IFCHR, Major: 1, Minor: 5, Mode: 0o666}},
		{specs.LinuxDevice{Path: "/dev/disk", Type: "b", Major: 8}, rootfs.Device{Path: "/dev/disk", Kind: unix.S_IFBLK, Major: 8, Mode: 0o666}},
		{specs.LinuxDevice{Path: "/run/pipe", Type: "p"}, rootfs.Device{Path: "/run/pipe", Kind: unix.S_IFIFO, Mode: 0o666}},
	} {
		if got, err := read(t, c.spec); err != nil || got != c.want {
			t.Errorf("New(%+v) = %+v, %v; want %+v", c.spec, got, err, c.want)
		}
	}
}

// TestRefused: what cannot be made is refused, and the error names the property.
func TestRefused(t *testing.T) {
	for want, d := range map[string]specs.LinuxDevice{
		`linux.devices[0].type "x": want c, b, u or p`:                     {Path: "/dev/x", Type: "x"},
		`linux.devices[0].path: file name too long`:                        {Path: "/" + strings.Repeat("x", 4095), Type: "c"},
		`linux.devices[0].path: more than 256 directories, one in another`: {Path: strings.Repeat("/d", 257), Type: "c"},
		`linux.devices[0].path "dev/x": not an absolute path`:              {Path: "dev/x", Type: "c"},
	} {
		if _, err := read(t, d); err == nil || err.Error() != want {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
}
