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
//	New     create.go  the directory, the cgroup, the plan; plan() there is the table of
//	                   contents of the whole program
//	        clone.go   how the process comes into being: by the runtime or by a monitor
//	        run.go     what the plan is given, running it, and what is reported
//	Start   start.go   one byte into exec.fifo; the child becomes the program. New does
//	                   both at once if nobody is to wait
//	Exec    exec.go    one more process in the same namespaces and cgroup
//	Kill    kill.go    a signal, to a process that is certainly the container's
//	Delete  kill.go    what is left goes: the cgroup, the directory
//
//	state.go           what is written down, and what of it is true now (Status)
//	root.go            the directory of states: find, lock, list
//	exit.go            how a container ended
//	facts.go           what must be known of the machine to write a plan
//
// The commands are in cmd/minirunc: each reads its flags and calls one of these.
// Signals to a foreground run, such as SIGTERM, are passed on there (signals.go).
//
// State is never trusted further than it can be checked: a process counts as the
// container's only if its start time is the recorded one, since process ids are
// used again (package pidfd).
//
// What only some containers have is in the rooms below: config (reading
// config.json), hooks, listener (seccomp), notify, descriptors (passed on), sockets
// (passing files), events, update, freezer (pause), processes, features, procfs; and
// for minirun alone bundle (images and names).
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
