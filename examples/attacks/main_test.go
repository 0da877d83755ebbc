package attacks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// Where things are in the tests' world.
const (
	world  = "/srv"             // a tmpfs
	canary = world + "/canary"  // the host's files, which nobody may touch
	bin    = world + "/bin"     // minirun, minirunc and the probe
	work   = world + "/work"    // bundles
	runner = bin + "/minirunc"  // root's own, and writable for root: what an attacker wants
	people = bin + "/minirun"   // which executes minirunc
	prober = bin + "/probe"     // the program in the containers
	ground = "/sys/fs/cgroup"   // a pure cgroup2, rooted at the tests' own group
	secret = canary + "/secret" // only root may read it
)

// The test binary plays two parts more, by its own name (argv[0]):
//
//	tests' init   process 1 of the tests' own namespaces: makes the world, reaps
//	tests         the tests, below it
//
// Why namespaces of their own? Here are attackers at work. Should minirun, or a
// layer of it, fail, then what they reach is not the machine.
func TestMain(m *testing.M) {
	switch {
	case os.Args[0] == "tests' init":
		os.Exit(testbed.Init(newWorld))
	case os.Args[0] != "tests" && os.Geteuid() == 0:
		os.Exit(isolated())
	}
	os.Exit(m.Run())
}

// isolated builds the programs, and runs the tests in namespaces and a cgroup
// of their own.
func isolated() int {
	dir, err := build()
	if err == nil {
		defer os.RemoveAll(dir)
		err = testbed.InGroup("attacks", func(group int) error {
			const all = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
			return testbed.Isolate(group, all, "PROGRAMS="+dir)
		})
	}
	return testbed.ExitCode(err)
}

// build makes the programs, static: the probe, and minirun and minirunc, unless
// $MINIRUN and $MINIRUNC are made already.
func build() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "minirun-attacks-"); err != nil {
		return "", err
	}
	programs := [][]string{
		{"-o", dir + "/probe", "./probe"},
		{"-o", dir + "/minirunc", "minirun/cmd/minirunc"},
		{"-tags", "urfave_cli_no_docs", "-o", dir + "/minirun", "minirun/cmd/minirun"},
	}
	if people, runner := os.Getenv("MINIRUN"), os.Getenv("MINIRUNC"); people != "" && runner != "" {
		programs = programs[:1]
		err = errors.Join(copyFile(people, dir+"/minirun"), copyFile(runner, dir+"/minirunc"))
	}
	for _, args := range programs {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, failed := cmd.CombinedOutput(); failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w: %s", cmd, failed, out))
		}
	}
	return dir, errors.Join(err, os.Chmod(dir, 0o755))
}

// newWorld makes the host that is attacked.
func newWorld() error {
	if err := errors.Join(testbed.World(), unix.Mount("tmpfs", world, "tmpfs", 0, "")); err != nil {
		return fmt.Errorf("make a world: %w", err)
	}
	programs := os.Getenv("PROGRAMS")
	for _, dir := range []string{canary, bin, work, "/var/lib/user"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		copyFile(programs+"/minirun", people), copyFile(programs+"/minirunc", runner), copyFile(programs+"/probe", prober),
		os.WriteFile(secret, []byte("the host's secret\n"), 0o600),
		os.WriteFile(canary+"/passwd", []byte("evil:x:0:0::/:/bin/sh\n"), 0o644),
		os.WriteFile(canary+"/plain", []byte("the host's file\n"), 0o644),
		os.Mkdir(canary+"/dir", 0o750), ownDevices(),
		unix.Sethostname([]byte("attacked")),
		loopback(),
	)
}

// ownDevices puts devices of the world's own over those of the machine that attacks aim
// at: one that succeeds changes nothing which outlives the tests.
func ownDevices() (err error) {
	for name, number := range hosts {
		path := world + "/" + name
		err = errors.Join(err, unix.Mknod(path, unix.S_IFCHR, int(number)), os.Chmod(path, 0o666), os.Chtimes(path, quiet, quiet), unix.Mount(path, "/dev/"+name, "", unix.MS_BIND, ""))
	}
	return err
}

// quiet is when the world's devices were last used: their own time changes only by force.
var quiet = time.Unix(1e9, 0)

// hosts are the devices that a container may be shown, with their numbers.
var hosts = map[string]uint64{"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5), "full": unix.Mkdev(1, 7), "random": unix.Mkdev(1, 8),
	"urandom": unix.Mkdev(1, 9), "tty": unix.Mkdev(5, 0)}

// loopback brings it up: abstract sockets and ports are there without, but
// nothing can connect.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make a host that can be attacked")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
