package seccomp

import (
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Default returns the profile of a container whose user names none: a list of
// what programs need, with EPERM for all else. Some calls come with
// capabilities (caps, as in "CAP_SYS_ADMIN"; nil for none). The kernel would
// check those itself; a filter keeps code out of reach that has had holes.
//
// It allows what Docker's default profile allows, without:
//
//   - socket(2) and socketpair(2) families other than unix, inet, inet6, netlink
//     and packet: each is a kernel module that a mere socket() loads, and rarely
//     used ones have been behind many local exploits. There is no third call that
//     makes a socket of a family that it is told. AF_VSOCK would besides reach the
//     host past the network namespace, AF_ALG the crypto drivers
//   - socketcall(2) for making sockets, with which 32-bit x86 programs would
//     get around that, its arguments being in memory. Those that know no
//     socket(2) cannot make any
//   - modify_ldt, for 16-bit programs: nobody else needs it, and it had holes
//   - x32, a convention that distributions switch off
//   - calls that no kernel here has (of other architectures, or long gone)
//
// Not allowed by either, for it surprises people: io_uring (requests made
// through it pass no filter), userfaultfd, the keyrings (not namespaced), and
// new namespaces or mounts without CAP_SYS_ADMIN. clone3 then gets ENOSYS
// rather than EPERM: its flags are in memory where no filter sees them, and
// libc falls back to clone, whose flags are checked.
func Default(caps []string) *specs.LinuxSeccomp {
	s := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86},
	}
	if runtime.GOARCH == "arm64" {
		s.Architectures = []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	}
	for _, call := range []string{"socket", "socketpair"} {
		s.Syscalls = append(s.Syscalls, firstArgument(call,
			unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET)...)
	}
	// PER_LINUX, PER_LINUX32, both with UNAME26, and the question which is set.
	// Others change how memory is laid out, to the advantage of exploits.
	s.Syscalls = append(s.Syscalls, firstArgument("personality", 0, 0x0008, 0x20000, 0x20008, 0xffffffff)...)
	for _, g := range defaultGroups {
		s.Syscalls = append(s.Syscalls, allow(g))
	}
	for _, g := range capabilityGroups {
		if slices.Contains(caps, g.capability) {
			s.Syscalls = append(s.Syscalls, allow(g.calls))
		}
	}
	if !slices.Contains(caps, "CAP_SYS_ADMIN") {
		s.Syscalls = append(s.Syscalls, cloneRules()...)
	}
	return s
}

// allow is a rule without conditions for calls listed in a string.
func allow(calls string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: strings.Fields(calls), Action: specs.ActAllow, Args: args}
}

