package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is what a container should not be able to do, and how to try it
// without harm: the comments say why each is harmless where it succeeds.

// A probe is one thing to try.
type probe struct {
	name string
	try  func() (saw string, err error) // nil: it was possible
}

// errAbsent is for what this kernel has not, whoever asks.
var errAbsent = errors.New("not in this kernel")

// A reason is what stopped a probe where it was not the kernel's errno.
type reason string

func (r reason) Error() string { return string(r) }

var probes = []probe{
	// Processes: looking, signal 0, and memory at an address where there is none.
	{"see processes of the host", seeProcesses},
	{"signal a process of the host", func() (string, error) {
		return eachStranger(func(pid int) error { return unix.Kill(pid, 0) })
	}},
	{"read the memory of a process of the host", func() (string, error) {
		return eachStranger(func(pid int) error { return passed(readNothing(pid), unix.EFAULT) })
	}},
	{"enter a namespace of a process of the host", func() (string, error) { return eachStranger(enter) }},

	// Files: opened and not read, or opened for writing and not written to.
	{"reach the host's files at /host", func() (string, error) { return "/host/etc", differs("/host/etc", "/etc") }},
	{"reach the host's files by /proc/PID/root", func() (string, error) {
		return eachStranger(func(pid int) error { return differs(fmt.Sprintf("/proc/%d/root/", pid), "/") })
	}},
	{"reach the host's files by chroot and ..", climb},
	{"reach the host's files by a descriptor left open", leftOpen},
	{"reach the host's files by their handles", byHandle},
	{"be the host's root for the files of a volume", hostRoot},

	// Devices: a second node of the null device; others are opened, and not read.
	{"make a device node", func() (string, error) {
		return "", errors.Join(unix.Mknod("/tmp/node", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))), os.Remove("/tmp/node"))
	}},
	{"open a disk of the host by a device node", openDisk},
	{"open the machine's console by a device node", func() (string, error) { return "", openNode(unix.S_IFCHR, 5, 1) }},

	// The host's own nodes of devices: given the mode that they have, and watched for no time.
	{"change the mode of a device of the host's", func() (string, error) {
		return eachHostDevice(func(path string, mode uint32) error { return unix.Chmod(path, mode&0o7777) })
	}},
	{"watch when the host uses a device", func() (string, error) {
		return eachHostDevice(func(path string, _ uint32) error {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			_, err = unix.InotifyAddWatch(fd, path, unix.IN_ALL_EVENTS)
			return err
		})
	}},

	// The kernel: asked with arguments that it refuses after the permissions, or
	// for what is so already.
	{"mount a file system", mountSomething},
	{"load a kernel module", func() (string, error) {
		_, _, errno := unix.Syscall(unix.SYS_FINIT_MODULE, ^uintptr(0), uintptr(unsafe.Pointer(&[]byte{0}[0])), 0)
		return "", passed(errno, unix.EBADF)
	}},
	{"reboot", func() (string, error) {
		_, _, errno := unix.Syscall6(unix.SYS_REBOOT, 0, 0, 0, 0, 0, 0) // no such magic
		return "", passed(errno, unix.EINVAL)
	}},
	{"change the clock", func() (string, error) {
		_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TICK, Tick: 1}) // no clock ticks so
		return "", passed(err, unix.EINVAL)
	}},
	{"read the kernel's log", func() (string, error) {
		_, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, 64))
		return "", err
	}},
	{"raise its own priority", func() (string, error) { return "", unix.Setpriority(unix.PRIO_PROCESS, 0, -1) }},
	{"load a BPF map", bpfMap},
	{"count with perf", perf},
	{"use a keyring that is not its own", func() (string, error) {
		_, err := unix.KeyctlInt(unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_USER_KEYRING, 1, 0, 0)
		return "", err
	}},
	{"use io_uring", func() (string, error) {
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&[128]byte{})), 0)
		return "", closed(fd, errno)
	}},
	{"use userfaultfd", func() (string, error) {
		fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, 1, 0, 0) // UFFD_USER_MODE_ONLY
		return "", closed(fd, errno)
	}},
	{"make a user namespace, and be root in it", userNamespace},
	{"gain privileges by a setuid program", setuid},

	// /proc, /sys and the cgroups: opened, and read where they are secrets.
	{"write a kernel parameter in /proc/sys", openForWriting("/proc/sys/kernel/core_pattern")},
	{"write to /sys", openForWriting("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/profiling")},
	{"read /proc/keys", readSome("/proc/keys")},
	{"read /proc/timer_list", readSome("/proc/timer_list")},
	{"read /proc/interrupts", readSome("/proc/interrupts")},
	{"list /sys/firmware", func() (string, error) {
		entries, err := os.ReadDir("/sys/firmware")
		if err == nil && len(entries) == 0 {
			err = reason("empty")
		}
		return "", err
	}},
	{"see its place among the host's cgroups", func() (string, error) {
		text, err := os.ReadFile("/proc/self/cgroup")
		for line := range strings.Lines(string(text)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && path != "/" {
				return path, err
			}
		}
		return "", errors.Join(err, reason("only /"))
	}},
	{"write to a cgroup", openForWriting("/sys/fs/cgroup/cgroup.procs")},

	// The network: a connection without a word, and an interface's flags as they are.
	{"see the host's network devices", foreignDevices},
	{"bind a port of the host", func() (string, error) {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			return "", err
		}
		defer l.Close()
		_, err = foreignDevices()
		return l.Addr().String(), err
	}},
	{"connect to a service on the host's loopback", connectTCP},
	{"connect to an abstract socket of the host", connectAbstract},
	{"change a network device", sameFlags},
	{"open a raw socket", func() (string, error) {
		return "in its network", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	}},
	{"open a socket to the hypervisor (vsock)", func() (string, error) { return "", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }},
	{"reach the hypervisor's sockets by socketpair", func() (string, error) {
		pair, err := unix.Socketpair(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
		if err == nil {
			err = errors.Join(unix.Close(pair[0]), unix.Close(pair[1]))
		} else if errors.Is(err, unix.EOPNOTSUPP) {
			err = nil // so says the family's own code
		}
		return "", err
	}},

	// How much of everything: looked up, not used up.
	{"take all process ids", unlimited("pids.max")},
	{"take all memory", unlimited("memory.max")},
	{"take all CPU time", unlimited("cpu.max")},
	{"take all descriptors of its own limit, in each process", func() (string, error) {
		var r unix.Rlimit
		err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
		return strconv.FormatUint(r.Cur, 10), err
	}},
	{"fill the disk that its root is on", func() (string, error) {
		var s unix.Statfs_t
		return "as much as is free there", unix.Statfs("/", &s)
	}},
	{"take all inodes of a tmpfs", func() (string, error) {
		var s unix.Statfs_t
		err := unix.Statfs("/dev/shm", &s)
		if few := uint64(1 << 16); err == nil && s.Files > 0 && s.Files <= few { // unless it is told, half as many as there are pages
			err = reason(fmt.Sprintf("limit %d", s.Files))
		}
		return fmt.Sprintf("%d files, of a kilobyte of the kernel's each", s.Files), err
	}},
	{"fill memory by /dev/shm", func() (string, error) {
		f, err := os.Create("/dev/shm/large")
		if err != nil {
			return "", err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		return "", unix.Fallocate(int(f.Fd()), 0, 0, 65<<20)
	}},
}

// probeAll tries all, and prints a line for each. With --as-root it is the
// setuid program of one of them.
func probeAll(args []string) int {
	if slices.Contains(args, "--as-root") {
		fmt.Println(os.Geteuid())
		return 0
	}
	if err := os.MkdirAll("/tmp", 0o755); err != nil { // an image may have none
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, p := range probes {
		saw, err := p.try()
		switch {
		case err == nil:
			fmt.Printf("%s\tpossible\t%s\n", p.name, saw)
		case errors.Is(err, errAbsent), errors.Is(err, unix.ENOSYS):
			fmt.Printf("%s\tabsent\t%v\n", p.name, err)
		default:
			fmt.Printf("%s\tblocked\t%s\n", p.name, why(err))
		}
	}
	return 0
}

// why is the name of an errno, or the text of what is none.
func why(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// passed makes an errno that comes after the permissions were checked none.
func passed(err error, after unix.Errno) error {
	if err == nil || errors.Is(err, after) || errors.Is(err, unix.Errno(0)) {
		return nil
	}
	return err
}

// closed closes a descriptor that was to be had.
func closed(fd uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}

// strangers are the processes in /proc that are not of this container: not we,
// and, if we are not process 1, all others: nobody else was started in it.
func strangers() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func seeProcesses() (string, error) {
	if n := len(strangers()); n > 0 {
		return fmt.Sprintf("%d processes", n), nil
	}
	return "", reason("sees none")
}

// eachStranger tries something with every process that is seen, until it works.
func eachStranger(try func(pid int) error) (string, error) {
	err := error(reason("sees none"))
	for _, pid := range strangers() {
		if err = try(pid); err == nil {
			return fmt.Sprintf("process %d", pid), nil
		}
	}
	return "", err
}

// readNothing reads a byte of another process at address 0.
func readNothing(pid int) error {
	local := make([]byte, 1)
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &local[0], Len: 1}}, []unix.RemoteIovec{{Base: 0, Len: 1}}, 0)
	return err
}

