#!/bin/sh -e
mkdir -m 755 '/tmp/a b'
#   (no command) openat(AT_FDCWD, "/sys/fs/cgroup/x", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = <cgroup>
# the process
echo $$ > /sys/fs/cgroup/x/cgroup.procs
unshare --pid --mount --fork sh -e /dev/fd/3 3<<'END_OF_CHILD'   # clone3({flags=CLONE_PIDFD|CLONE_NEWNS|CLONE_NEWPID|CLONE_CLEAR_SIGHAND|CLONE_INTO_CGROUP, exit_signal=SIGCHLD, cgroup=<cgroup>}, 88)
# close the inherited copy of the runtime's socket, so that this process notices if the runtime dies
#   (no command) close(<runtime's end>)
#   (no command) sendto(<channel>, "maps", 40, MSG_NOSIGNAL, NULL, 0)
#   (no command) write 0 1000 1 to /proc/PID/uid_map
#   (no command) read(<channel>, [go], 1)
mount -t proc -o hidepid=2,nosuid,nodev proc /proc
#   (no command) fsopen("tmpfs", FSOPEN_CLOEXEC) = <fs>
#   (no command) fsconfig(<fs>, FSCONFIG_SET_STRING, "size", "64k", 0)
#   (no command) fsconfig(<fs>, FSCONFIG_SET_FLAG, "ro", NULL, 0)
#   (no command) fsconfig(<fs>, FSCONFIG_CMD_CREATE, NULL, NULL, 0)
#   (no command) fsmount(<fs>, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID) = <tree>
#   (no command) mount_setattr(<tree>, "", AT_EMPTY_PATH|AT_RECURSIVE, {attr_set=MOUNT_ATTR_RDONLY, attr_clr=0, propagation=MS_PRIVATE, userns_fd=0}, 32)
#   (no command) openat2(AT_FDCWD, "proc/acpi", {flags=O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = <dir>
#   (no command) openat2(AT_FDCWD, "proc/acpi", {flags=O_RDONLY|O_CLOEXEC|O_PATH, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = <file>
[ ! -d proc/acpi ] || mount -t tmpfs -o nosuid,ro,size=64k tmpfs proc/acpi
# a shell has no mount that is attached nowhere: what is mounted below this one stays on the host
[ "$(stat -L -c %t:%T /dev/null)" = 1:3 ]
mknod -m 666 null c 1 3
ln -s /proc/self/fd fd 2>/dev/null || :
#   (no command) capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_CHOWN|1<<CAP_KILL, permitted=1<<CAP_KILL, inheritable=0})
#   (no command) prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)
#   (no command) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0)
#   (no command) setgroups(2, [5, 6])
#   (no command) prlimit64(0, RLIMIT_NOFILE, {rlim_cur=1024, rlim_max=RLIM64_INFINITY}, NULL)
#   (no command) seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, {len=3, filter=[...]})
#   (no command) close_range(3, <channel>-1, 0)
#   (no command) close_range(<channel>+1, ~0U, 0)
#   (no command) sendto(<channel>, "ready", 40, MSG_NOSIGNAL, NULL, 0)
#   (no command) rt_sigprocmask(SIG_SETMASK, [], NULL, 8)
exec env -i 'A=b c' echo 'it'\''s	a"x"'
END_OF_CHILD
