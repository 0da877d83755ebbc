// Package example has the config.json that the command spec writes, and the lists of
// paths that it shares with the bundles made from images.
package example

import (
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// MaskedPaths are files that tell about, or reach, the host's hardware and
// kernel. The list is Docker's.
var MaskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
}

// Throttling are the directories below a sysfs that count how often each processor was
// slowed down for its heat, which tells one container what others do. Docker masks
// them, too. Which processors there are differs between machines: so they are for a
// container of this one, not for a config.json that goes elsewhere.
func Throttling(sysfs string) []string {
	found, _ := filepath.Glob(sysfs + "/devices/system/cpu/cpu[0-9]*/thermal_throttle") // the pattern is a good one
	for i, path := range found {
		found[i] = "/sys" + strings.TrimPrefix(path, sysfs)
	}
	return found
}

// ReadonlyPaths are files that change the host's kernel. The list is Docker's.
var ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// Spec is the spec of a shell in a directory called rootfs. A user changes it to
// what is wanted.
func Spec(rootless bool) *specs.Spec {
	caps := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	spec := &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Hostname: "minirun",
		Process: &specs.Process{
			Terminal: true, Args: []string{"sh"}, Cwd: "/", NoNewPrivileges: true,
			Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		},
		Linux: &specs.Linux{
			Namespaces:    namespaces("pid", "network", "ipc", "uts", "mount", "cgroup"),
			MaskedPaths:   MaskedPaths,
			ReadonlyPaths: ReadonlyPaths,
		},
	}
	if rootless {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, namespaces("user")...)
		spec.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}}
		spec.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}}
		spec.Mounts[2].Options = spec.Mounts[2].Options[:5] // group 5 is not mapped
	}
	return spec
}

func namespaces(kinds ...string) []specs.LinuxNamespace {
	var list []specs.LinuxNamespace
	for _, k := range kinds {
		list = append(list, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(k)})
	}
	return list
}
