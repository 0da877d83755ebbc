// Package devices limits which device files a container may open.
//
// A device file names a device by its kind (block or character) and two numbers,
// major and minor. Whoever may open one gets to the device itself: to a disk, for
// example, below all permissions of its files. In cgroup v2 no control file says
// which devices a group may use. Instead the kernel runs a small eBPF program that
// is attached to the group, each time a process of the group makes or opens a
// device file:
//
//	struct bpf_cgroup_dev_ctx {
//		__u32 access_type;  // what it wants to do << 16 | character or block
//		__u32 major;
//		__u32 minor;
//	};
//
// The program returns 1 to allow it, or 0 for EPERM. This package writes that
// program from linux.resources.devices. It starts from "nothing is allowed", so a
// device that the spec forgets stays denied.
//
//	devices.go   the rules of the spec become one list of exceptions
//	program.go   the list becomes an eBPF program
//	without.go   what becomes of the rules of a container without a cgroup
//
// [New] reads the rules, [Filter.Record] records the steps that load the program
// and attach it to the group. Every container that the host's root makes has a
// filter, with a user namespace of its own or without, unless its caller wants no
// cgroup ([Filter.Without]). If minirunc itself runs in a
// user namespace, as for an ordinary user, it cannot load one, and none is needed:
// nobody can make device files there.
//
// Left out: changing the rules of a running container.
//
// Kernel: Linux 4.15. Man page: [bpf(2)], BPF_PROG_TYPE_CGROUP_DEVICE.
//
// [bpf(2)]: https://man7.org/linux/man-pages/man2/bpf.2.html
package devices
