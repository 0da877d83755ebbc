// Entry prints what it finds as it begins: is its program on a read-only mount,
// how many threads may it use, its command line; and what ps shows of it.
package main

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	_ "minirun/container"
)

func main() {
	if os.Getenv("REFUSE") != "" {
		refuse()
	}
	var mount unix.Statfs_t
	if err := unix.Statfs("/proc/self/exe", &mount); err != nil {
		fmt.Println(err)
	}
	fmt.Println(mount.Flags&unix.ST_RDONLY != 0, os.Getenv("GOMAXPROCS"), os.Getenv("LAST"), os.Getenv("FIRST"), os.Args[1:])
	for _, file := range []string{"comm", "cmdline", "environ"} {
		text, err := os.ReadFile("/proc/self/" + file)
		fmt.Println(file, strings.Fields(strings.ReplaceAll(string(text), "\x00", " ")), err)
	}
}

// refuse executes the program again, as create, where prctl(PR_SET_MM) is refused.
func refuse() {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PRCTL, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // the first argument
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PR_SET_MM, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		fmt.Println("seccomp:", errno)
	}
	fmt.Println(unix.Exec("/proc/self/exe", []string{os.Args[0], "create"}, []string{"FIRST=x", "LAST=last"}))
}
