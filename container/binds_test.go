package container

import (
	"os"
	"slices"
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

// TestVolumePropagation: what the container mounts in a volume appears on the host if
// linux.rootfsPropagation leaves volumes as peers of the host's mounts, and the volume's
// own options do not say otherwise. No other mount of the container's ever does, although
// its root directory lies on a shared mount; and its end takes no mount from the host.
func TestVolumePropagation(t *testing.T) {
	needRoot(t)
	for propagation, keeps := range map[string]bool{"": false, "rslave": false, "rprivate": false, "shared": true, "rshared": true, "slave": true, "private": true} {
		for option, back := range map[string]bool{"": true, "shared": true, "rshared": true, "slave": false, "rslave": false, "private": false, "rprivate": false} {
			for _, userNS := range []bool{false, true} {
				b := newBox(t, "tmpfs /shown/in", "tmpfs /own", "print done")
				b.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_SYS_ADMIN"}, Permitted: []string{"CAP_SYS_ADMIN"}, Effective: []string{"CAP_SYS_ADMIN"}}
				must(t, os.MkdirAll(b.bundle+"/data/in", 0o755))
				must(t, os.Mkdir(b.rootfs("own"), 0o755))
				b.Mounts = append(b.Mounts, specs.Mount{Destination: "/shown", Source: b.bundle + "/data", Options: slices.DeleteFunc([]string{"rbind", option}, func(o string) bool { return o == "" })})
				b.Linux.RootfsPropagation = propagation
				b.Linux.MaskedPaths, b.Linux.ReadonlyPaths = []string{"/tmp"}, []string{"/bin"}
				if userNS {
					ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
					b.with(specs.UserNamespace, "")
					b.Linux.UIDMappings, b.Linux.GIDMappings = ids, ids
					must(t, os.Chown(b.rootfs(""), 100000, 100000))
				}
				b.save()
				r := b.request("run")
				r.Shared = true
				cmd := r.command(t)
				cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
				out, err := outcome(t, cmd)
				var points []string
				for line := range strings.Lines(strings.TrimPrefix(out, "done")) {
					if words := strings.Fields(line); len(words) > 6 {
						points = append(points, words[0]+words[6])
					}
				}
				want := ""
				if keeps && back && !userNS {
					want = "+" + b.bundle + "/data/in"
				}
				if got := strings.Join(points, " "); err != nil || !strings.HasPrefix(out, "done") || got != want {
					t.Errorf("rootfsPropagation %q, volume %q, user namespace %t: %v, %q; the host's mounts change by %q, want %q", propagation, option, userNS, err, out, got, want)
				}
				b.remove()
			}
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
