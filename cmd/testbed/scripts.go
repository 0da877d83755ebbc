package testbed

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"minirun/namespaces/network"
)

// The command lines are written down as scripts: testdata/script holds
// those that any user can run, testdata/native those that make containers.
//
// Commands besides testscript's own:
//
//	exits N COMMAND...           COMMAND ends with exit code N
//	eventually REGEXP COMMAND... within seconds, COMMAND prints what matches
//	signal NAME PID              send a signal; the pid may be $VARIABLE
//	let VARIABLE COMMAND...      set a variable to what COMMAND prints
//	user COMMAND...              run COMMAND as an ordinary user
//	mounted DIR OPTIONS COMMAND  run COMMAND while a tmpfs is mounted on DIR; if it fails, no file may be left there

var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits": exits, "eventually": eventually, "signal": sendSignal, "let": let, "user": asUser, "mounted": mounted,
	"bundle": bundleFor, "strict": strictly, "apart": apart, // formats.go
}

// NeedRoot leaves a test out that makes containers, where it cannot.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make containers in namespaces of the tests' own")
	}
	if os.Args[0] != "tests" {
		t.Skip("no world of its own: not while fuzzing")
	}
}

// Scripts runs all scripts of a directory. Those that need more commands bring them.
func Scripts(t *testing.T, dir string) {
	root := t.TempDir()
	OpenUp(t, root)
	testscript.RunT(sequential{t}, testscript.Params{
		Dir:         dir,
		WorkdirRoot: root, ContinueOnError: true,
		Setup:     func(e *testscript.Env) error { return setUp(t, e) },
		Cmds:      scriptCommands,
		Condition: condition,
	})
}

// condition is [linux6.15], or [nftables]: the kernel can translate addresses.
func condition(text string) (bool, error) {
	if text == "nftables" {
		return os.Geteuid() == 0 && network.Possible() == nil, nil
	}
	return KernelSince(text)
}

// KernelSince is the condition [linux6.15]: the kernel is that, or newer.
func KernelSince(condition string) (bool, error) {
	var major, minor, wantMajor, wantMinor int
	if _, err := fmt.Sscanf(condition, "linux%d.%d", &wantMajor, &wantMinor); err != nil {
		return false, fmt.Errorf("condition %q: %w", condition, err)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return false, err
	}
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		return false, err
	}
	return major > wantMajor || major == wantMajor && minor >= wantMinor, nil
}

// OpenUp lets ordinary users through to a directory, and to the programs.
func OpenUp(t testing.TB, dir string) {
	paths := []string{dir}
	for _, name := range []string{"minirun", "minirunc"} {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, filepath.Dir(path))
		}
	}
	for _, path := range paths {
		for ; path != "/" && path != filepath.Clean(os.TempDir()); path = filepath.Dir(path) {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// sequential runs scripts one after another: each looks for what it has left.
type sequential struct{ *testing.T }

func (s sequential) Parallel()     {}
func (s sequential) Verbose() bool { return testing.Verbose() }
func (s sequential) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Cleanup(func() { NothingLeft(t) })
		}
		f(sequential{t})
	})
}

// NothingLeft looks for what a script has left behind, and removes it.
func NothingLeft(t *testing.T) {
	left := remains()
	for end := time.Now().Add(2 * time.Second); len(left) > 0 && time.Now().Before(end) && !t.Failed(); left = remains() {
		time.Sleep(10 * time.Millisecond) // what was killed may still be ending
	}
	if len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		sweep()
	}
}

// setUp gives a script directories for an ordinary user.
func setUp(t *testing.T, e *testscript.Env) error {
	home := filepath.Join(e.WorkDir, "home")
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		return err
	}
	e.Setenv("EXAMPLES", examples)
	e.Setenv("PROGRAMS", Programs)
	e.Setenv("HOME", home)
	e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "settings"))
	e.Setenv("MINIRUN_NETWORK", "none") // see Isolate
	e.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "run"))
	e.Setenv("XDG_DATA_HOME", filepath.Join(home, "share"))
	for _, dir := range []string{home, filepath.Join(home, "run"), filepath.Join(home, "share")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(dir, 1000, 1000); err != nil {
				return err
			}
		}
	}
	if err := writeClosed(filepath.Join(e.WorkDir, "settings")); err != nil {
		return err
	}
	return os.Chmod(e.WorkDir, 0o755)
}

