/* same.c: a container in plain C.
 *
 *     same ROOTFS CGROUP PROGRAM [ARGUMENT...]
 *
 * makes the system calls that minirunc's plan of the bench's bundle lists, each
 * as often (same_test.go compares them), and nothing else: no JSON, no state, no
 * choice. It is what the kernel's share of a container costs, and so what a
 * runtime is measured against. Read it beside `minirunc plan`: a line here is a
 * line there.
 *
 *     ROOTFS   directory that becomes the container's root, with proc, dev and sys in it
 *     CGROUP   directory below a cgroup2 mount; made, and removed at the end
 *     PROGRAM  path in the container; its exit status is ours
 *
 * Needs root and Linux 5.14. CALL and TRY take a system call by the name and
 * with the arguments of its man page (section 2). Descriptors are not closed one
 * by one: close_range(2) closes all of them before the program starts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MNT_DETACH 2 /* from <sys/mount.h>, which older C libraries do not let live beside <linux/mount.h> */
#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* CALL makes a system call that must succeed; TRY one that may fail with one errno. */
#define CALL(name, ...) check(#name, syscall(SYS_##name, ##__VA_ARGS__), 0)
#define TRY(tolerated, name, ...) check(#name, syscall(SYS_##name, ##__VA_ARGS__), tolerated)

static long check(const char *name, long result, int tolerated) {
	if (result < 0 && errno != tolerated) {
		fprintf(stderr, "same: %s: %s\n", name, strerror(errno));
		_exit(125);
	}
	return result;
}

/* ---- The runtime: a cgroup, its device filter, a process. ---- */

/* What a device rule allows: reading, writing, making the device file. */
enum { R = BPF_DEVCG_ACC_READ, W = BPF_DEVCG_ACC_WRITE, M = BPF_DEVCG_ACC_MKNOD, ANY = -1 };

/* The spec denies every device; these are what every container has all the same. */
static const struct rule {
	int type, access, major, minor;
} rules[] = {
	{BPF_DEVCG_DEV_CHAR, M, ANY, ANY},        /* a device file alone opens nothing */
	{BPF_DEVCG_DEV_BLOCK, M, ANY, ANY},
	{BPF_DEVCG_DEV_CHAR, R | W | M, 1, 3},    /* null */
	{BPF_DEVCG_DEV_CHAR, R | W | M, 1, 5},    /* zero */
	{BPF_DEVCG_DEV_CHAR, R | W | M, 1, 7},    /* full */
	{BPF_DEVCG_DEV_CHAR, R | W | M, 1, 8},    /* random */
	{BPF_DEVCG_DEV_CHAR, R | W | M, 1, 9},    /* urandom */
	{BPF_DEVCG_DEV_CHAR, R | W | M, 5, 0},    /* tty */
	{BPF_DEVCG_DEV_CHAR, R | W | M, 5, 2},    /* ptmx */
	{BPF_DEVCG_DEV_CHAR, R | W | M, 136, ANY}, /* pts */
};

#define INSN(...) (code[n++] = (struct bpf_insn){__VA_ARGS__})
/* Skip what is left of the rule: `left` more instructions. */
#define UNLESS(reg, value, left) INSN(BPF_JMP | BPF_JNE | BPF_K, reg, 0, left, value)

/* device_filter writes the rules as a BPF program: 1 allows, 0 is EPERM. It
 * keeps type, access, major and minor in registers 2 to 5. */
