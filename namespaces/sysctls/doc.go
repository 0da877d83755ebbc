// Package sysctls sets kernel parameters of a container's own namespaces.
//
// A sysctl is a file below /proc/sys. Most of them belong to the machine. A few
// belong to a namespace: the process that opens the file reaches the parameter of
// the namespace in which it is. So the child writes them after it has entered all
// of its namespaces. It uses a procfs of its own, over which the container can
// have nothing mounted.
//
// A table lists the allowed parameters and the namespaces to which they belong.
// All others are refused, because writing them would change the host
// (CVE-2022-0811).
//
// Left out: kernel.hostname, because the spec has a property of its own for it
// (package namespaces).
//
// Man pages: [proc_sys(5)], [namespaces(7)].
//
// [proc_sys(5)]: https://man7.org/linux/man-pages/man5/proc_sys.5.html
// [namespaces(7)]: https://man7.org/linux/man-pages/man7/namespaces.7.html
package sysctls
