package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Configurations that nobody would write who means well.

// GHSA-g54h-m393-cpwq (2020). What is not allowed is forbidden, also where the
// list says nothing of it.
func deviceList(t *testing.T) {
	null := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: number(1), Minor: number(3), Access: "rwm"}
	for about, rules := range map[string][]specs.LinuxDeviceCgroup{
		"no rules":            nil,
		"an empty list":       {},
		"allows one":          {null},
		"denies all, and one": {{Allow: false, Access: "rwm"}, null},
	} {
		for _, device := range [][]string{{"c", "1", "1"}, {"c", "1", "11"}, {"c", "5", "1"}, {"b", "254", "0"}, {"b", "8", "0"}, {"c", "10", "229"}} {
			b := newBox(t, append([]string{"device"}, device...)...)
			b.Linux.Resources = &specs.LinuxResources{Devices: rules}
			b.Process.Capabilities = inEverySet("CAP_MKNOD", "CAP_DAC_OVERRIDE")
			b.Process.NoNewPrivileges = false
			if r := b.run(); r.out != "error: open: operation not permitted" && r.out != "error: mknod: operation not permitted" {
				t.Errorf("%s: opening %v: %v", about, device, r)
			}
		}
	}
}

func number(n int64) *int64 { return &n }

// CVE-2021-43784. Nothing is cut to fit, and nothing wraps around.
func longStrings(t *testing.T) {
	for _, size := range []int{70 << 10, 1<<16 + 1, 200 << 10} {
		long := "/" + strings.Repeat("x", size)
		parts := strings.Repeat("/y", size/2)
		for property, change := range map[string]func(b *box){
			"args":        func(b *box) { b.Process.Args = []string{long} },
			"cwd":         func(b *box) { b.Process.Cwd = parts },
			"destination": func(b *box) { b.Mounts = append(b.Mounts, specs.Mount{Destination: long, Type: "tmpfs"}) },
			"source": func(b *box) {
				b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: long})
			},
			"option": func(b *box) {
				b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Options: []string{"mode=" + long}})
			},
			"masked":   func(b *box) { b.Linux.MaskedPaths = []string{long} },
			"readonly": func(b *box) { b.Linux.ReadonlyPaths = []string{long} },
			"hostname": func(b *box) { b.Hostname = long },
			"root":     func(b *box) { b.Root.Path = long },
			"device":   func(b *box) { b.Linux.Devices = []specs.LinuxDevice{{Path: long, Type: "p"}} },
			"group":    func(b *box) { b.Linux.CgroupsPath = long },
			"path":     func(b *box) { b.Linux.Namespaces[0].Path = long },
		} {
			b := newBox(t, "say", "hello")
			change(b)
			r := b.run()
			if r.code == 0 || r.out != "" {
				t.Errorf("%s of %d bytes: exit code %d, %.100q", property, size, r.code, r.out)
			}
			oneLine(t, r.err)
			if strings.Contains(r.err, "panic") || strings.Contains(r.err, "goroutine") {
				t.Errorf("%s of %d bytes: %.1000s", property, size, r.err)
			}
		}
	}
	// One that is allowed arrives whole.
	b := newBox(t, "say", strings.Repeat("x", 100<<10))
	b.prints(strings.Repeat("x", 100<<10))
}

// CVE-2021-43784. C would take what comes before the NUL.
func nulStrings(t *testing.T) {
	const mark = "NUL"
	for property, change := range map[string]func(b *box){
		"args":    func(b *box) { b.Process.Args = append(b.Process.Args, "a"+mark+"b") },
		"program": func(b *box) { b.Process.Args[0] = "/probe" + mark + "x" },
		"env":     func(b *box) { b.Process.Env = append(b.Process.Env, "A="+mark+"b") },
		"cwd":     func(b *box) { b.Process.Cwd = "/tmp" + mark + "/x" },
		"destination": func(b *box) {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp" + mark + "x", Type: "tmpfs"})
		},
		"source": func(b *box) {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: canary + mark + "x"})
		},
		"type": func(b *box) {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs" + mark + "x"})
		},
		"option": func(b *box) {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Options: []string{"mode=755" + mark + "x"}})
		},
		"masked":   func(b *box) { b.Linux.MaskedPaths = []string{"/proc/keys" + mark + "x"} },
		"readonly": func(b *box) { b.Linux.ReadonlyPaths = []string{"/proc/sys" + mark + "x"} },
		"hostname": func(b *box) { b.Hostname = "a" + mark + "b" },
		"root":     func(b *box) { b.Root.Path = "rootfs" + mark + "x" },
		"device":   func(b *box) { b.Linux.Devices = []specs.LinuxDevice{{Path: "/tmp/x" + mark + "y", Type: "p"}} },
		"group":    func(b *box) { b.Linux.CgroupsPath = "/a" + mark + "b" },
		"path":     func(b *box) { b.Linux.Namespaces[0].Path = "/proc/self/ns/pid" + mark + "x" },
		"sysctl":   func(b *box) { b.Linux.Sysctl = map[string]string{"kernel.msgmax" + mark + "x": "1"} },
	} {
		b := newBox(t, "say", "hello")
		change(b)
		b.save(mark, `\u0000`)
		r := minirunc(t, "run", "--bundle", b.dir, b.id)
		if r.code == 0 || r.out != "" {
			t.Errorf("a NUL in %s: %v", property, r)
		}
		oneLine(t, r.err)
	}
}

