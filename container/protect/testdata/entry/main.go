// Entry prints what it finds as it begins: is its program on a read-only mount,
// how many threads may it use, and its command line.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	_ "minirun/container/protect"
)

func main() {
	var mount unix.Statfs_t
	if err := unix.Statfs("/proc/self/exe", &mount); err != nil {
		fmt.Println(err)
	}
	fmt.Println(mount.Flags&unix.ST_RDONLY != 0, os.Getenv("GOMAXPROCS"), os.Getenv("LAST"), os.Getenv("FIRST"), os.Args[1:])
}
