package seccomp

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/process"
)

// compileDefault compiles the default profile for this machine.
func compileDefault(t testing.TB, caps ...string) *process.Filter {
	t.Helper()
	f, err := Compile(Default(caps))
	if err != nil {
		t.Fatal(err)
	}
	if err := valid(f.Program); err != nil {
		t.Fatal(err)
	}
	return f
}

// native is a call by name on this machine's own architecture.
func native(t testing.TB, name string, args ...uint64) data {
	t.Helper()
	list, err := archesOf(runtime.GOARCH, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := data{nr: uint32(lookup(name).numbers[list[0].column]), arch: list[0].audit}
	copy(d.args[:], args)
	return d
}

func TestDefault(t *testing.T) {
	f := compileDefault(t)
	for _, name := range common {
		answers(t, f, allowed, native(t, name))
	}
	for _, name := range strings.Fields(`io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key
		request_key mount umount2 pivot_root setns unshare bpf perf_event_open init_module finit_module kexec_load
		open_by_handle_at chroot reboot swapon syslog settimeofday clock_settime acct quotactl open_tree move_mount
		fsopen mount_setattr vhangup process_madvise pidfd_getfd kcmp mbind`) {
		answers(t, f, eperm, native(t, name))
	}
	answers(t, f, enosys, native(t, "clone3"), native(t, "listns"))
}

func TestDefaultArguments(t *testing.T) {
	f := compileDefault(t)
	for _, family := range []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET} {
		answers(t, f, allowed, native(t, "socket", family), native(t, "socketpair", family))
	}
	for _, family := range []uint64{unix.AF_VSOCK, unix.AF_ALG, unix.AF_BLUETOOTH, unix.AF_RDS, unix.AF_TIPC, 1 << 32, 1<<32 | unix.AF_INET} {
		answers(t, f, eperm, native(t, "socket", family), native(t, "socketpair", family))
	}
	for _, persona := range []uint64{0, 8, 0x20000, 0x20008, 0xffffffff} {
		answers(t, f, allowed, native(t, "personality", persona))
	}
	answers(t, f, eperm, native(t, "personality", 0x40000), native(t, "personality", 0x400000))
	answers(t, f, allowed, native(t, "clone", uint64(unix.SIGCHLD)), native(t, "clone", unix.CLONE_VM|unix.CLONE_THREAD|unix.CLONE_SETTLS))
	for _, flag := range []uint64{unix.CLONE_NEWNS, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET,
		unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP} {
		answers(t, f, eperm, native(t, "clone", flag|uint64(unix.SIGCHLD)))
	}
}

func TestDefaultCapabilities(t *testing.T) {
	for _, group := range capabilityGroups {
		f := compileDefault(t, group.capability)
		for _, name := range strings.Fields(group.calls) {
			if d := native(t, name); int32(d.nr) != absent {
				answers(t, f, allowed, d)
			}
		}
	}
	f := compileDefault(t, "CAP_SYS_ADMIN")
	answers(t, f, allowed, native(t, "clone", unix.CLONE_NEWUSER), native(t, "clone3"), native(t, "mount"))
}

// TestDefaultX86 checks the ways around the default profile that a 32-bit
// program could try.
func TestDefaultX86(t *testing.T) {
	s := Default(nil)
	s.Architectures = []specs.Arch{specs.ArchX86}
	f, err := compileFor("amd64", s)
	if err != nil {
		t.Fatal(err)
	}
	answers(t, f, eperm, data{nr: 102, arch: i386, args: [6]uint64{1}}, data{nr: 359, arch: i386, args: [6]uint64{38}}, data{nr: 21, arch: i386},
		data{nr: 102, arch: i386, args: [6]uint64{8}}, data{nr: 360, arch: i386, args: [6]uint64{30}}) // socketpair
	answers(t, f, allowed, data{nr: 102, arch: i386, args: [6]uint64{3}}, data{nr: 117, arch: i386, args: [6]uint64{23}}, data{nr: 359, arch: i386, args: [6]uint64{2}})
	answers(t, f, badArch, data{nr: x32Bit, arch: x64})
}

// TestDefaultNames finds misspelt and repeated names.
func TestDefaultNames(t *testing.T) {
	var seen []string
	for _, group := range defaultGroups {
		for _, name := range strings.Fields(group) {
			if lookup(name) == nil {
				t.Errorf("%s: no architecture has it", name)
			}
			if slices.Contains(seen, name) {
				t.Errorf("%s: twice", name)
			}
			seen = append(seen, name)
		}
	}
}

// common are the calls that programs make all the time.
var common = strings.Fields(`read write close fstat lseek mmap munmap brk futex openat recvfrom sendto
	epoll_pwait clock_gettime nanosleep getpid wait4 execve exit_group rt_sigprocmask newfstatat`)

func BenchmarkCompileDefault(b *testing.B) {
	s := Default(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDefault(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Default(nil)
	}
}

// BenchmarkExecute reports how many instructions a call costs.
func BenchmarkExecute(b *testing.B) {
	f := compileDefault(b)
	steps := 0
	for b.Loop() {
		steps = 0
		for _, name := range common {
			_, n := execute(f.Program, native(b, name))
			steps += n
		}
	}
	b.ReportMetric(float64(steps)/float64(len(common)), "steps/call")
	b.ReportMetric(float64(len(f.Program)), "instructions")
}