// CVE-2022-0811. Every parameter outside the list would be the host's.
func hostParameters(t *testing.T) {
	for _, name := range []string{
		"kernel.core_pattern", "kernel/core_pattern", "kernel.modprobe", "kernel.shm_rmid_forced+kernel.core_pattern", "kernel.shm_rmid_forced/../core_pattern",
		"net/../kernel/core_pattern", "net.ipv4.ip_forward/../../../kernel/core_pattern", "net/./ipv4", "net//ipv4", "/kernel/core_pattern", "../sysrq-trigger",
		"vm.overcommit_memory", "fs.suid_dumpable", "kernel.hostname", "kernel.msgmax ", "kernel..core_pattern", "", "net/", "user/",
	} {
		b := newBox(t, "say", "hello")
		b.Linux.Sysctl = map[string]string{name: "|/owned"}
		b.refused("sysctl")
	}
	// The right name, but the host's namespace: for want of another, or by its path.
	b := newBox(t, "say", "hello")
	b.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	i := slices.IndexFunc(b.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	for _, path := range []string{"/proc/self/ns/net", "/proc/thread-self/ns/net", "/proc/self/task/../ns/net"} {
		b.Linux.Namespaces[i].Path = path
		b.refused("net.ipv4.ip_forward")
	}
	b.Linux.Namespaces = slices.Delete(b.Linux.Namespaces, i, i+1)
	b.refused("net.ipv4.ip_forward")
}

// CVE-2024-3154. minirunc takes no property from an annotation unless systemd
// makes the cgroup, and then only harmless ones (package cgroups, unit.go).
func annotations(t *testing.T) {
	b := newBox(t, "say", "hello")
	b.Annotations = map[string]string{
		"org.systemd.property.ExecStartPre": `"/bin/touch /srv/canary/new"`, "org.systemd.property.Delegate": "true",
		"run.oci.handler": "krun", "run.oci.hooks.stderr": canary + "/new", "org.criu.config": canary + "/plain", "module.wasm.image/variant": "compat",
		"org.minirun.remove": "true", "org.minirun.layers": "../../../srv", "org.minirun.name": "../../canary/plain",
	}
	b.prints("hello")
	b.save()
	if r := minirunc(t, "--systemd-cgroup", "run", "--bundle", b.dir, b.id); r.code == 0 {
		t.Errorf("with --systemd-cgroup: %v", r)
	}
}

// CVE-2025-23266. Hooks run on the host: what they load is not the container's
// to say.
func hookEnvironment(t *testing.T) {
	b := newBox(t, "say", "hello")
	out := filepath.Join(b.dir, "environment")
	b.Process.Env = append(b.Process.Env, "LD_PRELOAD=/owned.so", "PATH=/owned", "BASH_ENV=/owned")
	hook := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "/usr/bin/env >>" + out}, Env: []string{"OWN=1"}}}
	b.Hooks = &specs.Hooks{Prestart: hook, CreateRuntime: hook, CreateContainer: hook, Poststart: hook, Poststop: hook}
	b.save()
	cmd := command(runner, "run", "--bundle", b.dir, b.id)
	cmd.Env = append(os.Environ(), "LD_PRELOAD_OF_CALLER=/owned.so")
	if r := finish(t, cmd); r.out != "hello" {
		t.Fatalf("run = %v", r)
	}
	text, err := os.ReadFile(out)
	must(t, err)
	if strings.Contains(string(text), "owned") || strings.Count(string(text), "OWN=1") != 5 {
		t.Errorf("the hooks' environments:\n%s\nwant OWN=1 in each of five, and nothing of others", text)
	}
}