// enter joins the network namespace of another process, on a thread that ends.
func enter(pid int) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		result <- err
	}()
	return <-result
}

// differs says whether there is something else at path than at own.
func differs(path, own string) error {
	var a, b unix.Stat_t
	if err := unix.Stat(path, &a); err != nil {
		return err
	}
	if err := unix.Stat(own, &b); err == nil && a.Dev == b.Dev && a.Ino == b.Ino {
		return reason("the container's own")
	}
	return nil
}

// climb leaves a root that was made by chroot alone: with another root below
// the working directory, nothing stops "..". A child does it, whose root it is.
func climb() (string, error) {
	if err := os.MkdirAll("/tmp/climb", 0o700); err != nil {
		return "", err
	}
	defer os.Remove("/tmp/climb")
	out, err := exec.Command("/proc/self/exe", "climb").Output()
	if text := strings.TrimSpace(string(out)); err == nil && text != "" {
		err = reason(text)
	}
	return "", err
}

// climbing is that child: it says what stopped it.
func climbing([]string) (string, error) {
	var own, top unix.Stat_t
	for _, err := range []error{unix.Chdir("/"), unix.Stat("/", &own), unix.Chroot("/tmp/climb"), unix.Stat(strings.Repeat("../", 40), &top)} {
		if err != nil {
			return why(err), nil
		}
	}
	if top.Dev == own.Dev && top.Ino == own.Ino {
		return "the top is its own root", nil
	}
	return "", nil
}

