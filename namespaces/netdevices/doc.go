// Package netdevices moves network devices of the host's into a container
// (runtime-spec, config-linux.md, "Network Devices").
//
// A network device is in one network namespace at a time. A process with
// CAP_NET_ADMIN over two namespaces can move a device from one to the other, by a
// message on a netlink socket (rtnetlink(7)). The device keeps its MTU and its
// hardware address. It loses its addresses and is switched off, so the runtime
// gives it the addresses again and switches it on.
//
// The runtime moves devices while the child waits at a gate: from within its own
// namespace the child cannot reach the host's devices.
//
// When a network namespace ends, the kernel gives physical devices back to the
// host, but removes virtual ones. So if a later step of the plan fails, the
// runtime moves all devices back before the namespace ends.
//
// Left out: making devices. An engine does that, or ip(8).
//
// Man pages: [network_namespaces(7)], [rtnetlink(7)], [ip-link(8)].
//
// [network_namespaces(7)]: https://man7.org/linux/man-pages/man7/network_namespaces.7.html
// [rtnetlink(7)]: https://man7.org/linux/man-pages/man7/rtnetlink.7.html
// [ip-link(8)]: https://man7.org/linux/man-pages/man8/ip-link.8.html
package netdevices
