// Package container is the life of a container: a spec becomes a plan, the
// plan becomes a process, and the process ends.
//
// A container has no object in the kernel. It is a process in namespaces and
// in a cgroup; what else one needs to know of it (which process, which group,
// from which bundle) is written down in a directory of its own:
//
//	/run/minirun/<id>/            0700, also the lock (flock on the directory)
//	  state.json                  who and where; replaced by rename
//	  config.json                 as it was when the container was made
//	  exec.fifo                   between create and start
//	  exit                        how it ended, if somebody waited
//
// The life, after the runtime-spec (runtime.md, Lifecycle):
//
//	Create   the directory, the cgroup, the plan; the child waits on exec.fifo
//	Start    one byte into exec.fifo; the child becomes the program
//	Run      both at once, without the wait
//	Exec     one more process in the same namespaces and cgroup
//	Kill     a signal, to a process that is certainly the container's
//	Delete   what is left: the cgroup, the directory
//
// State is never trusted further than it can be checked: a process counts as
// the container's only if its start time is the recorded one, since process
// ids are used again.
//
// Left out: images and names (package bundle), checkpoint and restore.
//
// Kernel: Linux 5.14, cgroup v2. Sources: the runtime-spec's runtime.md and
// config.md; [pidfd_open(2)], [fifo(7)], [flock(2)].
//
// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
// [fifo(7)]: https://man7.org/linux/man-pages/man7/fifo.7.html
// [flock(2)]: https://man7.org/linux/man-pages/man2/flock.2.html
package container