// leftOpen looks for a directory among the descriptors.
func leftOpen() (string, error) {
	for fd := 3; fd < 256; fd++ {
		if leadsUp(fd) {
			return fmt.Sprintf("descriptor %d", fd), nil
		}
	}
	return "", reason("none is open")
}

func leadsUp(fd int) bool {
	var top, root unix.Stat_t
	return unix.Fstatat(fd, strings.Repeat("../", 40), &top, 0) == nil && unix.Stat("/", &root) == nil && (top.Dev != root.Dev || top.Ino != root.Ino)
}

// byHandle opens a file by a handle that is none of any file: whoever may do it
// at all could guess one.
func byHandle() (string, error) {
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(root)
	fd, err := unix.OpenByHandleAt(root, unix.NewFileHandle(1, make([]byte, 8)), unix.O_RDONLY)
	if err == nil {
		return "", unix.Close(fd)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil // the file system knows no handles: asked after the permissions
	}
	return "", passed(passed(err, unix.ESTALE), unix.EINVAL)
}

// hostRoot says whether our root is the host's: then files that it leaves in a
// volume are root's there, setuid programs and device nodes too.
func hostRoot() (string, error) {
	text, err := os.ReadFile("/proc/self/uid_map")
	if words := strings.Fields(string(text)); err == nil && (len(words) != 3 || words[1] != "0" || os.Geteuid() != 0) {
		err = reason("uid " + strings.Join(words, " "))
	}
	return "", err
}

// openDisk opens the first that the kernel names and lets be opened; not read.
func openDisk() (string, error) {
	files, _ := filepath.Glob("/sys/class/block/*/dev")
	err := error(errAbsent)
	for _, f := range files {
		var major, minor uint32
		text, _ := os.ReadFile(f)
		fmt.Sscanf(string(text), "%d:%d", &major, &minor)
		if err = openNode(unix.S_IFBLK, major, minor); err == nil {
			return f, nil
		}
	}
	return "", err
}