static int device_filter(struct bpf_insn *code) {
	int n = 0;
	INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);         /* r2 = access_type */
	INSN(BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0);         /* r3 = r2 */
	INSN(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);    /* r2: type in the lower half */
	INSN(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);        /* r3: access in the upper */
	INSN(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);         /* r4 = major */
	INSN(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);         /* r5 = minor */
	for (const struct rule *r = rules; r < rules + LENGTH(rules); r++) {
		int left = 5 + (r->major != ANY) + (r->minor != ANY);
		UNLESS(2, r->type, left--);
		INSN(BPF_ALU | BPF_MOV | BPF_X, 6, 3, 0, 0);
		INSN(BPF_ALU | BPF_AND | BPF_K, 6, 0, 0, ~r->access & 7);
		UNLESS(6, 0, left - 2), left -= 3;
		if (r->major != ANY)
			UNLESS(4, r->major, left--);
		if (r->minor != ANY)
			UNLESS(5, r->minor, left--);
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static void filter_devices(int cgroup) {
	struct bpf_insn code[8 + 8 * LENGTH(rules)];
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (unsigned long)code,
		.insn_cnt = device_filter(code),
		.license = (unsigned long)"Apache",
	};
	int program = CALL(bpf, BPF_PROG_LOAD, &load, sizeof load);
	union bpf_attr attach = {
		.target_fd = cgroup,
		.attach_bpf_fd = program,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI, /* those of the groups above count, too */
	};
	CALL(bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
}

/* ---- The child: a view of the file system. ---- */

static int root; /* the container's root directory: every path below is opened from it */

/* open_in opens a path as the container will see it: no link and no ".."
 * leads out of root. */
static int open_in(const char *path, int flags, int tolerated) {
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	return TRY(tolerated, openat2, root, path, &how, sizeof how);
}

static void attach(int tree, int target) {
	CALL(move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static void set_attributes(int tree, int flags, __u64 set) {
	struct mount_attr a = {.attr_set = set};
	CALL(mount_setattr, tree, "", AT_EMPTY_PATH | flags, &a, sizeof a);
}

/* open_root makes the directory a mount: pivot_root wants one. */
static void open_root(const char *path) {
	/* slave first: else what we mount would appear on the host, too */
	CALL(mount, NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
	int dir = CALL(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	root = CALL(open_tree, dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
	attach(root, dir);
}

/* new_fs makes a file system that is mounted nowhere yet. options is a list of
 * key, value, key, value, NULL. */
static int new_fs(const char *type, const char *const options[], __u64 attributes) {
	int fs = CALL(fsopen, type, FSOPEN_CLOEXEC);
	for (int i = 0; options[i]; i += 2)
		CALL(fsconfig, fs, options[i + 1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, options[i], options[i + 1], 0);
	CALL(fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	return CALL(fsmount, fs, FSMOUNT_CLOEXEC, attributes);
}

/* mount_on makes the mount point name in the directory parent, unless parent is
 * -1 (in sysfs nothing can be made), and mounts the new file system on it. */
static int mount_on(int parent, const char *name, const char *path, int tree) {
	if (parent >= 0)
		TRY(EEXIST, mkdirat, parent, name, 0755);
	attach(tree, open_in(path, O_PATH | O_DIRECTORY, 0));
	return tree;
}

#define OPTIONS(...) (const char *const[]){__VA_ARGS__, NULL}
#define NOSUID MOUNT_ATTR_NOSUID
#define NODEV MOUNT_ATTR_NODEV
#define NOEXEC MOUNT_ATTR_NOEXEC
#define RDONLY MOUNT_ATTR_RDONLY

/* mount_all mounts what the spec lists, and returns the new /dev. */
static int mount_all(void) {
	mount_on(root, "proc", "proc", new_fs("proc", OPTIONS("source", "proc"), 0));
	int dev = mount_on(root, "dev", "dev", new_fs("tmpfs",
		OPTIONS("source", "tmpfs", "mode", "755", "size", "65536k"), NOSUID | MOUNT_ATTR_STRICTATIME));
	mount_on(dev, "pts", "dev/pts", new_fs("devpts",
		OPTIONS("source", "devpts", "newinstance", NULL, "ptmxmode", "0666", "mode", "0620", "gid", "5"), NOSUID | NOEXEC));
	mount_on(dev, "shm", "dev/shm", new_fs("tmpfs",
		OPTIONS("source", "shm", "mode", "1777", "size", "65536k"), NOSUID | NOEXEC | NODEV));
	mount_on(dev, "mqueue", "dev/mqueue", new_fs("mqueue", OPTIONS("source", "mqueue"), NOSUID | NOEXEC | NODEV));
	mount_on(root, "sys", "sys", new_fs("sysfs", OPTIONS("source", "sysfs"), NOSUID | NOEXEC | NODEV | RDONLY));
	mount_on(-1, NULL, "sys/fs/cgroup", new_fs("cgroup2", OPTIONS("source", "cgroup"), NOSUID | NOEXEC | NODEV | RDONLY));
	return dev;
}

static void make_devices(int dev) {
	CALL(mknodat, dev, "null", S_IFCHR | 0666, makedev(1, 3));
	CALL(mknodat, dev, "zero", S_IFCHR | 0666, makedev(1, 5));
	CALL(mknodat, dev, "full", S_IFCHR | 0666, makedev(1, 7));
	CALL(mknodat, dev, "random", S_IFCHR | 0666, makedev(1, 8));
	CALL(mknodat, dev, "urandom", S_IFCHR | 0666, makedev(1, 9));
	CALL(mknodat, dev, "tty", S_IFCHR | 0666, makedev(5, 0));
	CALL(symlinkat, "/proc/self/fd", dev, "fd");
	CALL(symlinkat, "/proc/self/fd/0", dev, "stdin");
	CALL(symlinkat, "/proc/self/fd/1", dev, "stdout");
	CALL(symlinkat, "/proc/self/fd/2", dev, "stderr");
	CALL(symlinkat, "pts/ptmx", dev, "ptmx");
}

static const char *const masked[] = {
	"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
	"proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
};
static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};

/* find is open_in for what may not be there: -1 then. */
static int find(const char *path, int flags) {
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return -1;
	return check("openat2", fd, 0);
}

/* open_null opens the container's null device, and makes sure that it is one. */
static int open_null(int dev, int flags) {
	struct statx seen;
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int null = CALL(openat2, dev, "null", &how, sizeof how);
	CALL(statx, null, "", AT_EMPTY_PATH, STATX_TYPE, &seen);
	if (!S_ISCHR(seen.stx_mode) || seen.stx_rdev_major != 1 || seen.stx_rdev_minor != 3) {
		errno = ENODEV;
		check("statx null", -1, 0);
	}
	return null;
}

/* own_stdio puts the container's null device in the place of the host's: through
 * that, root in the container could change the mode of the host's file. */
static void own_stdio(int dev) {
	struct stat seen;
	for (int fd = 0; fd <= 2; fd++) {
		CALL(fstat, fd, &seen);
		if (S_ISCHR(seen.st_mode) && seen.st_rdev == makedev(1, 3))
			CALL(dup3, open_null(dev, O_RDWR), fd, 0);
	}
}

/* mask covers a directory with a copy of an empty tmpfs, a file with one of the null
 * device, read-only. What does not exist needs no cover. A mount that is attached
 * nowhere can be copied since Linux 6.15. */
static void mask(const char *path, int null, int empty) {
	int target = find(path, O_PATH | O_DIRECTORY);
	if (target >= 0) {
		attach(CALL(open_tree, empty, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH), target);
		return;
	}
	target = find(path, O_PATH);
	if (target < 0)
		return;
	int cover = CALL(open_tree, null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	set_attributes(cover, 0, RDONLY);
	attach(cover, target);
}

/* make_readonly mounts a path on itself, read-only. */
static void make_readonly(const char *path) {
	int target = find(path, O_PATH);
	if (target < 0)
		return;
	int tree = CALL(open_tree, target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
	set_attributes(tree, AT_RECURSIVE, RDONLY);
	attach(tree, target);
}

static void hide(int dev) {
	int null = open_null(dev, O_PATH);
	int empty = new_fs("tmpfs", OPTIONS("nr_inodes", "2"), RDONLY | NOSUID | NODEV | NOEXEC);
	for (unsigned i = 0; i < LENGTH(masked); i++)
		mask(masked[i], null, empty);
	for (unsigned i = 0; i < LENGTH(readonly); i++)
		make_readonly(readonly[i]);
	set_attributes(root, 0, RDONLY); /* last: nothing can be made in the root after it */
}

/* enter_root changes the root directory. The old one then lies on top of the
 * new one, and is detached: with it goes every mount of the host. */
static void enter_root(void) {
	CALL(fchdir, root);
	CALL(pivot_root, ".", ".");
	CALL(umount2, ".", MNT_DETACH);
	CALL(chdir, "/");
}

/* ---- The child: who the process is. ---- */

#define BIT(capability) (1u << (capability))
#define KEPT (BIT(CAP_AUDIT_WRITE) | BIT(CAP_KILL) | BIT(CAP_NET_BIND_SERVICE)) /* all below 32 */

static void become_somebody(void) {
	struct rlimit files = {1024, 1024};
	CALL(prlimit64, 0, RLIMIT_NOFILE, &files, NULL);
	for (int c = 0; c <= CAP_LAST_CAP; c++) /* EINVAL: the kernel is older than the header */
		if (c > 31 || !(KEPT & BIT(c)))
			TRY(EINVAL, prctl, PR_CAPBSET_DROP, c, 0, 0, 0);
	CALL(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0); /* else another user would lose all of them */
	CALL(setgroups, 0, NULL);
	CALL(setresgid, 0, 0, 0);
	CALL(setresuid, 0, 0, 0);
	TRY(ENOSYS, keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL); /* the caller's keys stay the caller's */
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[2] = {{.effective = KEPT, .permitted = KEPT}};
	CALL(capset, &header, sets);
	CALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	CALL(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	CALL(umask, 022);
}

/* loopback_up starts the one device that a new network namespace has. */
static void loopback_up(void) {
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int s = CALL(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CALL(ioctl, s, SIOCSIFFLAGS, &lo);
	CALL(close, s);
}

/* The child's whole plan. */
static void child(const char *rootfs, char **argv, const int *pair) {
	int channel = pair[1];
	CALL(close, pair[0]); /* the runtime's end */
	CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0); /* until execve nobody may look into the copy of the runtime */
	CALL(setsid);
	CALL(sethostname, "bench", 5);
	loopback_up();
	open_root(rootfs);
	CALL(umask, 0); /* files get exactly the modes given here */
	int dev = mount_all();
	make_devices(dev);
	own_stdio(dev);
	hide(dev);
	enter_root();
	become_somebody();
	CALL(sendto, channel, "ready", 5, MSG_NOSIGNAL, NULL, 0);
	CALL(close_range, 3, channel - 1, 0); /* the channel itself closes at execve */
	CALL(close_range, channel + 1, ~0U, 0);
	sigset_t none;
	sigemptyset(&none);
	CALL(rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
	char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL};
	CALL(execve, argv[0], argv, env);
}

/* ---- The whole. ---- */

/* start clones the child into its namespaces and its cgroup. */
static pid_t start(int cgroup, const char *rootfs, char **argv, const int *pair) {
	int pidfd;
	struct clone_args a = {
		.flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP |
			CLONE_INTO_CGROUP | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup,
		.pidfd = (unsigned long)&pidfd,
	};
	sigset_t all, old;
	sigfillset(&all);
	CALL(rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	pid_t pid = CALL(clone3, &a, sizeof a);
	if (pid == 0)
		child(rootfs, argv, pair);
	CALL(rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
	return pid;
}

/* wait_for returns the exit status of the child in the shell's way. */
static int wait_for(pid_t pid) {
	int status;
	CALL(wait4, pid, &status, 0, NULL);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
	if (argc < 4) {
		fprintf(stderr, "usage: same ROOTFS CGROUP PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	CALL(mkdirat, AT_FDCWD, argv[2], 0755);
	int cgroup = CALL(openat, AT_FDCWD, argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	CALL(setxattr, argv[2], "trusted.minirun", "00000000000000000000000000000000", 32, 0); /* whose group it is */
	filter_devices(cgroup);
	int pair[2];
	char message[16];
	CALL(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
	pid_t pid = start(cgroup, argv[1], argv + 3, pair);
	CALL(close, pair[1]);
	CALL(read, pair[0], message, sizeof message); /* "ready" */
	CALL(read, pair[0], message, sizeof message); /* end of file: execve happened, or the child said why not */
	int status = wait_for(pid);
	CALL(unlinkat, AT_FDCWD, argv[2], AT_REMOVEDIR);
	return status;
}
