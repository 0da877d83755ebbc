package devices

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestWithout: without a cgroup a container gets no device that the rules deny.
func TestWithout(t *testing.T) {
	type rules = []specs.LinuxDeviceCgroup
	deny := rules{{Access: "rwm"}}
	fuse := specs.LinuxDevice{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}
	caps := func(bounding ...string) *specs.LinuxCapabilities { return &specs.LinuxCapabilities{Bounding: bounding} }
	for name, c := range map[string]struct {
		rules   rules
		caps    *specs.LinuxCapabilities
		devices []specs.LinuxDevice
		mounts  []specs.Mount
		userNS  bool
		want    string // an error; "warning", "" for neither
	}{
		"no rules":                     {nil, caps("CAP_MKNOD"), nil, nil, false, ""},
		"all allowed":                  {rules{{Access: "rwm"}, {Allow: true}}, caps("CAP_MKNOD"), []specs.LinuxDevice{fuse}, nil, false, ""},
		"an engine's":                  {deny, caps("CAP_CHOWN"), nil, nil, false, "warning"},
		"no capabilities":              {deny, nil, nil, nil, false, "warning"},
		"makes nodes":                  {deny, caps("CAP_CHOWN", "CAP_MKNOD"), nil, nil, false, "warning: CAP_MKNOD"},
		"only permitted":               {deny, &specs.LinuxCapabilities{Permitted: []string{"CAP_MKNOD"}}, nil, nil, false, "warning: CAP_MKNOD"},
		"mounts":                       {deny, caps("CAP_SYS_ADMIN"), nil, nil, false, "warning: CAP_SYS_ADMIN"},
		"one denied":                   {rules{{Allow: true}, {Type: "c", Major: new(int64(10)), Minor: new(int64(229)), Access: "w"}}, caps("CAP_MKNOD"), nil, nil, false, "warning: CAP_MKNOD"},
		"in a user namespace":          {deny, caps("CAP_MKNOD", "CAP_SYS_ADMIN"), nil, nil, true, "warning"},
		"a device":                     {deny, nil, []specs.LinuxDevice{fuse}, nil, false, `it has linux.devices[0] "/dev/fuse"`},
		"a device, partly":             {append(deny, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: new(int64(10)), Access: "r"}), nil, []specs.LinuxDevice{fuse}, nil, false, `it has linux.devices[0] "/dev/fuse"`},
		"a device that is allowed":     {append(deny, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: new(int64(10)), Access: "rw"}), nil, []specs.LinuxDevice{fuse}, nil, false, "warning"},
		"one that everybody has":       {deny, nil, []specs.LinuxDevice{{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5}}, nil, false, "warning"},
		"a fifo":                       {deny, nil, []specs.LinuxDevice{{Path: "/dev/f", Type: "p"}}, nil, false, "warning"},
		"a mounted node":               {deny, nil, nil, []specs.Mount{{Destination: "/d", Source: "/dev/console", Options: []string{"bind"}}}, false, `it has mounts[0] "/d"`},
		"in a user namespace, too":     {deny, nil, nil, []specs.Mount{{Destination: "/d", Source: "/dev/console", Options: []string{"bind"}}}, true, `it has mounts[0] "/d"`},
		"a mounted node, nodev":        {deny, nil, nil, []specs.Mount{{Destination: "/d", Source: "/dev/console", Options: []string{"bind", "nodev"}}}, false, "warning"},
		"a mounted node of the bundle": {deny, nil, nil, []specs.Mount{{Destination: "/d", Source: "/dev/null"}, {Destination: "/e", Source: "console"}}, false, `it has mounts[1] "/e"`},
		"a mounted null":               {deny, nil, nil, []specs.Mount{{Destination: "/d", Source: "/dev/null", Options: []string{"bind"}}}, false, "warning"},
		"a mounted file, a new tree":   {deny, nil, nil, []specs.Mount{{Destination: "/d", Source: "/etc/hostname"}, {Destination: "/e", Type: "tmpfs", Source: "tmpfs"}}, false, "warning"},
	} {
		if len(c.mounts) > 0 && unix.Access(c.mounts[0].Source, unix.F_OK) != nil {
			t.Logf("%s: needs %s", name, c.mounts[0].Source)
			continue
		}
		spec := &specs.Spec{Process: &specs.Process{Capabilities: c.caps}, Mounts: c.mounts,
			Linux: &specs.Linux{Resources: &specs.LinuxResources{Devices: c.rules}, Devices: c.devices}}
		f, err := New(&specs.LinuxResources{Devices: c.rules})
		if err != nil {
			t.Fatal(err)
		}
		warnings, err := f.Without(spec, "/dev", c.userNS)
		warning := strings.Join(warnings, " ")
		capability, wantsCapability := strings.CutPrefix(c.want, "warning: ")
		switch {
		case wantsCapability:
			if err != nil || !strings.HasSuffix(warning, "any other with "+capability) {
				t.Errorf("%s: Without() = %q, %v, want a warning that names %s", name, warning, err, capability)
			}
		case c.want == "warning" && (err != nil || warning == ""), c.want == "" && (err != nil || warning != ""),
			c.want != "warning" && c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), c.want)):
			t.Errorf("%s: Without() = %q, %v, want %q", name, warning, err, c.want)
		}
	}
}