// openNode makes a device node, opens it, and removes it.
func openNode(kind, major, minor uint32) error {
	const node = "/tmp/node"
	if err := unix.Mknod(node, kind|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return err
	}
	defer os.Remove(node)
	fd, err := unix.Open(node, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// eachHostDevice tries something with each path to a device whose inode is the host's,
// until it works: $HOST_DEVICES has their inodes. Such a device may be among the
// container's own, be a standard file, or mask something.
func eachHostDevice(try func(path string, mode uint32) error) (string, error) {
	paths := []string{"/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"}
	for _, pattern := range []string{"/dev/*", "/host/dev/*", "/proc/*", "/proc/sysrq-trigger", "/sys/*/*"} {
		found, _ := filepath.Glob(pattern)
		paths = append(paths, found...)
	}
	hosts := strings.Fields(os.Getenv("HOST_DEVICES"))
	if len(hosts) == 0 {
		return "", errAbsent
	}
	err := error(reason("none within reach"))
	for _, path := range paths {
		var s unix.Stat_t
		if unix.Stat(path, &s) != nil || !slices.Contains(hosts, fmt.Sprintf("%d:%d", s.Dev, s.Ino)) {
			continue
		}
		if err = try(path, s.Mode); err == nil {
			return path, nil
		}
	}
	return "", err
}

func mountSomething() (string, error) {
	if err := os.MkdirAll("/tmp/mount", 0o700); err != nil {
		return "", err
	}
	defer os.Remove("/tmp/mount")
	if err := unix.Mount("probe", "/tmp/mount", "tmpfs", 0, ""); err != nil {
		return "", err
	}
	return "", unix.Unmount("/tmp/mount", 0)
}

func bpfMap() (string, error) {
	attributes := struct{ kind, key, value, entries, _, _, _, _ uint32 }{2, 4, 4, 1, 0, 0, 0, 0} // BPF_MAP_TYPE_ARRAY
	fd, _, errno := unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
	return "", closed(fd, errno)
}

// perf counts our own page faults, outside the kernel.
func perf() (string, error) {
	attributes := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_PAGE_FAULTS,
		Bits: unix.PerfBitDisabled | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv}
	attributes.Size = uint32(unsafe.Sizeof(attributes))
	fd, err := unix.PerfEventOpen(&attributes, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

// userNamespace starts a child in one.
func userNamespace() (string, error) {
	cmd := exec.Command("/proc/self/exe", "id")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}}
	return "", cmd.Run()
}

// setuid makes a copy of the probe that is root's and setuid, and has an
// ordinary user execute it.
func setuid() (string, error) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	const path = "/tmp/setuid"
	defer os.Remove(path)
	if err := errors.Join(os.WriteFile(path, program, 0o755), os.Chmod(path, 0o755|os.ModeSetuid), os.Chmod("/tmp", 0o755)); err != nil {
		return "", err
	}
	cmd := exec.Command(path, "--as-root")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := cmd.Output()
	if err == nil && strings.TrimSpace(string(out)) != "0" {
		err = reason("is user " + strings.TrimSpace(string(out)))
	}
	return "", err
}

// openForWriting opens the first of the files that there is, and writes nothing.
func openForWriting(paths ...string) func() (string, error) {
	return func() (string, error) {
		for _, path := range paths {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				return path, f.Close()
			}
			if !errors.Is(err, unix.ENOENT) {
				return "", err
			}
		}
		return "", errAbsent
	}
}

func readSome(path string) func() (string, error) {
	return func() (string, error) {
		f, err := os.Open(path)
		if errors.Is(err, unix.ENOENT) {
			return "", errAbsent
		}
		if err != nil {
			return "", err
		}
		defer f.Close()
		if _, err := f.Read(make([]byte, 1)); err == io.EOF {
			return "", reason("empty")
		} else if err != nil {
			return "", err
		}
		return "", nil
	}
}

func foreignDevices() (string, error) {
	list, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range list {
		if i.Flags&net.FlagLoopback == 0 {
			return i.Name, nil
		}
	}
	return "", reason("only lo")
}

// connectTCP connects to the first that listens.
func connectTCP() (string, error) {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return "", err
	}
	const listening = "0A"
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[3] != listening {
			continue
		}
		_, hex, _ := strings.Cut(words[1], ":")
		port, _ := strconv.ParseUint(hex, 16, 16)
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return c.RemoteAddr().String(), c.Close()
		}
	}
	return "", reason("nobody listens")
}

// connectAbstract connects to the first abstract socket that takes it.
func connectAbstract() (string, error) {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if name := words[len(words)-1]; strings.HasPrefix(name, "@") {
			if c, err := net.Dial("unix", name); err == nil {
				return name, c.Close()
			}
		}
	}
	return "", reason("there is none")
}

func sameFlags() (string, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return "", err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, r); err != nil {
		return "", err
	}
	return "lo", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

func socket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// unlimited looks at a limit of our cgroup.
func unlimited(file string) func() (string, error) {
	return func() (string, error) {
		text, err := os.ReadFile("/sys/fs/cgroup/" + file)
		limit := strings.TrimSpace(string(text))
		if err != nil || strings.HasPrefix(limit, "max") {
			return "no limit", nil
		}
		return "", reason("limit " + limit)
	}
}

func ioctlPointer(fd int, request uint, p *byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(p)))
	if errno != 0 {
		return errno
	}
	return nil
}
