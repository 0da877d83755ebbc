package print

// An explanation is a sentence about something that appears in many plans. It is
// printed above the first step whose notation contains text.
var explanations = [...]struct{ text, name, sentence string }{
	{"CLONE_NEWUSER", "CLONE_NEWUSER", "a new user namespace: root inside is an ordinary user outside (user_namespaces(7))"},
	{"CLONE_NEWPID", "CLONE_NEWPID", "a new pid namespace: the new process is number 1, and sees only its own descendants"},
	{"CLONE_NEWNS", "CLONE_NEWNS", "a new mount namespace: a copy of the host's mounts, which it may change without the host seeing it"},
	{"CLONE_NEWNET", "CLONE_NEWNET", "a new network namespace: no devices but a loopback device, no addresses, no routes"},
	{"CLONE_NEWIPC", "CLONE_NEWIPC", "a new ipc namespace: its own System V and POSIX message queues, semaphores and shared memory"},
	{"CLONE_NEWUTS", "CLONE_NEWUTS", "a new uts namespace: its own host name"},
	{"CLONE_NEWCGROUP", "CLONE_NEWCGROUP", "a new cgroup namespace: its own cgroup looks like the root of the hierarchy"},
	{"CLONE_NEWTIME", "CLONE_NEWTIME", "a new time namespace: its own boot and monotonic clocks"},
	{"CLONE_INTO_CGROUP", "CLONE_INTO_CGROUP", "the process is born in the container's cgroup, so that no moment of it is outside the limits"},
	{"CLONE_PIDFD", "CLONE_PIDFD", "the runtime gets a descriptor of the process, which can never mean another process, as a number can"},
	{"CLONE_PARENT", "CLONE_PARENT", "the runtime becomes the parent of the new process, not the process that makes this call"},
	{"CLONE_CLEAR_SIGHAND", "CLONE_CLEAR_SIGHAND", "the new process has no signal handlers: the runtime's are Go's, and Go does not run there"},
	{"<channel>", "<channel>", "a socket to the runtime: over it the child asks for what only the runtime can do, and reports failures; execve closes it"},
	{`fsopen("proc"`, "/proc", "shows the processes of a pid namespace: that of whoever mounts it, so it is mounted by the child; before pivot_root, because in a user namespace the kernel allows a new /proc only where a whole one is still visible"},
	{`fsopen("sysfs"`, "/sys", "shows the kernel's devices and settings: of the network devices, those of the network namespace of whoever mounts it; read-only, because the settings are the host's"},
	{`fsopen("cgroup2"`, "/sys/fs/cgroup", "shows the container's own cgroup and those below"},
	{"= </dev>", "/dev", "holds device nodes; the container gets a small one of its own, because the host's would give it the host's disks"},
	{`fsopen("devpts"`, "/dev/pts", "holds terminals; an instance of its own, so that the host's terminals are not in it"},
	{`fsopen("mqueue"`, "/dev/mqueue", "shows the POSIX message queues of the ipc namespace"},
	{"= </dev/shm>", "/dev/shm", "holds POSIX shared memory: files that are in memory only"},
	{`mount("overlay"`, "overlay", "stacks read-only directories, the layers of the image, below one that takes all changes"},
	{"PR_CAPBSET_DROP", "capabilities", "root's power in about 40 parts (capabilities(7)); what is dropped from the bounding set here no program can regain"},
}