// CVE-2026-119101, CVE-2026-115520. There is nothing to restore.
func noRestore(t *testing.T) {
	for _, name := range []string{"checkpoint", "restore"} {
		if r := minirunc(t, name, "--image-path", canary, "id"); r.code == 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// Ids and names become parts of paths.
func idPaths(t *testing.T) {
	b := newBox(t, "say", "hello")
	b.save()
	for _, id := range []string{"..", ".", "../../srv/canary/new", "/srv/canary/new", "a/b", "a\nb", "\x1b[2J", strings.Repeat("x", 4096), ""} {
		for _, args := range [][]string{
			{"run", "--bundle", b.dir, "--", id}, {"create", "--bundle", b.dir, "--", id}, {"delete", "--force", "--", id + "x/../.."}, {"state", "--", id},
			{"kill", "--", id, "KILL"}, {"exec", "--", id, "/probe"}, {"inspect", "--", id}, {"run", "--name", id + "/", "image"},
		} {
			program := runner
			if args[0] == "inspect" || args[1] == "--name" {
				program = people
			}
			r := finish(t, command(program, args...))
			if r.code == 0 && (args[0] != "delete" || !strings.Contains(id, "x")) {
				t.Errorf("%q: %v", args, r)
			}
			oneLine(t, r.err)
		}
	}
}

// What an error repeats of a configuration may be meant for a terminal.
func errorText(t *testing.T) {
	const evil = "/\x1b]0;owned\x07\x1b[2J\r\nminirunc: all is well\u009b31m"
	for property, change := range map[string]func(b *box){
		"args":        func(b *box) { b.Process.Args = []string{evil} },
		"env":         func(b *box) { b.Process.Env = []string{evil} },
		"cwd":         func(b *box) { b.Process.Cwd = evil[1:] },
		"destination": func(b *box) { b.Mounts = append(b.Mounts, specs.Mount{Destination: evil, Type: evil}) },
		"source": func(b *box) {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: evil})
		},
		"option": func(b *box) {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Options: []string{evil}})
		},
		"root":       func(b *box) { b.Root.Path = evil },
		"sysctl":     func(b *box) { b.Linux.Sysctl = map[string]string{evil: evil} },
		"namespace":  func(b *box) { b.Linux.Namespaces[0].Path = evil },
		"kind":       func(b *box) { b.Linux.Namespaces[0].Type = specs.LinuxNamespaceType(evil) },
		"version":    func(b *box) { b.Version = evil },
		"capability": func(b *box) { b.Process.Capabilities.Bounding = []string{evil}; b.Process.Args[0] = "/missing" },
		"rlimit":     func(b *box) { b.Process.Rlimits = []specs.POSIXRlimit{{Type: evil}} },
		"device":     func(b *box) { b.Linux.Devices = []specs.LinuxDevice{{Path: evil, Type: evil}} },
		"hook":       func(b *box) { b.Hooks = &specs.Hooks{Prestart: []specs.Hook{{Path: evil}}} },
		"profile":    func(b *box) { b.Process.ApparmorProfile = evil },
		"syscall": func(b *box) {
			b.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.LinuxSeccompAction(evil), Syscalls: []specs.LinuxSyscall{{Names: []string{evil}}}}
		},
		"hostname":    func(b *box) { b.Hostname = evil + strings.Repeat("x", 100) },
		"propagation": func(b *box) { b.Linux.RootfsPropagation = evil },
		"cgroup":      func(b *box) { b.Linux.CgroupsPath = evil + "/../.." },
	} {
		b := newBox(t, "say", "hello")
		change(b)
		r := b.run()
		if r.code == 0 && property != "env" && property != "cgroup" {
			t.Errorf("%s: %v", property, r)
		}
		for line := range strings.Lines(r.err) { // a warning may come before the error
			if !strings.HasPrefix(line, "minirunc: ") && !strings.HasPrefix(line, "hint: ") {
				t.Errorf("%s: a line %q", property, line)
			}
			oneLine(t, strings.TrimSpace(line))
		}
	}
	for _, args := range [][]string{{evil}, {"run", evil}, {"exec", evil, "x"}, {"run", "--memory", evil, "x"}, {"run", "--" + evil}, {"kill", evil, evil}, {"inspect", evil}, {"load", "-i", evil}} {
		oneLine(t, minirun(t, args...).err)
		oneLine(t, minirunc(t, args...).err)
	}
}

