package testbed

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/example"
	"minirun/examples/leftovers"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// EveryFault walks all of it, which takes a quarter of an hour; else some.
var EveryFault = flag.Bool("faults", false, "let every system call and every step fail, not only some")

// A Maker is who makes the containers.
type Maker struct {
	Name   string
	UID    int
	Mapped bool // in a user namespace whose ids root has mapped
}

// Makers are all of them.
var Makers = []Maker{{"root", 0, false}, {"mapped", 0, true}, {"user", 1000, false}}

// A Field is where one maker's containers are made and hurt.
type Field struct {
	Maker
	T       testing.TB
	Dir     string // with root, store, and the bundles true and sleep
	Program string // minirun or minirunc
	Base    string // the fingerprint when only the keeper is there
}

// NewField makes a field in which a container runs, the keeper.
func NewField(t testing.TB, m Maker, program string) *Field {
	t.Helper()
	f := BareField(t, m, program)
	f.Keep()
	return f
}

// Keep starts the keeper.
func (f *Field) Keep() {
	f.T.Helper()
	f.Must("run -d -b B/sleep keeper")
	f.T.Cleanup(func() { f.Must("delete --force keeper") })
	f.Base = f.Fingerprint()
}

// BareField makes one without a keeper.
func BareField(t testing.TB, m Maker, program string) *Field {
	t.Helper()
	f := &Field{Maker: m, T: t, Dir: t.TempDir(), Program: program}
	OpenUp(t, f.Dir)
	for _, dir := range []string{"root", "store", "work"} {
		Must(t, os.Mkdir(filepath.Join(f.Dir, dir), 0o700))
		Must(t, os.Chown(filepath.Join(f.Dir, dir), m.UID, m.UID))
	}
	Must(t, WriteBundle(f.Dir, nil))
	owner := m.UID
	if m.Mapped {
		owner = 100000
	}
	Must(t, exec.Command("chown", "-R", fmt.Sprint(owner), filepath.Join(f.Dir, "rootfs")).Run())
	for name, args := range map[string][]string{"true": {"true"}, "sleep": {"sleep", "100000"}} {
		f.bundle(name, args)
	}
	return f
}

// bundle writes a bundle with the root directory that they all share.
func (f *Field) bundle(name string, args []string) {
	spec := example.Spec(f.UID != 0)
	spec.Root.Path = filepath.Join(f.Dir, "rootfs")
	spec.Process.Args, spec.Process.Terminal = args, false
	spec.Process.Rlimits = nil // they could not be raised where the runtime's own are low
	ids := []specs.LinuxIDMapping{{HostID: uint32(f.UID), Size: 1}}
	if f.Mapped {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		ids = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
	}
	if f.Mapped || f.UID != 0 {
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = ids, ids
	}
	data, err := json.Marshal(spec)
	Must(f.T, err)
	Must(f.T, os.Mkdir(filepath.Join(f.Dir, name), 0o755))
	Must(f.T, os.WriteFile(filepath.Join(f.Dir, name, "config.json"), data, 0o644))
}

// Command is one of the program's, by the maker.
func (f *Field) Command(words string) *exec.Cmd {
	args := strings.Fields(strings.ReplaceAll(words, "B/", f.Dir+"/"))
	globals := []string{"--root", f.Dir + "/root"}
	if f.Program == "minirun" {
		globals = append(globals, "--store", f.Dir+"/store")
	}
	cmd := exec.Command(f.Program, append(globals, args...)...)
	cmd.Dir = f.Dir + "/work"
	if f.UID != 0 {
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(f.UID), Gid: uint32(f.UID)}}
	}
	return cmd
}

// Printed is what a command prints to a file: containers that it starts would
// keep a pipe open.
func (f *Field) Printed(cmd *exec.Cmd, run func()) string {
	f.T.Helper()
	file, err := os.CreateTemp(f.Dir, "out")
	Must(f.T, err)
	defer os.Remove(file.Name())
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	timer := time.AfterFunc(30*time.Second, func() {
		f.T.Errorf("%q does not end", cmd.Args)
		unix.Kill(cmd.Process.Pid, unix.SIGKILL)
	})
	run()
	timer.Stop()
	text, err := os.ReadFile(file.Name())
	Must(f.T, err)
	return string(text)
}

// Do is a command that is not hurt.
func (f *Field) Do(words string) (string, error) {
	f.T.Helper()
	var err error
	cmd := f.Command(words)
	out := f.Printed(cmd, func() { err = cmd.Run() })
	return out, err
}

// Must is Do for a command that succeeds.
func (f *Field) Must(words string) string {
	f.T.Helper()
	out, err := f.Do(words)
	if err != nil {
		f.T.Fatalf("%s: %v, %s", words, err, out)
	}
	return out
}

// Fingerprint is what a command may not change: all processes, mounts and
// cgroups of the tests' world, the states and the bundles.
func (f *Field) Fingerprint() string {
	var list []string
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		words, err := os.ReadFile(path)
		if err == nil && !strings.HasPrefix(string(words), "tests") {
			list = append(list, "process "+path+" "+strings.ReplaceAll(string(words), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		mount, _, _ := strings.Cut(line, " - ") // behind it is also how large a tmpfs is, which tests change
		list = append(list, mount)
	}
	for _, dir := range []string{"/sys/fs/cgroup", f.Dir + "/root", f.Dir + "/store", f.Dir + "/work"} {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && (d.IsDir() || dir != "/sys/fs/cgroup") {
				list = append(list, path)
			}
			return nil // ENOENT: it has just gone
		})
	}
	return strings.Join(list, "\n")
}

// Settled says what has changed, after some time for what was killed to end.
func (f *Field) Settled() string {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if changed := leftovers.Changes(f.Base, f.Fingerprint()); changed == "" || time.Now().After(end) {
			return changed
		}
	}
}

// A Tmpfs is a file system in memory whose room the tests take away and give back.
type Tmpfs struct {
	t   testing.TB
	dir string
}

// MountTmpfs covers a directory, which is the user's, until the test has ended.
func MountTmpfs(t testing.TB, dir string, uid int) Tmpfs {
	t.Helper()
	Must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=700,uid=%d,gid=%d", uid, uid)))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return Tmpfs{t, dir}
}

// Leave leaves room for so many more pages and files.
func (m Tmpfs) Leave(pages, files int) {
	m.t.Helper()
	var s unix.Statfs_t
	Must(m.t, unix.Statfs(m.dir, &s))
	blocks, inodes := int(s.Blocks-s.Bfree)+pages, int(s.Files-s.Ffree)+files
	Must(m.t, unix.Mount("", m.dir, "", unix.MS_REMOUNT, fmt.Sprintf("nr_blocks=%d,nr_inodes=%d", max(1, blocks), inodes)))
}

// Enough of pages, files or descriptors.
const Enough = 1000

// Room is the walk: from none on, for pages and then for files; every third one,
// but with -faults.
func Room(most int) (list [][2]int) {
	step := 3
	if *EveryFault {
		step = 1
	}
	for n := 0; n < most; n += step {
		list = append(list, [2]int{n, Enough}, [2]int{Enough, n})
	}
	return list
}

// OneError is what a command prints that has failed: one line with an object and a
// cause, behind the name of the program.
var OneError = regexp.MustCompile(`^minirunc?: [^:\n]*[^ ].*: [^:\n]+\n$`)
