package seccomp

// Tests with the kernel. A filter cannot be taken off again, so each runs in a
// process of its own: this test binary, started again.

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/process"
)

// helperVariable names the helper that a process started by these tests plays.
const helperVariable = "MINIRUN_SECCOMP_HELPER"

// helpers are what runs under a filter. They print what they see.
var helpers = map[string]func(*process.Filter) error{
	"calls": func(f *process.Filter) error {
		if _, err := load(f); err != nil {
			return err
		}
		fmt.Println("unshare", errno(unix.SYS_UNSHARE, unix.CLONE_NEWUTS, 0))
		fmt.Println("clone3", errno(unix.SYS_CLONE3, 0, 0))
		fmt.Println("keyctl", errno(unix.SYS_KEYCTL, 0, 0))
		fmt.Println("vsock", errno(unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM))
		fmt.Println("inet", errno(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM))
		fmt.Println("getppid", errno(unix.SYS_GETPPID, 0, 0))
		fmt.Println("600", errno(600, 0, 0))
		return nil
	},
	"exec": func(f *process.Filter) error {
		if _, err := load(f); err != nil {
			return err
		}
		return syscall.Exec("/bin/sh", []string{"sh", "-c", "echo $(ls -d /) | cat"}, os.Environ())
	},
	"listener": func(f *process.Filter) error {
		fd, err := load(f)
		fmt.Println(err == nil && fd > 2)
		return err
	},
	"load": func(*process.Filter) error { return loadMany() },
}

func TestMain(m *testing.M) {
	name := os.Getenv(helperVariable)
	if name == "" {
		os.Exit(leftovers.Guard(m.Run))
	}
	var s *specs.LinuxSeccomp
	err := json.NewDecoder(os.Stdin).Decode(&s)
	if err != nil {
		fmt.Println(err)
	}
	f, err := Compile(s)
	if err == nil {
		runtime.LockOSThread()
		err = helpers[name](f)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// load loads a filter for all threads of this process.
func load(f *process.Filter) (fd uintptr, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("prctl: %w", err)
	}
	flags := f.Flags
	if !f.Listener {
		flags |= unix.SECCOMP_FILTER_FLAG_TSYNC
	}
	program := unix.SockFprog{Len: uint16(len(f.Program)), Filter: &f.Program[0]}
	fd, _, no := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&program)))
	if no != 0 {
		return 0, fmt.Errorf("seccomp: %w", no)
	}
	return fd, nil
}

// errno makes a call and names its error, or 0.
func errno(nr, a, b uintptr) string {
	if _, _, no := unix.RawSyscall(nr, a, b, 0); no != 0 {
		return unix.ErrnoName(no)
	}
	return "0"
}

// loadMany gives the kernel random programs to check. All their answers are
// replaced by ALLOW, or the process would not get far.
func loadMany() error {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		f, err := Compile(randomProfile(r))
		if err != nil || len(f.Program) > 1000 {
			continue
		}
		for i := range f.Program {
			if f.Program[i].Code == opRet {
				f.Program[i].K = allowed
			}
		}
		f.Flags = 0
		if _, err := load(f); err != nil {
			return fmt.Errorf("%w\n%s", err, explain(f))
		}
	}
	fmt.Println("loaded")
	return nil
}

// help runs a helper under a profile; it returns what it printed.
func help(t *testing.T, name string, s *specs.LinuxSeccomp) (string, error) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperVariable+"="+name)
	cmd.Stdin = strings.NewReader(string(text))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestNativeCalls(t *testing.T) {
	const want = "unshare EPERM\nclone3 ENOSYS\nkeyctl EPERM\nvsock EPERM\ninet 0\ngetppid 0\n600 ENOSYS\n"
	if got, err := help(t, "calls", Default(nil)); got != want || err != nil {
		t.Errorf("calls under the default profile = %s, %v, want\n%s", got, err, want)
	}
}

func TestNativeExec(t *testing.T) {
	if got, err := help(t, "exec", Default(nil)); got != "/\n" || err != nil {
		t.Errorf("sh under the default profile = %q, %v, want /", got, err)
	}
}

func TestNativeKill(t *testing.T) {
	s := Default(nil)
	s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"unshare"}, Action: specs.ActKillProcess})
	_, err := help(t, "calls", s)
	var exit *exec.ExitError
	if e, ok := err.(*exec.ExitError); ok {
		exit = e
	}
	if exit == nil || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGSYS {
		t.Errorf("a call with KILL_PROCESS: %v, want SIGSYS", err)
	}
}

func TestNativeListener(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/unused",
		Flags:    []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mount"}, Action: specs.ActNotify}}}
	if got, err := help(t, "listener", s); got != "true\n" || err != nil {
		t.Errorf("a listener = %q, %v, want true", got, err)
	}
}

func TestNativeLoad(t *testing.T) {
	if got, err := help(t, "load", nil); got != "loaded\n" || err != nil {
		t.Errorf("random programs = %s, %v, want loaded", got, err)
	}
}
