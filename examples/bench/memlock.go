package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is about one old habit. Until Linux 5.11 the memory of BPF programs
// counted as locked, so crun (1.8 and others) raises RLIMIT_MEMLOCK before it
// loads a device filter, and gives up if it may not: as root without
// CAP_SYS_RESOURCE, which is common in containers and sandboxes. Newer kernels
// do not need the limit. There we let everybody believe that it was raised.

// pretendMemlock lets all programs started from now on set RLIMIT_MEMLOCK to
// any value, without effect. All candidates pay for the filter alike: below
// 0.1 µs per system call. It does nothing where the right is there.
func pretendMemlock() error {
	if mayRaiseLimits() {
		return nil
	}
	const resource, newLimit = 16 + 1*8, 16 + 2*8 // of struct seccomp_data: args[1], args[2]
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PRLIMIT64, Jf: 5},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: resource},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.RLIMIT_MEMLOCK, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: newLimit}, // lower half of a pointer; NULL only asks
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO}, // errno 0: success
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// mayRaiseLimits says whether this process has CAP_SYS_RESOURCE.
func mayRaiseLimits() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	return err == nil && sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}
