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
//	  exit                        how it ended, if a monitor waited for it
//	  notify/                     the socket for READY=1, if a service manager asked
//
// The life, after the runtime-spec (runtime.md, Lifecycle), and where to read it:
//
//	New     create.go  plan(): the table of contents of the whole program
//	        check.go   check(): every room looks at its part of the spec
//	        clone.go   how the process comes into being: by the runtime or by a monitor
//	        run.go     what the plan is given, running it, and what is reported
//	Start   start.go   one byte into exec.fifo; the child becomes the program. New does
//	                   both at once if nobody is to wait
//	Exec    exec.go    one more process in the same namespaces and cgroup, also a hook
//	Kill    kill.go    a signal, to a process that is certainly the container's
//	Delete  kill.go    what is left goes: the cgroup, the directory
//
//	state.go           what is written down, and what of it is true now (Status)
//	root.go            the directory of states: find, lock, list
//	identity.go        who a process is, the first one or one that exec adds
//	facts.go           what must be known of the machine to write a plan
//
// The commands are in cmd/minirunc: each reads its flags and calls one of these.
// Signals to a foreground run, such as SIGTERM, are passed on there (signals.go).
//
// State is never trusted further than it can be checked: a process counts as the
// container's only if its start time is the recorded one, since process ids are
// used again (package pidfd).
//
// What only some containers have, or not only containers need, is in the rooms below:
//
//	config       reading config.json        exit         how a container ended
//	hooks        programs at six points     events       statistics, out of memory
//	listener     answers for seccomp        update       new limits
//	notify       READY=1 (sd_notify)        freezer      pause and resume
//	descriptors  more open files            processes    which ones are a container's
//	sockets      passing open files         procfs       reading /proc
//	users        /etc/passwd in the root    pidfd        holding on to a process
//	files        whole, and to be trusted   features     what a spec can ask for
//	failure      words for what failed      protect      our own program, from containers
//	bundle       minirun only: an image and flags become a bundle
//
// Left out: checkpoint and restore.
//
// Kernel: Linux 5.14, cgroup v2. Sources: the runtime-spec's runtime.md and
// config.md; [pidfd_open(2)], [fifo(7)], [flock(2)].
//
// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
// [fifo(7)]: https://man7.org/linux/man-pages/man7/fifo.7.html
// [flock(2)]: https://man7.org/linux/man-pages/man2/flock.2.html
package container
