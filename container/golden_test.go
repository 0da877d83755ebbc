package container_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/config"
	"minirun/container/example"
	"minirun/plan"
	"minirun/plan/print"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Golden files of printed plans: what we mean a container to be. No privilege
// is needed, since a plan depends on nothing but the spec and a few facts of
// the host, which are made up here.

var update = flag.Bool("update", false, "write the golden files")

// fakeGroups is a hierarchy like the kernel's; the root hands pids down already.
func fakeGroups(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cgroup.controllers": "memory pids\n", "cgroup.subtree_control": "pids\n", "cgroup.procs": "1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// undelegated takes away what an ordinary user may not write to.
func undelegated(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "cgroup.procs")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// minimal is the least that makes a container.
func minimal() *specs.Spec {
	return &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"/bin/true"}, Cwd: "/"},
		Linux:   &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}}},
	}
}

// exampleSpec is what minirunc spec writes; rootless, that of user 1000.
func exampleSpec(rootless bool) *specs.Spec {
	spec := example.Spec(rootless)
	if rootless {
		spec.Linux.UIDMappings[0].HostID, spec.Linux.GIDMappings[0].HostID = 1000, 1000
	}
	return spec
}

// docker is a config.json as dockerd writes it.
func docker(t *testing.T) *specs.Spec {
	t.Helper()
	spec, _, err := config.Read("testdata/docker")
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// joined is a container in another one's namespaces, as in a pod.
func joined() *specs.Spec {
	spec := minimal()
	spec.Linux.Namespaces = []specs.LinuxNamespace{
		{Type: specs.MountNamespace},
		{Type: specs.PIDNamespace, Path: "/proc/42/ns/pid"},
		{Type: specs.NetworkNamespace, Path: "/run/netns/pod"},
		{Type: specs.IPCNamespace, Path: "/proc/42/ns/ipc"},
		{Type: specs.UTSNamespace, Path: "/proc/42/ns/uts"},
		{Type: specs.CgroupNamespace, Path: "/proc/42/ns/cgroup"},
		{Type: specs.TimeNamespace, Path: "/proc/42/ns/time"},
	}
	return spec
}

// joinedUser joins a user namespace: the hard case.
func joinedUser() *specs.Spec {
	spec := joined()
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/proc/42/ns/user"})
	return spec
}

// everything uses what the other specs leave out.
func everything() *specs.Spec {
	spec := minimal()
	seconds, umask, score := 5, uint32(0o77), 100
	caps := []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}
	spec.Hostname, spec.Domainname = "box", "example.org"
	spec.Process.User = specs.User{UID: 33, GID: 34, Umask: &umask, AdditionalGids: []uint32{5, 6}}
	spec.Process.OOMScoreAdj = &score
	spec.Process.Cwd = "/var/www"
	spec.Process.Args, spec.Process.Env = []string{"httpd", "-DFOREGROUND"}, []string{"PATH=/opt/bin:/bin", "A=it's"}
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps, Inheritable: caps, Ambient: caps[1:]}
	spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 128}}
	spec.Mounts = []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/data", Source: "/srv/data", Options: []string{"rbind", "rro", "rslave", "nosuid"}},
		{Destination: "/etc/hosts", Type: "bind", Source: "hosts", Options: []string{"bind", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup"},
	}
	hook := []specs.Hook{{Path: "/bin/hook", Timeout: &seconds}}
	spec.Hooks = &specs.Hooks{Prestart: hook, CreateRuntime: hook, CreateContainer: hook, StartContainer: hook, Poststart: hook, Poststop: hook}
	limit := int64(64 << 20)
	spec.Linux = &specs.Linux{
		Namespaces:  []specs.LinuxNamespace{{Type: "pid"}, {Type: "mount"}, {Type: "uts"}, {Type: "ipc"}, {Type: "network"}, {Type: "cgroup"}, {Type: "time"}, {Type: "user"}},
		UIDMappings: []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}, GIDMappings: []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}},
		TimeOffsets:       map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 10}, "boottime": {Secs: -1, Nanosecs: 5}},
		Sysctl:            map[string]string{"net.ipv4.ip_forward": "1", "kernel.shmmni": "64"},
		Devices:           []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}, {Path: "/run/pipe", Type: "p"}},
		MaskedPaths:       []string{"/proc/kcore"},
		ReadonlyPaths:     []string{"/proc/sys"},
		RootfsPropagation: "rshared",
		CgroupsPath:       "/pods/box",
		Resources:         &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}},
	}
	return spec
}

// scope is a spec for which systemd makes the group.
func scope(spec *specs.Spec) *specs.Spec {
	spec.Linux.CgroupsPath = "machine-test.slice:box:one"
	spec.Annotations = map[string]string{"org.systemd.property.TimeoutStopSec": "5"}
	return spec
}

// imageSpec is what run IMAGE makes of an image of one file.
func imageSpec(t *testing.T, r bundle.Request) (spec *specs.Spec, dir, store string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: what run IMAGE makes for an ordinary user has that user's ids in it")
	}
	store = t.TempDir()
	images, err := image.Open(store, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	passwd := "www:x:33:34::/var/www:/bin/sh\n"
	w.WriteHeader(&tar.Header{Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd)), Uid: os.Getuid(), Gid: os.Getgid()})
	w.Write([]byte(passwd))
	w.Close()
	name, err := image.ParseReference("web")
	if err != nil {
		t.Fatal(err)
	}
	img, err := images.Import(&archive, name, `CMD ["httpd", "-DFOREGROUND"]`, "USER www", "EXPOSE 80")
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Store(store).Preview(img, r, strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	return b.Spec, b.Dir, store
}

