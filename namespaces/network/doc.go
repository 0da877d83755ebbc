// Package network gives a container of `minirun run` a link of its own: a veth(4) pair to a
// bridge, an address, routes, published ports, and a bandwidth.
package network