// Go's parser has a limit; its error must be one of ours.
func nestedConfig(t *testing.T) {
	b := newBox(t, "say", "hello")
	for about, text := range map[string]string{
		"arrays": strings.Repeat("[", 1<<20), "objects": strings.Repeat(`{"linux":`, 1<<18), "annotations": `{"ociVersion":"1.0.0","annotations":` + strings.Repeat(`{"a":`, 1<<18),
		"number": `{"ociVersion":"1.0.0","linux":{"resources":{"memory":{"limit":` + strings.Repeat("9", 1<<16) + `}}}}`, "null": "null", "empty": "",
	} {
		must(t, os.WriteFile(filepath.Join(b.dir, "config.json"), []byte(text), 0o644))
		r := minirunc(t, "run", "--bundle", b.dir, b.id)
		if r.code == 0 || strings.Contains(r.err, "goroutine") || len(r.err) > 1<<10 {
			t.Errorf("%s: exit code %d, %.300q", about, r.code, fmt.Sprint(r.err))
		}
		oneLine(t, r.err)
	}
}

// CVE-2026-41568, CVE-2026-42306. Nothing is copied into a running container, or out of it.
func noCopy(t *testing.T) {
	guest := newGuest(t, "copied")
	for _, program := range []string{people, runner} {
		for _, args := range [][]string{{"cp", guest.id + ":/etc", canary + "/new"}, {"cp", canary, guest.id + ":/tmp"}, {"export", "-o", canary + "/new", guest.id}, {"commit", guest.id, "new"}} {
			if r := finish(t, command(program, args...)); r.code == 0 {
				t.Errorf("%s: %v", args[0], r)
			}
		}
	}
}

// Without a cgroup there is no filter for devices: so a device that is denied is not
// made or shown, and a warning says what is left.
func withoutCgroup(t *testing.T) {
	deny := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	for about, change := range map[string]func(*box){
		"a device": func(b *box) {
			b.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}}
		},
		"a mounted device": func(b *box) {
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/dev/disk", Type: "bind", Source: "/dev/tty0", Options: []string{"bind"}})
		},
	} {
		b := newBox(t, "say", "hello")
		b.Linux.Resources = &specs.LinuxResources{Devices: deny}
		must(t, unix.Mknod(b.dir+"/tty0", unix.S_IFCHR|0o600, int(unix.Mkdev(4, 0))))
		change(b)
		for i := range b.Mounts {
			if b.Mounts[i].Source == "/dev/tty0" {
				b.Mounts[i].Source = b.dir + "/tty0"
			}
		}
		b.save()
		if r := minirunc(t, "--cgroup-manager", "disabled", "run", "--bundle", b.dir, b.id); r.code == 0 || r.out != "" || !strings.Contains(r.err, "nothing denies a device") {
			t.Errorf("%s: %v; want an error: its rules deny it", about, r)
		}
	}
	b := newBox(t, "device", "c", "10", "229")
	b.Linux.Resources = &specs.LinuxResources{Devices: deny}
	b.save()
	if r := minirunc(t, "--cgroup-manager", "disabled", "run", "--bundle", b.dir, b.id); r.code != 0 || !strings.Contains(r.out, "mknod: operation not permitted") || !strings.Contains(r.err, "warning") {
		t.Errorf("a device of its own: %v; want it denied by mknod(2), and a warning", r)
	}
}

// An option of a mount that is longer than a page, which mount(2) would cut: all layers
// are there, or there is no container.
func manyLayers(t *testing.T) {
	const layers = 80
	b := newBox(t, "list", "/many/file*")
	var lower []string
	for i := range layers {
		dir := filepath.Join(b.dir, strings.Repeat("long", 20), fmt.Sprint(i))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d", i)), nil, 0o644))
		lower = append(lower, dir)
	}
	for _, n := range []int{2, 30, 45, layers} {
		b.Mounts = append(b.Mounts[:7:7], specs.Mount{Destination: "/many", Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + strings.Join(lower[:n], ":")}})
		r := b.run()
		if found := len(strings.Fields(r.out)); (r.code == 0 && found != n) || (n == 2 && r.code != 0) {
			t.Errorf("%d layers: %d are there: %.300v", n, found, r)
		}
		oneLine(t, r.err)
	}
}

