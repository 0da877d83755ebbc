package network

import "net/netip"

// A Port is one port of the host's that leads to one of a container's: `-p 8080:80`.
type Port struct {
	Protocol  string     // "tcp" or "udp"
	Address   netip.Addr // the host's address that it is published on; the zero value means all
	Host      uint16     // the host's port
	Container uint16     // the container's port
}

// A Rate is how much a container may receive and send, in bits a second; 0 means as
// much as the host can.
type Rate struct {
	Down, Up uint64 // to the container; from the container
}
