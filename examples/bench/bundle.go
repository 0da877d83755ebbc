package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed c/*.c
var sources embed.FS

// compile builds a C program of ours, static: a container has no libraries.
func compile(dir, name, output string) error {
	code, err := sources.ReadFile("c/" + name + ".c")
	if err != nil {
		return err
	}
	source := filepath.Join(dir, name+".c")
	if err := os.WriteFile(source, code, 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("gcc", "-O2", "-static", "-o", output, source).CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s.c: %w\n%s", name, err, out)
	}
	return nil
}

// makeRoot makes the containers' root directory: two programs, and the mount
// points, so that no runtime is the one that has to make them.
func makeRoot(dir string) error {
	for _, d := range []string{"bin", "dev", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(dir, "rootfs", d), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"true", "pause"} {
		if err := compile(dir, name, filepath.Join(dir, "rootfs/bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// A container is what bundles differ in.
type container struct {
	id      string
	program string
	memory  int // bytes; 0 is no limit
	pids    int // 0 is no limit
}

// writeBundle makes the bundle of a container and returns its directory.
func (b *bench) writeBundle(c container) (string, error) {
	dir := filepath.Join(b.dir, "bundles", c.id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	config, err := json.MarshalIndent(b.config(c), "", "\t")
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644)
}

type object = map[string]any

// config is what `runc spec` prints on a machine with cgroup v2, without a
// terminal, with the program and a cgroup.
func (b *bench) config(c container) object {
	return object{
		"ociVersion": "1.0.2",
		"process":    process(c.program),
		"root":       object{"path": filepath.Join(b.dir, "rootfs"), "readonly": true},
		"hostname":   "bench",
		"mounts":     mounts,
		"linux": object{
			"cgroupsPath":   "/" + c.id,
			"resources":     resources(c),
			"namespaces":    namespaces,
			"maskedPaths":   maskedPaths,
			"readonlyPaths": readonlyPaths,
		},
	}
}

func process(program string) object {
	capabilities := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	return object{
		"user":            object{"uid": 0, "gid": 0},
		"args":            []string{program},
		"env":             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
		"cwd":             "/",
		"capabilities":    object{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
		"rlimits":         []object{{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}},
		"noNewPrivileges": true,
	}
}

// resources denies all devices but those that every container has, as runc spec
// does, and sets the limits that are not 0.
func resources(c container) object {
	r := object{"devices": []object{{"allow": false, "access": "rwm"}}}
	if c.memory > 0 {
		r["memory"] = object{"limit": c.memory}
	}
	if c.pids > 0 {
		r["pids"] = object{"limit": c.pids}
	}
	return r
}

func mount(destination, kind, source string, options ...string) object {
	m := object{"destination": destination, "type": kind, "source": source}
	if len(options) > 0 {
		m["options"] = options
	}
	return m
}

var mounts = []object{
	mount("/proc", "proc", "proc"),
	mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
	mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
	mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
	mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
	mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
	mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
}

var namespaces = []object{
	{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"},
}

var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
