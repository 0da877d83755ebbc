package bundle

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"minirun/container/example"
	"minirun/namespaces/network"
	"minirun/process/seccomp"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// spec is the config.json of a request: the defaults, and what was asked for.
func (r *Request) spec(b *Bundle, img *image.Image) (*specs.Spec, error) {
	caps, err := addDrop(defaultCapabilities, r.CapAdd, r.CapDrop)
	if err != nil {
		return nil, err
	}
	r.Hostname = firstOf(r.Hostname, b.ID[:12])
	if err := errors.Join(checkHostname(r.Hostname), r.checkEtc(), r.checkNetwork()); err != nil {
		return nil, err
	}
	spec := &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: "rootfs", Readonly: r.ReadOnly},
		Hostname: r.Hostname,
		Process: &specs.Process{
			Terminal:        r.Terminal,
			ConsoleSize:     r.ConsoleSize,
			NoNewPrivileges: true, // a setuid program in an image gains nothing
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Linux: &specs.Linux{
			CgroupsPath:   cgroupsPath(b.ID),
			Namespaces:    namespaces("pid", "ipc", "uts", "mount", "cgroup"),
			MaskedPaths:   slices.Concat(example.MaskedPaths, example.Throttling("/sys")),
			ReadonlyPaths: slices.Clone(example.ReadonlyPaths),
			Seccomp:       seccomp.Default(caps),
		},
	}
	if r.Systemd {
		spec.Linux.CgroupsPath = ""
	}
	if spec.Linux.Resources, err = r.resources(); err != nil {
		return nil, err
	}
	if err := r.mounts(spec, b, img); err != nil {
		return nil, err
	}
	return spec, r.takeAway(spec)
}

// checkHostname refuses what would be another word, or line, of the files that are
// written for the container: /etc/hosts and /etc/hostname (hosts(5), hostname(5)).
func checkHostname(name string) error {
	if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
		return fmt.Errorf("host name %q: want letters, digits, or _.-", name)
	}
	return nil
}

// checkNetwork looks at what is asked of the network. "" is none. Without the layer net the
// container has the host's.
func (r *Request) checkNetwork() error {
	if slices.Contains(r.Without, "net") {
		r.Network = "host"
	}
	r.Network = firstOf(r.Network, "none")
	id, joins := strings.CutPrefix(r.Network, "container:")
	switch {
	case !slices.Contains([]string{"none", "host", "bridge"}, r.Network) && (!joins || id == ""):
		return fmt.Errorf("network %q: want bridge, none, host or container:NAME", r.Network)
	case r.Network != "bridge" && len(r.Publish) > 0:
		return fmt.Errorf("network %s: publishes no port: a port leads to a container on the bridge", r.Network)
	case r.Network != "bridge" && r.Rate != network.Rate{}:
		return fmt.Errorf("network %s: has no rate: only the link of a container on the bridge has one", r.Network)
	}
	return nil
}

// namespaces are new ones of these kinds.
func namespaces(kinds ...string) []specs.LinuxNamespace {
	var list []specs.LinuxNamespace
	for _, k := range kinds {
		list = append(list, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(k)})
	}
	return list
}

// cgroupsPath is the container's group: below the root of the hierarchy, or
// beside our own group for an ordinary user.
func cgroupsPath(id string) string {
	if os.Geteuid() == 0 {
		return "/minirun-" + id
	}
	return "minirun-" + id
}

// mounts adds the mounts, the network and, for an ordinary user, the user
// namespace, all of which depend on each other.
func (r *Request) mounts(spec *specs.Spec, b *Bundle, img *image.Image) error {
	rootless := os.Geteuid() != 0
	overlay := specs.Mount{Destination: "/", Type: "overlay", Source: "overlay", Options: []string{
		"lowerdir=" + strings.Join(b.lowerDirs(img.Layers()), ":"),
		"upperdir=" + filepath.Join(b.Dir, "upper"),
		"workdir=" + filepath.Join(b.Dir, "work"),
	}}
	devpts := specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}}
	sys := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
	switch r.Network {
	case "host":
		if rootless { // sysfs shows a network namespace: only its owner may mount it
			sys = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "rro"}}
		}
	default:
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: r.NetworkPath})
	}
	if rootless {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, namespaces("user")...)
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = idMappings()
		overlay.Options = append(overlay.Options, "userxattr")
		devpts.Options = devpts.Options[:5] // without gid=5: that group need not be mapped, and the mount would fail (EINVAL)
	}
	volumes, err := b.imageVolumes(img)
	if err != nil {
		return err
	}
	spec.Mounts = slices.Concat([]specs.Mount{overlay}, volumes, []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		devpts, sys}, laterMounts, b.etcMounts())
	for _, v := range r.Volumes {
		m, err := volume(v)
		if err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	for _, t := range r.Tmpfs {
		m, err := tmpfs(t)
		if err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	return nil
}

// laterMounts are the mounts after /proc, /dev, /dev/pts and /sys, on some of which they lie.
var laterMounts = []specs.Mount{
	{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
	{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
}

// ownMappings maps root in the container to the calling user, and nobody else:
// what every user may do without help.
func ownMappings() (uids, gids []specs.LinuxIDMapping) {
	return []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}}, []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}}
}

// resources are the limits; nil if there are none. What would make the container useless is
// refused: with less than 256 KiB of memory not even the start would succeed.
func (r *Request) resources() (*specs.LinuxResources, error) {
	limits := &specs.LinuxResources{}
	if r.Memory < 0 || r.Memory > 0 && r.Memory < 1<<18 {
		return nil, fmt.Errorf("memory limit %d: want at least 256k", r.Memory)
	}
	if r.CPUs < 0 || r.CPUs > 0 && r.CPUs < 0.01 || math.IsNaN(r.CPUs) || r.CPUs > 1e6 {
		return nil, fmt.Errorf("cpus %v: want 0.01 or more", r.CPUs)
	}
	if r.Pids < -1 {
		return nil, fmt.Errorf("pids limit %d: want 1 or more, or -1 for none", r.Pids)
	}
	if r.Memory > 0 {
		limits.Memory = &specs.LinuxMemory{Limit: &r.Memory}
	}
	if r.CPUs > 0 {
		period, quota := uint64(100_000), int64(r.CPUs*100_000)
		limits.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
	}
	if r.Pids > 0 {
		limits.Pids = &specs.LinuxPids{Limit: &r.Pids}
	}
	if limits.Memory == nil && limits.CPU == nil && limits.Pids == nil {
		return nil, nil
	}
	return limits, nil
}
