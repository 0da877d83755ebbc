// Package link gives one container its link: what minirunc does of a network that minirun
// has worked out.
//
// A veth(4) pair is a cable with two ends. Each end is a network device, and the two may be
// in different network namespaces: what is sent into one comes out of the other. One end
// stays on the host, as a port of a bridge; the other becomes eth0 in the container.
//
//	container                   host
//	eth0 10.88.1.139/22 ------- mr395 --- minirun0 10.88.0.1/22 --- other containers
//	                                      and, by routing, everything else
//
// The number N of the host's end is the container's address: the network's address plus N.
// The name is also the lease. The kernel lets no two devices have one name (EEXIST), and the
// pair ends with the container's network namespace. So there is no database of addresses that could
// be wrong after a crash. The alias of mrN (ip-link(8)) is the container's id.
//
// Ports of the host's lead to the container by elements of two maps of nftables (see package
// network, which is above this one). An element is added and removed by a message on a netlink
// socket. minirun writes these messages; here they are bytes that are sent. So minirunc, which
// starts a million times, needs no library for them, and a monitor, which is no Go program,
// can remove an element with one sendto(2).
//
// All steps are the runtime's, at a gate at which the child waits in its new namespace. The
// child could not make its own link: it does not reach the host's bridge.
//
// Needs CAP_NET_ADMIN over the host's network namespace. Man pages: [veth(4)],
// [rtnetlink(7)], [netlink(7)], [tc-tbf(8)].
//
// [veth(4)]: https://man7.org/linux/man-pages/man4/veth.4.html
// [rtnetlink(7)]: https://man7.org/linux/man-pages/man7/rtnetlink.7.html
// [netlink(7)]: https://man7.org/linux/man-pages/man7/netlink.7.html
// [tc-tbf(8)]: https://man7.org/linux/man-pages/man8/tc-tbf.8.html
package link