// golden compares a printed plan with a file.
func golden(t *testing.T, name string, p *plan.Plan, places *strings.Replacer) {
	t.Helper()
	var b bytes.Buffer
	if err := print.Text(&b, p, print.Options{}); err != nil {
		t.Fatal(err)
	}
	got := filterLength.ReplaceAllString(places.Replace(b.String()), "len=N")
	path := filepath.Join("testdata", "plans", name+".txt")
	if *update {
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("plan of %s = the golden one with these changes:\n%s", name, difference(t, path, got))
	}
}

// difference is what diff(1) says.
func difference(t *testing.T, path, got string) string {
	t.Helper()
	diff := exec.Command("diff", "-U1", path, "-")
	diff.Stdin = strings.NewReader(got)
	out, _ := diff.Output() // exit status 1 says that they differ
	return string(out)
}

// filterLength is the part of a seccomp step that differs between machines.
var filterLength = regexp.MustCompile(`len=\d+`)

// TestGolden: a spec is turned into a plan, and what is printed is the plan.
func TestGolden(t *testing.T) {
	group := fakeGroups(t)
	bare := undelegated(t, fakeGroups(t))
	places := strings.NewReplacer(group, "/sys/fs/cgroup", bare, "/sys/fs/cgroup")
	root := container.FakeHost{Cgroup2: group, Directories: []string{"/srv/data"}}
	user := container.FakeHost{Euid: 1000, Cgroup2: bare}
	for _, c := range []struct {
		name    string
		host    container.FakeHost
		spec    *specs.Spec
		options container.Options
	}{
		{"minimal", root, minimal(), container.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}},
		{"create", root, minimal(), container.Options{Wait: true, PreserveFDs: 2}},
		{"monitor", root, minimal(), container.Options{Monitor: true}},
		{"example", root, exampleSpec(false), container.Options{}},
		{"rootless", user, exampleSpec(true), container.Options{}},
		{"rootless-monitor", user, exampleSpec(true), container.Options{Monitor: true}},
		{"docker", root, docker(t), container.Options{Wait: true}},
		{"joined", root, joined(), container.Options{}},
		{"joined-monitor", root, joined(), container.Options{Monitor: true}},
		{"joined-user", root, joinedUser(), container.Options{}},
		{"joined-user-monitor", root, joinedUser(), container.Options{Monitor: true}},
		{"everything", root, everything(), container.Options{}},
		{"everything-create", root, everything(), container.Options{Wait: true}},
		{"systemd", root, scope(minimal()), container.Options{Systemd: true}},
		{"systemd-joined-user", root, scope(joinedUser()), container.Options{Systemd: true}},
		{"systemd-monitor", root, scope(everything()), container.Options{Systemd: true, Monitor: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := container.PlanOn(c.host, "/bundle", c.spec, c.options)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, p, places)
			otherForms(t, p)
		})
	}
}

// otherForms: the script of a plan is one that sh(1) can parse, and the JSON is JSON.
func otherForms(t *testing.T, p *plan.Plan) {
	t.Helper()
	var script, out bytes.Buffer
	if err := print.Sh(&script, p); err != nil {
		t.Fatal(err)
	}
	if err := print.JSON(&out, p); err != nil {
		t.Fatal(err)
	}
	var steps []map[string]any
	if err := json.Unmarshal(out.Bytes(), &steps); err != nil || len(steps) != len(p.Steps) {
		t.Errorf("JSON() = %d steps, %v; want %d", len(steps), err, len(p.Steps))
	}
	check := exec.Command("sh", "-n")
	check.Stdin = &script
	if message, err := check.CombinedOutput(); err != nil {
		t.Errorf("sh -n = %v, %s; want no error", err, message)
	}
}

// TestGoldenImage: the plan of run -d IMAGE.
func TestGoldenImage(t *testing.T) {
	spec, dir, store := imageSpec(t, bundle.Request{Name: "web", Env: []string{"A=1"}, Memory: 64 << 20})
	spec.Linux.MaskedPaths = example.MaskedPaths // without those of this machine's processors
	group := fakeGroups(t)
	p, err := container.PlanOn(container.FakeHost{Cgroup2: group, Null: true}, dir, spec, container.Options{Monitor: true, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "image", p, strings.NewReplacer(group, "/sys/fs/cgroup", store, "/var/lib/minirun"))
}

// TestPlanTwice: nothing in a plan depends on chance, such as the order of a map.
func TestPlanTwice(t *testing.T) {
	group := fakeGroups(t)
	var first string
	for range 20 {
		p, err := container.PlanOn(container.FakeHost{Cgroup2: group}, "/bundle", everything(), container.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if print.Text(&b, p, print.Options{}); first == "" {
			first = b.String()
		}
		if b.String() != first {
			t.Fatalf("a second plan = \n%s\nwant\n%s", b.String(), first)
		}
	}
}
