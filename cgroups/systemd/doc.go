// Package systemd lets systemd make a container's group, as a scope
// (--systemd-cgroup).
//
// On a host with systemd every group belongs to a unit. systemd writes the limits of
// its units itself, and writes them again when it is reloaded. So an engine that is
// set to the systemd driver wants the container to be a unit too: a scope, which is
// a group of processes that another program has made (systemd.scope(5)). systemd
// delegates the group to the runtime, which may then do what it likes below and in
// it.
//
//	runtime                                              systemd
//	StartTransientUnit("minirun-web.scope", …, PIDs) ->  queues a job
//	                                                 <-  the job's path
//	                                                     makes the group, moves the processes into it
//	                                                 <-  signal JobRemoved(job, "done")
//
// A scope begins with processes that exist. So the container process is cloned in
// the runtime's group, and waits at a gate until systemd has moved it. Its cgroup
// namespace is made after that, because the namespace begins at the group in which
// it is made.
//
// The same group has different words in systemd:
//
//	cgroupsPath  machine.slice:minirun:web
//	unit         minirun-web.scope, with Slice=machine.slice
//	directory    machine.slice/minirun-web.scope
//	memory.max   MemoryMax=, and so on (systemd.resource-control(5))
//
// Why tell systemd of limits that the runtime writes to the files itself? Because
// systemd writes its own values when it is reloaded.
//
// [New] reads cgroupsPath and annotations, [Unit.Add] records how the group is made,
// [Unit.Update] how systemd is told of new limits, [Unit.Stop] removes the unit.
//
//	unit.go         names and limits in systemd's words
//	annotations.go  properties that annotations ask for
//	systemd.go      the calls over D-Bus
package systemd
