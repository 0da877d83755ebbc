package rootfs

import (
	"maps"
	"slices"
)

// MountOptions are the options of a mount that we know, sorted; any other is
// handed on to the file system.
func MountOptions() []string {
	list := []string{"bind", "rbind", "idmap", "ridmap", "tmpcopyup"}
	list = append(list, superblock...)
	list = append(list, ignored...)
	list = slices.AppendSeq(list, maps.Keys(propagations))
	for name := range attributes {
		list = append(list, name, "r"+name) // for the mount, and for those below it, too
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// superblock are those that the kernel takes for every file system.
var superblock = []string{"sync", "dirsync", "lazytime"}
