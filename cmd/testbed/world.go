package testbed

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
)

// Main is TestMain for one of the programs; the tests call it by its name. Other
// programs that they need are built, unless a variable names the file (MINIRUNC names
// minirunc).
//
// The test binary plays four parts more, by its own name (argv[0]):
//
//	minirun[c]     the program itself: what the scripts call, and what it becomes
//	               when it executes itself
//	cat, echo, …   the programs in the containers (programs.go)
//	tests' init    process 1 of the tests' own namespaces
//	tests          the tests, below it
//
// Why namespaces of their own? The scripts use minirun as people do, with its
// state in /run/minirun and its images in /var/lib/minirun. In namespaces of
// the tests' own both are empty, and every mount, process and cgroup that is
// there after a script is one that minirun has left behind.
func Main(m *testing.M, program string, main func(), others ...string) {
	name := filepath.Base(os.Args[0])
	fuzzing := slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz=") })
	switch {
	case name == program:
		main()
	case programs[name] != nil:
		os.Exit(programs[name](os.Args[1:]))
	case name == "tests' init":
		os.Exit(Init(World))
	case fuzzing:
		os.Exit(m.Run()) // starts itself by its name, in which no world of its own is needed
	case name != "tests":
		os.Exit(outermost(others))
	}
	testscript.Main(m, map[string]func(){program: main})
}

// outermost provides the other programs and runs the tests: in a world of their own,
// for which it needs root.
func outermost(others []string) int {
	dir, err := provide(others)
	defer os.RemoveAll(dir)
	if err == nil {
		var settings string
		settings, err = closeRegistries()
		defer os.RemoveAll(settings)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if os.Geteuid() == 0 {
		return isolated()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = "tests"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Println(err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// closed are the registries that tests may ask: their own, on loopback. An image that a test
// does not have would else be looked for at docker.io.
const closed = "allow 127.0.0.1 localhost\n"

// closeRegistries makes a directory of settings for what the tests start. Scripts have one of
// their own: see setUp.
func closeRegistries() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "minirun-settings"); err != nil {
		return "", err
	}
	return dir, errors.Join(os.Chmod(dir, 0o755), writeClosed(dir), os.Setenv("XDG_CONFIG_HOME", dir))
}

func writeClosed(settings string) error {
	dir := filepath.Join(settings, "minirun")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "registries"), []byte(closed), 0o644)
}

// provide makes a directory with the programs, and lets PATH begin with it.
func provide(programs []string) (dir string, err error) {
	if len(programs) == 0 {
		return "", nil
	}
	if dir, err = os.MkdirTemp("", "minirun-programs"); err != nil {
		return "", err
	}
	for _, name := range programs {
		path := filepath.Join(dir, name)
		command := []string{"go", "build", "-o", path, "../" + name}
		if given := os.Getenv(strings.ReplaceAll(strings.ToUpper(name), "-", "_")); given != "" {
			command = []string{"cp", given, path}
		}
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
	}
	return dir, errors.Join(os.Setenv("PATH", dir+":"+os.Getenv("PATH")), os.Chmod(dir, 0o755))
}

// isolated runs the tests in namespaces of their own, in a cgroup of their own.
func isolated() int {
	return ExitCode(InGroup("cmd", func(group int) error {
		return Isolate(group, unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWCGROUP|unix.CLONE_NEWNET)
	}))
}