// cloneRules allow processes and threads, but no new namespaces.
func cloneRules() []specs.LinuxSyscall {
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	enosys := uint(unix.ENOSYS)
	none := specs.LinuxSeccompArg{Index: 0, Value: namespaces, ValueTwo: 0, Op: specs.OpMaskedEqual}
	return []specs.LinuxSyscall{
		allow("clone", none),
		{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
	}
}

// firstArgument allows a call if its first argument is one of values.
func firstArgument(call string, values ...uint64) []specs.LinuxSyscall {
	var rules []specs.LinuxSyscall
	for _, v := range values {
		rules = append(rules, allow(call, specs.LinuxSeccompArg{Value: v, Op: specs.OpEqualTo}))
	}
	return rules
}

// defaultGroups are the calls allowed to all.
var defaultGroups = [...]string{
	// Files: opening, reading, writing, their names and attributes.
	`open openat openat2 creat close close_range read readv pread64 preadv preadv2
write writev pwrite64 pwritev pwritev2 lseek _llseek dup dup2 dup3 fcntl
fcntl64 ioctl flock truncate truncate64 ftruncate ftruncate64 fallocate sync
syncfs fsync fdatasync sync_file_range sync_file_range2 arm_sync_file_range
fadvise64 fadvise64_64 arm_fadvise64_64 readahead cachestat copy_file_range
sendfile sendfile64 splice tee vmsplice stat stat64 lstat lstat64 fstat fstat64
fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount listmount
access faccessat faccessat2 chmod fchmod fchmodat fchmodat2 chown chown32 fchown
fchown32 lchown lchown32 fchownat umask utime utimes futimesat utimensat
utimensat_time64 link linkat symlink symlinkat readlink readlinkat unlink
unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat getdents
getdents64 getcwd chdir fchdir name_to_handle_at
getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
listxattr llistxattr flistxattr listxattrat
removexattr lremovexattr fremovexattr removexattrat
inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark`,

	// Waiting for files, and reading them in the background.
	`select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
eventfd eventfd2 signalfd signalfd4 pipe pipe2
io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
io_pgetevents_time64`,

	// Memory.
	`brk mmap mmap2 munmap mremap mprotect madvise msync mincore mlock mlock2
munlock mlockall munlockall mseal remap_file_pages map_shadow_stack membarrier
memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect process_mrelease`,

	// Processes and threads: starting, ending, scheduling, limiting, debugging.
	`fork vfork execve execveat exit exit_group wait4 waitid waitpid
getpid getppid gettid getpgid getpgrp setpgid getsid setsid
set_tid_address set_robust_list get_robust_list rseq restart_syscall
futex futex_time64 futex_wait futex_wake futex_requeue futex_waitv
get_thread_area set_thread_area set_tls arch_prctl prctl cacheflush breakpoint
uretprobe pidfd_open pidfd_send_signal
sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr
sched_getparam sched_setparam sched_getscheduler sched_setscheduler
sched_get_priority_max sched_get_priority_min sched_rr_get_interval
sched_rr_get_interval_time64 getcpu getpriority setpriority ioprio_get
ioprio_set getrlimit ugetrlimit setrlimit prlimit64 getrusage times
ptrace process_vm_readv process_vm_writev`,

	// Signals.
	`kill tkill tgkill pause alarm sigaltstack sigprocmask sigreturn rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo`,

	// Who the process is, and giving up rights.
	`getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32
getresuid getresuid32 getresgid getresgid32 getgroups getgroups32
setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32
setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid
setfsgid32 setgroups setgroups32 capget capset seccomp
landlock_create_ruleset landlock_add_rule landlock_restrict_self`,

	// Clocks and timers. The adjtimex family also reads; writing needs CAP_SYS_TIME.
	`time gettimeofday clock_gettime clock_gettime64 clock_getres
clock_getres_time64 clock_nanosleep clock_nanosleep_time64 nanosleep adjtimex
clock_adjtime clock_adjtime64 getitimer setitimer
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
timerfd_settime timerfd_settime64`,

	// The network, once there is a socket.
	`bind connect listen accept accept4 shutdown getsockname getpeername
getsockopt setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg
recvmmsg_time64`,

	// System V and POSIX inter-process communication. On x86 these names cover ipc(2).
	`semget semop semctl semtimedop semtimedop_time64 shmget shmat shmdt shmctl
msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_notify mq_getsetattr
mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64`,

	// About the system.
	`uname sysinfo getrandom`,
}

// capabilityGroups are the calls allowed with a capability.
var capabilityGroups = [...]struct{ capability, calls string }{
	{"CAP_SYS_ADMIN", `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr
move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
sethostname setns syslog umount umount2 unshare`},
	{"CAP_BPF", `bpf`},
	{"CAP_DAC_READ_SEARCH", `open_by_handle_at`},
	{"CAP_PERFMON", `perf_event_open`},
	{"CAP_SYS_BOOT", `reboot`},
	{"CAP_SYS_CHROOT", `chroot`},
	{"CAP_SYS_MODULE", `init_module finit_module delete_module`},
	{"CAP_SYS_NICE", `get_mempolicy mbind set_mempolicy set_mempolicy_home_node`},
	{"CAP_SYS_PACCT", `acct`},
	{"CAP_SYS_PTRACE", `kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace`},
	{"CAP_SYS_RAWIO", `iopl ioperm`},
	{"CAP_SYS_TIME", `settimeofday stime clock_settime clock_settime64`},
	{"CAP_SYS_TTY_CONFIG", `vhangup`},
	{"CAP_SYSLOG", `syslog`},
}
