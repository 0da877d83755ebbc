package print

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

var update = flag.Bool("update", false, "write the golden files")

// sample uses every feature of a plan once.
func sample() *plan.Plan {
	p := &plan.Plan{}
	p.Mkdirat(plan.CWD, "/tmp/a b", 0o755).Undo("rmdir /tmp/a b", func() error { return nil })
	group := p.Openat(plan.CWD, "/sys/fs/cgroup/x", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	p.Note("the process")
	p.Clone3(plan.Clone{Flags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Cgroup: group, PidFD: true})
	p.On(plan.Child)
	p.Gate("maps", func() { p.Do("write 0 1000 1 to /proc/PID/uid_map", func(*plan.Process) error { return nil }) })
	p.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV, "hidepid=2")
	fs := p.Fsopen("tmpfs").As("fs")
	p.FsconfigString(fs, "size", "64k")
	p.FsconfigFlag(fs, "ro")
	p.FsconfigCreate(fs)
	tree := p.Fsmount(fs, unix.MOUNT_ATTR_NOSUID).As("tree")
	p.MountSetattr(tree, unix.AT_RECURSIVE, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE})
	var dir, file *plan.Step
	p.Alternatives([]unix.Errno{unix.ENOENT, unix.ENOTDIR}, func() {
		dir = p.OpenIn(plan.CWD, "proc/acpi", unix.O_PATH|unix.O_DIRECTORY, 0).As("dir")
		file = p.OpenIn(plan.CWD, "proc/acpi", unix.O_PATH, 0).As("file").Tolerate(unix.ENOENT)
	})
	p.MoveMount(tree, dir)
	null := p.OpenTree(plan.CWD, "/dev/null", unix.OPEN_TREE_CLONE).Needs(file).As("null")
	p.Device(null, unix.S_IFCHR, 1, 3)
	p.Mknodat(plan.CWD, "null", unix.S_IFCHR|0o666, 1, 3)
	p.Symlinkat("/proc/self/fd", plan.CWD, "fd").Tolerate(unix.EEXIST)
	p.Capset(1<<unix.CAP_CHOWN|1<<unix.CAP_KILL, 1<<unix.CAP_KILL, 0)
	p.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN)
	p.PrctlAmbient(unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_BIND_SERVICE)
	p.Setgroups([]uint32{5, 6})
	p.Prlimit(unix.RLIMIT_NOFILE, 1024, unix.RLIM_INFINITY)
	p.Seccomp(unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, make([]unix.SockFilter, 3))
	p.CloseRange(plan.Num(3), 0, plan.Channel)
	p.CloseRange(plan.Channel, 1, nil)
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/echo", []string{"echo", "it's\ta\x01\"x\""}, []string{"A=b c"})
	return p
}

// TestPrint compares the three printed forms with golden files.
func TestPrint(t *testing.T) {
	for name, print := range map[string]func(*plan.Plan, *bytes.Buffer) error{
		"sample.txt":  func(p *plan.Plan, b *bytes.Buffer) error { return Text(b, p, Options{}) },
		"sample.sh":   func(p *plan.Plan, b *bytes.Buffer) error { return Sh(b, p) },
		"sample.json": func(p *plan.Plan, b *bytes.Buffer) error { return JSON(b, p) },
	} {
		var got bytes.Buffer
		if err := print(sample(), &got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			os.MkdirAll("testdata", 0o755)
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s = \n%s\nwant\n%s", name, got.Bytes(), want)
		}
	}
}

// TestJSON reads the printed plan back.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	p := sample()
	if err := JSON(&b, p); err != nil {
		t.Fatal(err)
	}
	var steps []jsonStep
	if err := json.Unmarshal(b.Bytes(), &steps); err != nil {
		t.Fatal(err)
	}
	if len(steps) != len(p.Steps) || steps[2].Call != "clone3" {
		t.Errorf("%d steps, the third %q; want %d, clone3", len(steps), steps[2].Call, len(p.Steps))
	}
}