// code carries out a command of a script and returns its exit code.
func code(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if got := code(ts, args[1:]); neg || strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func eventually(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		code(ts, args[1:])
		out := ts.ReadFile("stdout")
		if want.MatchString(out) != neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("for 10 s, no %q: %s", args[0], out)
		}
	}
}

func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(args[1])
	if err != nil || pid <= 1 { // 0 would be ourselves
		ts.Fatalf("%q: not the pid of a process to signal", args[1])
	}
	ts.Check(unix.Kill(pid, unix.SignalNum("SIG"+args[0])))
}

func let(ts *testscript.TestScript, _ bool, args []string) {
	if got := code(ts, args[1:]); got != 0 {
		ts.Fatalf("exit code %d", got)
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// asUser runs a command as an ordinary user, with no group but one's own.
func asUser(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("setpriv", append([]string{"--reuid", "1000", "--regid", "1000", "--clear-groups"}, args...)...)
	if (err != nil) != neg {
		ts.Fatalf("as a user: %v", err)
	}
}

// mounted runs a command where a file system is mounted on a directory: mounted
// DIR OPTIONS COMMAND...
func mounted(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	flags := uintptr(0)
	if options, ok := strings.CutPrefix(args[1], "ro"); ok {
		flags, args[1] = unix.MS_RDONLY, strings.TrimPrefix(options, ",")
	}
	ts.Check(unix.Mount("tmpfs", dir, "tmpfs", flags, args[1]))
	err := ts.Exec(args[2], args[3:]...)
	left, _ := filepath.Glob(dir + "/*/*/*/*")
	ts.Check(unix.Unmount(dir, unix.MNT_DETACH))
	if (err != nil) != neg || neg && left != nil {
		ts.Fatalf("with %s mounted: %v; left: %q", args[0], err, left)
	}
}

// ImageTar is the root file system of the tests' image: this binary, a name for
// each of its programs, and a few users.
func ImageTar(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "rootfs.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, dir := range []string{"bin/", "etc/", "tmp/", "home/", "home/ann/"} {
		Must(t, w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	for name, text := range map[string]string{
		"etc/passwd":   "root:x:0:0::/root:/bin/sh\nann:x:33:34::/home/ann:/bin/sh\n",
		"etc/group":    "root:x:0:\nann:x:34:\nvideo:x:44:ann\n",
		"etc/greeting": "hello\n", "bin/notaprogram": "text\n",
	} {
		Must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		Must2(w.Write([]byte(text)))(t)
	}
	addFile(t, w, "bin/program", "/proc/self/exe")
	for _, name := range programNames() {
		Must(t, w.WriteHeader(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "program"}))
	}
	for inside, path := range libraries(t) {
		addFile(t, w, inside, path)
	}
	Must(t, w.Close())
	return path
}

func addFile(t *testing.T, w *tar.Writer, name, path string) {
	f, err := os.Open(path)
	Must(t, err)
	defer f.Close()
	info, err := f.Stat()
	Must(t, err)
	Must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: info.Size()}))
	Must2(io.Copy(w, f))(t)
}

// libraries are what this binary needs beside itself, if it was linked against
// a C library (as without CGO_ENABLED=0): the loader where the binary names it,
// and what the loader has mapped, where it was found.
func libraries(t *testing.T) map[string]string {
	self, err := elf.Open("/proc/self/exe")
	Must(t, err)
	defer self.Close()
	list := map[string]string{}
	for _, p := range self.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			Must(t, err)
			loader := strings.TrimRight(string(name), "\x00")
			list[strings.TrimPrefix(loader, "/")] = loader
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	Must(t, err)
	for _, path := range regexp.MustCompile(`/\S+\.so[.0-9]*`).FindAllString(string(maps), -1) {
		list[strings.TrimPrefix(path, "/")] = path
	}
	return list
}

// Programs is the file that has the root directory of that image; see [ImageTar].
var Programs string

// ImportPrograms makes the image "box".
func ImportPrograms(t *testing.T) {
	Programs = ImageTar(t)
	out, err := exec.Command("minirun", "import", "--change", `CMD ["echo", "hello"]`, "--change", "ENV COLOUR=blue,green",
		"--change", "EXPOSE 80", Programs, "box").CombinedOutput()
	if err != nil {
		t.Fatalf("import: %v, %s", err, out)
	}
}

// Must ends a test with an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Must2 is Must for functions with a result, which is dropped.
func Must2[T any](_ T, err error) func(testing.TB) {
	return func(t testing.TB) { t.Helper(); Must(t, err) }
}
