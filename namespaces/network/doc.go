// Package network is the network of `minirun run`: one bridge, a link for each container,
// and published ports. minirunc does not link it, and an engine's containers never meet it.
//
// On the host there is one bridge, minirun0, a switch made of software. Its address is the gateway
// of a network (10.88.0.1/22, unless the host routes that already). A container's link is a port
// of it: package link, below this one, makes it, from a [link.Config] that [Lease] works out.
//
// Three things more make it a network, and all are in one table of nftables (nft(8)), which `nft
// list table ip minirun` shows:
//
//   - What containers send to the world gets the host's address (masquerade), since nobody
//     else knows a way back to 10.88.0.0/22.
//   - A published port is an element of a map: connections to the host's address and port get
//     a container's address and port instead (dnat). No program forwards anything.
//   - Guards. They drop what no container, and no neighbour of the host's, should send: see
//     table.go.
//
// A service is the same map: each connection draws a number below 65536, and the key of an
// element is address, port and a range of these numbers. A published port has one element with
// all numbers; a service of n containers has n, with one n-th each.
//
//	bridge.go    the bridge and the sysctls: steps of a plan, and their way back
//	table.go     the table
//	elements.go  the elements of its maps: ports and services
//	lease.go     which address a container gets, and its Config
//	sweep.go     what is there, and removing what nobody needs any more
//	ports.go     ports as people write them
//	rate.go      bandwidths as people write them
//
// Left out, because they are Docker's and Kubernetes': several networks, IPv6 and overlays.
// What is sent to [::1] is refused at once, and programs then try 127.0.0.1.
//
// It needs CAP_NET_ADMIN. Man pages: [bridge(8)], [ip-link(8)], [nft(8)].
//
// [bridge(8)]: https://man7.org/linux/man-pages/man8/bridge.8.html
// [ip-link(8)]: https://man7.org/linux/man-pages/man8/ip-link.8.html
// [nft(8)]: https://www.netfilter.org/projects/nftables/manpage.html
package network
