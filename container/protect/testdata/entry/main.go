// Entry prints what it finds as it begins: is its program on a read-only mount,
// how many threads does it use at once, its variables, and its command line.
package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"minirun/container/protect"
)

func main() {
	protect.Restore()
	var mount unix.Statfs_t
	if err := unix.Statfs("/proc/self/exe", &mount); err != nil {
		fmt.Println(err)
	}
	fmt.Println(mount.Flags&unix.ST_RDONLY != 0, runtime.GOMAXPROCS(0), os.Environ(), os.Args[1:])
}
