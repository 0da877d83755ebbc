// Bench measures minirunc, and minirun, beside other ways to start a container.
//
//	make bench
//	go run ./examples/bench [-n ROUNDS] [-only NAMES] [-cache STATES] [-o bench.svg] [-json FILE]
//
// Needs root, gcc and cgroup v2. It measures minirunc ($MINIRUNC, else ./minirunc),
// minirun ($MINIRUN, else ./minirun), what is installed of crun ($CRUN: another one),
// runc and bubblewrap, and a C program (c/same.c) that makes the same system calls
// as minirunc and nothing else:
//
//	run       run /bin/true from a bundle, the same one for all
//	create    create, start, delete
//	exec      exec /bin/true in a running container
//	state     the state of a running container
//	version   --version: what starting the runtime's own program costs
//	image     run /bin/true from an image by minirun; for crun there is a bundle
//	limits    the smallest memory.max and pids.max under which /bin/true runs
//	detached  what a detached container adds in memory, and a hundred of them;
//	          ps, tree, ns and state beside a hundred
//	beside    state, exec and start beside 0, 10 and 300 other containers
//
// limits needs the memory and pids controllers in cgroup v2. Where the machine
// has none to give, a kernel of our own has (timings mean nothing there):
//
//	go build -o bench ./examples/bench
//	examples/kernel/run -- ./bench -only limits -o ''
//
// Only ratios within one operation mean anything: all candidates run once per
// round, in rotated order, so that what disturbs one disturbs all. The median
// of each is printed next to the project's budgets. All programs are copies, in the
// same state of the page cache: all just written, and then all read from the disk
// (cache.go). A budget that is exceeded is
// information, not a failure; the exit status is 1 only if something did not run.
//
// Everything happens in a house of its own (house.go): private mounts with a
// pure cgroup v2 tree, private process ids, a private network. When the house
// ends, so does everything in it.
//
// What the rows do not share: bubblewrap has no cgroup, device filter or masked
// paths, and keeps no state; the C program keeps no state; crun, runc and
// minirunc write down who runs and clean up after it.
//
// Man pages: [pid_namespaces(7)], [mount_namespaces(7)], [cgroups(7)]; PSS is
// in [proc_pid_smaps(5)].
//
// [pid_namespaces(7)]: https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
// [mount_namespaces(7)]: https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
// [proc_pid_smaps(5)]: https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html
package main
