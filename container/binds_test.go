package container

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestBindPropagation: a bind mount, however it is made, hears at most of what is
// mounted on the host. Nothing that the container mounts there goes the other way.
func TestBindPropagation(t *testing.T) {
	needRoot(t)
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	for name, change := range map[string]func(*box, *specs.Mount){
		"plain":  func(*box, *specs.Mount) {},
		"mapped": func(_ *box, m *specs.Mount) { m.UIDMappings, m.GIDMappings = ids, ids },
		"in a user namespace": func(b *box, _ *specs.Mount) {
			b.with(specs.UserNamespace, "")
			b.Linux.UIDMappings, b.Linux.GIDMappings = ids, ids
			must(b.t, os.Chown(b.rootfs(""), 100000, 100000))
		},
	} {
		for propagation, want := range map[string]string{"": "master:", "rprivate": ""} {
			b := newBox(t, "mounted /shown")
			must(t, os.Mkdir(b.bundle+"/data", 0o755))
			m := specs.Mount{Destination: "/shown", Source: b.bundle + "/data", Options: []string{"rbind"}}
			change(b, &m)
			b.Mounts = append(b.Mounts, m)
			b.Linux.RootfsPropagation = propagation
			b.save()
			r := b.request("run")
			r.Shared = true
			cmd := r.command(t)
			cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			out, err := outcome(t, cmd)
			if err != nil || strings.Contains(out, "shared:") || !strings.Contains(out, want) || want == "" && strings.Contains(out, "master:") {
				t.Errorf("%s, with propagation %q: %v, the mount is %q; want %q", name, propagation, err, out, want)
			}
			b.remove()
		}
	}
}

// TestHiddenBind: in a user namespace root is nobody on the host, and has no way
// to a directory of the host's root. The runtime has.
func TestHiddenBind(t *testing.T) {
	needRoot(t)
	b := newBox(t, "cat /shown/file", "ls /shown")
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	b.with(specs.UserNamespace, "")
	b.Linux.UIDMappings, b.Linux.GIDMappings = ids, ids
	must(t, os.Chown(b.rootfs(""), 100000, 100000))
	must(t, os.MkdirAll(b.bundle+"/hidden/data", 0o755))
	must(t, os.WriteFile(b.bundle+"/hidden/data/file", []byte("seen"), 0o644))
	must(t, os.Chmod(b.bundle+"/hidden", 0o700))
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/shown", Source: b.bundle + "/hidden/data", Options: []string{"bind", "ro"}})
	b.prints("seen\nfile")
}