// Below the --root of an engine an id is an id: never a name, or the beginning of an id,
// of people's containers.
func otherStore(t *testing.T) {
	guest := newGuest(t, "other-store")
	id := minirun(t, "inspect", "-f", "{{.ID}}", guest.id).out
	root := filepath.Join(openDir(t), "root")
	for _, word := range []string{guest.id, id, id[:12], id[:2]} {
		for _, program := range []string{people, runner} {
			for _, words := range [][]string{{"kill", word, "KILL"}, {"kill", "--all", word, "KILL"}, {"delete", "--force", word}, {"exec", word, "/probe", "say", "in"}, {"state", word}, {"pause", word}, {"ps", word}} {
				r := finish(t, command(program, append([]string{"--root", root}, words...)...))
				if (r.code == 0) != (words[0] == "delete") || r.out != "" {
					t.Errorf("%s --root %s %q: %v; want no such container", program, root, words, r)
				}
			}
		}
	}
	b := newBox(t, "sleep") // and one that is called as the other's id begins
	b.save()
	for _, words := range [][]string{{"create", "--bundle", b.dir, id[:4]}, {"start", id[:4]}, {"kill", id[:4], "KILL"}, {"delete", "--force", id[:4]}} {
		if r := finish(t, command(people, append([]string{"--root", root}, words...)...)); r.code != 0 {
			t.Errorf("%q: %v", words, r)
		}
	}
	if r := guest.execAs("0", "say", "alive"); r.out != "alive" {
		t.Errorf("after that, the other's container: %v", r)
	}
}

// A hook that writes to its working directory writes to the bundle or the container's
// root, and not to the host's.
func hookFolder(t *testing.T) {
	b := newBox(t, "say", "hello")
	out := filepath.Join(b.dir, "folders")
	hook := func(name string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo " + name + " $(stat -c %d:%i .) >>" + out}}}
	}
	b.Hooks = &specs.Hooks{Prestart: hook("bundle"), CreateRuntime: hook("bundle"), CreateContainer: hook("root"), Poststart: hook("bundle"), Poststop: hook("bundle")}
	b.prints("hello")
	want := map[string]string{}
	for name, path := range map[string]string{"bundle": b.dir, "root": b.root} {
		var s unix.Stat_t
		must(t, unix.Stat(path, &s))
		want[name] = fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	text, err := os.ReadFile(out)
	must(t, err)
	if strings.Count(string(text), "\n") != 5 {
		t.Errorf("the hooks' working directories: %q; want five", text)
	}
	for line := range strings.Lines(string(text)) {
		if name, got, _ := strings.Cut(strings.TrimSpace(line), " "); got != want[name] {
			t.Errorf("a hook's working directory is %s; want the %s, %s", got, name, want[name])
		}
	}
}

// moby 49560, CVE-2022-40982 and its kind. How hot and how busy each processor is tells
// what others compute: neither is in the container.
func heat(t *testing.T) {
	const real = "/sys/devices/system/cpu/cpu0"
	must(t, unix.Mount("tmpfs", real, "tmpfs", 0, "")) // a processor that counts how often it was too hot
	t.Cleanup(func() { must(t, unix.Unmount(real, 0)) })
	must(t, os.Mkdir(real+"/thermal_throttle", 0o755))
	guest := newGuest(t, "heat")
	text, err := os.ReadFile("/var/lib/minirun/containers/" + minirun(t, "inspect", "-f", "{{.ID}}", guest.id).out + "/config.json")
	must(t, err)
	for _, path := range []string{real + "/thermal_throttle", "/sys/devices/virtual/powercap", "/proc/interrupts", "/proc/timer_list"} {
		if !strings.Contains(string(text), `"`+path+`"`) {
			t.Errorf("%s is not masked", path)
		}
	}
	for _, path := range []string{"/proc/interrupts", "/proc/timer_list"} {
		if r := guest.execAs("0", "cat", path); r.code != 0 || r.out != "" {
			t.Errorf("%s holds %.100v", path, r)
		}
	}
	if r := guest.execAs("0", "list", "/sys/devices/virtual/powercap/*"); r.out != "" {
		t.Errorf("/sys/devices/virtual/powercap holds %v", r)
	}
}