// TestSource: the function that recorded a step, the first outside package plan,
// with a path that does not depend on how the program was built.
func TestSource(t *testing.T) {
	p := &plan.Plan{Sources: true}
	func() { p.OpenIn(plan.CWD, "x", 0, 0) }()
	if got := Source(p.Steps[0]); !regexp.MustCompile(`^plan/print/print_test.go:[0-9]+ TestSource$`).MatchString(got) {
		t.Errorf("Source() = %q", got)
	}
	var text, js bytes.Buffer
	Text(&text, p, Options{Source: true})
	JSON(&js, p)
	for _, got := range []string{text.String(), js.String()} {
		if !strings.Contains(got, "plan/print/print_test.go:") {
			t.Errorf("no source in %s", got)
		}
	}
	for function, want := range map[string]string{"(*Root).mount": "Root.mount", "New": "New", "(*Set).Enter.func1": "Set.Enter", "mount.create": "mount.create"} {
		if got := functionName(function); got != want {
			t.Errorf("functionName(%q) = %q, want %q", function, got, want)
		}
	}
	if got := Source(sample().Steps[0]); got != "" {
		t.Errorf("Source() of a plan that does not know = %q", got)
	}
}

// TestTerminal: on a terminal every line fits, what repeats is folded, ids are
// short, and each thing is explained once. Without, nothing is left out.
func TestTerminal(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	p := sample()
	p.Heading("masks")
	for i := range 40 {
		p.Mkdirat(plan.CWD, "/run/"+id+"/"+strings.Repeat("long", i), 0o755)
		p.Close(plan.Num(3))
	}
	p.Note("a note is not folded away")
	p.Mkdirat(plan.CWD, "/last", 0o755)
	var b, full bytes.Buffer
	Text(&b, p, Options{Width: 80, Fold: true, Explain: true})
	Text(&full, p, Options{Explain: true})
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for text, times := range map[string]int{"== masks ==": 1, "39 more like this (steps 35 to 112)": 1, id[:12]: 1, id: 0, "a note": 1, "CLONE_NEWPID: ": 1, "<channel>: ": 1, "capabilities: ": 1} {
		if got := strings.Count(b.String(), text); got != times {
			t.Errorf("%q stands there %d times, want %d:\n%s", text, got, times, b.String())
		}
	}
	if strings.Count(full.String(), id) != 40 || strings.Contains(full.String(), "more like this") {
		t.Errorf("something is left out:\n%s", full.String())
	}
}

// TestShell: mounts are printed where they are attached, from what the calls
// before say; after pivot_root paths begin at the new root.
func TestShell(t *testing.T) {
	p := &plan.Plan{}
	p.On(plan.Child)
	root := p.Openat(plan.CWD, "/c/root", unix.O_PATH, 0)
	fs := p.Fsopen("tmpfs")
	p.FsconfigString(fs, "source", "shm")
	p.FsconfigString(fs, "size", "64k")
	shm := p.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	p.MoveMount(shm, p.OpenIn(root, "dev/shm", unix.O_PATH, 0))
	bind := p.OpenTree(plan.CWD, "/src", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
	p.MountSetattr(bind, 0, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
	p.MoveMount(bind, p.OpenIn(root, "a b", unix.O_PATH, 0).Tolerate(unix.ENOENT))
	p.Mknodat(shm, "x", unix.S_IFREG|0o644, 0, 0)
	empty, mask := p.Fsmount(p.Fsopen("tmpfs"), unix.MOUNT_ATTR_RDONLY), p.OpenIn(root, "mask", unix.O_PATH|unix.O_DIRECTORY, 0).Tolerate(unix.ENOENT)
	var tree *plan.Step
	p.Alternatives([]unix.Errno{unix.EINVAL}, func() {
		tree = p.OpenTree(empty, "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH)
		p.MoveMount(empty, mask)
	})
	p.MoveMount(tree, mask)
	p.MountSetattr(root, 0, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
	p.Fchdir(root)
	p.PivotRoot(".", ".")
	p.Mkdirat(root, "made", 0o700)
	var got []string
	sh := newShell(p)
	for _, s := range p.Steps {
		if line := sh.command(s); line != "" {
			got = append(got, line)
		}
	}
	want := []string{
		"mount -t tmpfs -o noexec,nosuid,size=64k shm /c/root/dev/shm",
		"[ ! -e '/c/root/a b' ] || mount --rbind -o ro /src '/c/root/a b'",
		"[ -e /c/root/dev/shm/x ] || touch /c/root/dev/shm/x",
		"[ ! -d /c/root/mask ] || mount -t tmpfs -o ro tmpfs /c/root/mask", // once, and anew: a shell cannot copy what is attached nowhere
		"mount -o remount,bind,ro /c/root",
		"cd /c/root",
		"pivot_root . .",
		"mkdir -m 700 /made",
	}
	if !slices.Equal(got, want) {
		t.Errorf("commands\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