// InGroup makes a cgroup for the time of do, which gets its descriptor. What has the
// tests in it is its group "tests": see [World].
func InGroup(name string, do func(group int) error) error {
	h, err := cgroups.Find()
	if err != nil {
		return err
	}
	group := filepath.Join(h.Mount, fmt.Sprintf("minirun-test-%s-%d", name, os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(group)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = do(int(dir.Fd()))
	os.Remove(filepath.Join(group, "tests"))
	left := os.Remove(group)
	for try := 0; errors.Is(left, unix.EBUSY) && try < 100; try++ { // who was killed is still ending
		time.Sleep(10 * time.Millisecond)
		left = os.Remove(group)
	}
	if left != nil {
		return errors.Join(err, fmt.Errorf("left behind: %w", left))
	}
	return err
}

// Isolate executes the test binary as "tests' init", in a cgroup and new namespaces. One of
// them is a network namespace, which plays the host: no test touches the machine's own links,
// addresses, packet filters or sysctls. More is added to the environment. Containers have no network
// there unless a test asks for one: the kernels of some test beds cannot translate addresses.
func Isolate(group int, namespaces uintptr, more ...string) error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = "tests' init"
	cmd.Env = append(append(os.Environ(), "MINIRUN_NETWORK=none"), more...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: namespaces, UseCgroupFD: true, CgroupFD: group, Pdeathsig: unix.SIGKILL}
	return cmd.Run()
}

// ExitCode is that of a program which was waited for. Another error is printed.
func ExitCode(err error) int {
	if failed, ok := err.(*exec.ExitError); ok { // nothing but that: with another error it would be joined
		return failed.ExitCode()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// Init is process 1 of the tests' own namespaces: it makes their world, starts them, and
// reaps orphans.
func Init(world func() error) int {
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT) // a ^C is for the tests; to ignore it would be inherited
	if err := world(); err != nil {
		fmt.Println(err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = "tests"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			fmt.Println("wait4:", err)
			return 1
		case pid == cmd.Process.Pid && status.Signaled():
			return 128 + int(status.Signal())
		case pid == cmd.Process.Pid:
			return status.ExitStatus()
		}
	}
}

// World mounts what the tests see in place of the host's. The tests leave the topmost
// group, so that controllers can be enabled in it.
func World() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH) // EINVAL: no mount
	for _, m := range []struct{ fstype, target string }{
		{"proc", "/proc"}, {"cgroup2", "/sys/fs/cgroup"}, {"tmpfs", "/run"}, {"tmpfs", "/var/lib"},
	} {
		if err := unix.Mount(m.fstype, m.target, m.fstype, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := os.Mkdir("/sys/fs/cgroup/tests", 0o755); err != nil {
		return err
	}
	return os.WriteFile("/sys/fs/cgroup/tests/cgroup.procs", []byte("0"), 0)
}

// loopbackUp gives the tests' network namespace what every host has: 127.0.0.1
// (netdevice(7)).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return fmt.Errorf("flags of lo: %w", err)
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// remains are what is in the tests' world that was not there when the
// tests began: processes, mounts, cgroups, containers. The image of the tests'
// own stays.
func remains() (list []string) {
	programs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range programs {
		command, err := os.ReadFile(dir + "/cmdline")
		words := strings.ReplaceAll(string(command), "\x00", " ")
		if err != nil || words == "" || strings.HasPrefix(words, "tests") {
			continue // it ended; a zombie
		}
		list = append(list, "process "+filepath.Base(dir)+" "+words)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "minirun") {
			list = append(list, "mount "+line)
		}
	}
	links, _ := net.Interfaces()
	for _, l := range links {
		if l.Name == "minirun0" || strings.HasPrefix(l.Name, "mr") {
			list = append(list, "link "+l.Name)
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/minirun*", "/run/minirun/*", "/var/lib/minirun/containers/*", "/var/lib/minirun/names/*"} {
		files, _ := filepath.Glob(pattern)
		list = append(list, files...)
	}
	return list
}

// sweep removes leftovers, so that the next script does not suffer from them.
func sweep() {
	programs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range programs {
		var pid int
		fmt.Sscanf(dir, "/proc/%d", &pid)
		if pid > 1 && pid != os.Getpid() {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/minirun*")
	for _, g := range groups {
		for try := 0; os.Remove(g) != nil && try < 100; try++ { // EBUSY: who was killed is still ending
			time.Sleep(10 * time.Millisecond)
		}
	}
	os.RemoveAll("/run/minirun")
	os.RemoveAll("/var/lib/minirun/containers")
	os.RemoveAll("/var/lib/minirun/names")
}
