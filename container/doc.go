// Package container is the life of a container: a spec becomes a plan, the
// plan becomes a process, and the process ends.
//
// A container has no object in the kernel. It is a process in namespaces and in a
// cgroup. The rest that a later command must know (which process, which group, from
// which bundle) is written into a directory of the container's own:
//
//	/run/minirun/<id>/   0700; flock(2) on the directory is the container's lock
//	  state.json         process id and start time, cgroup, bundle: type State.
//	                     It is replaced by rename(2), so nobody reads half of it
//	  config.json        the spec as it was at create; exec starts from it
//	  exec.fifo          there between create and start; the child reads from it.
//	                     Before the container is created its name is exec.fifo.new
//	  exit               how the process ended, written by the monitor of a detached container
//	  notify/            the socket for READY=1, if a service manager wants to know
//
// # The life
//
// These are the operations of the runtime-spec (runtime.md, Lifecycle):
//
//	New     create.go  check the spec, write the plan, run it. plan() there is the
//	                   table of contents of the whole program
//	Start   start.go   write one byte into exec.fifo; the child then executes the
//	                   program. Without Options.Wait, New does both at once
//	Exec    exec.go    one more process in the same namespaces and cgroup
//	Kill    kill.go    send a signal, never to another process that has the number now
//	Delete  kill.go    end what still runs; remove the cgroup and the directory
//
// What Status answers on the way:
//
//	creating   the directory is locked, or the child has not executed the program
//	created    exec.fifo is there
//	running    the process is alive, and executes the program
//	paused     its cgroup is frozen (not a status of the runtime-spec, but runc's)
//	stopped    the process has ended. Only Delete is left to do
//
// # Where to look
//
// Files of this folder come first; other paths begin at the top.
//
//	which process and which cgroup, how they come about     clone.go
//	which checks a spec has to pass, and in which order     check.go
//	how the user, capabilities and limits are put together  identity.go
//	which descriptors the child gets, and what runs a plan  run.go
//	what is written down, and what of it is still true      state.go
//	how a container is found, locked and listed             root.go
//
//	where is memory.max written?                  cgroups/group.go, Limit records it;
//	                                              cgroups/resources chose the value;
//	                                              plan/steps.go makes the calls
//	why is /proc mounted before pivot_root?       rootfs/doc.go
//	what does SIGTERM to a foreground run do?     cmd/minirunc/signals.go
//	who waits for a detached container?           container/clone.go, monitor
//	what is undone when a step fails?             plan/run.go, undo
//	what may the child not do before execve?      plan/child.go
//	what can a container do to minirunc itself?   protect/doc.go
//	which flags has a command?                    cmd/minirunc, one file a command
//
// State is never trusted further than it can be checked. Process ids are used again,
// so a process counts as the container's only if all agrees that was recorded (package pidfd).
// So are paths of cgroups: a group counts only if it has the container's mark (package owned).
// A directory of states that another user can write to, or exchange, is refused, because
// state.json says which processes to kill (rootfs/image/private).
//
// # The packages below
//
// They have what only some containers need, and what other packages need too:
//
//	config       reading config.json        exit         how a container ended
//	hooks        programs at six points     events       statistics, out of memory
//	listener     answers for seccomp        update       new limits
//	notify       READY=1 (sd_notify)        freezer      pause and resume
//	descriptors  more open files            processes    which ones are a container's
//	sockets      passing open files         procfs       reading /proc
//	users        /etc/passwd in the root    pidfd        holding on to a process
//	files        written whole              features     what a spec can ask for
//	failure      words for what failed      protect      our own program, from containers
//	host         questions to the machine   report       telling an engine the process id
//	owned        the cgroup, as long as it is the container's
//	mounts       what the mounts of a spec ask for beyond package rootfs itself
//	stdio        pipes and /dev/null as descriptors 0, 1 and 2
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
