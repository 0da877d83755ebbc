package print

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
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
