package network

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// This file is about the ports that are published, as people write them. A port has a
// number from 1 to 65535; tcp and udp count their ports apart (ip(7)).
//
//	8080:80                 the host's port 8080, on all its addresses, leads to 80/tcp
//	127.0.0.1:8080:80       on one of its addresses only
//	8000-8010:80-90/udp     a range of ports, to a range of the same length
//	80, 127.0.0.1::80       on a port of the host's that is free

// A Port is one port of the host's that leads to one of a container's: `-p 8080:80`.
type Port struct {
	Protocol  string     // "tcp" or "udp"
	Address   netip.Addr // the host's address that it is published on; the zero value means all
	Host      uint16     // the host's port; 0: one that is free, which is chosen when the container is run
	Container uint16     // the container's port
}

// On is the host's address as docker prints it: 0.0.0.0 for all.
func (p Port) On() string {
	if !p.Address.IsValid() {
		return "0.0.0.0"
	}
	return p.Address.String()
}

// Of is the container's port with its protocol: 80/tcp.
func (p Port) Of() string { return fmt.Sprintf("%d/%s", p.Container, p.Protocol) }

// String is how docker's ps shows a published port: 0.0.0.0:8080->80/tcp.
func (p Port) String() string { return fmt.Sprintf("%s:%d->%s", p.On(), p.Host, p.Of()) }

// Overlaps says whether two ports want the same port of the host: on one address, or if one
// of them wants it on all. Ports that are still to be chosen want none.
func (p Port) Overlaps(q Port) bool {
	return p.Protocol == q.Protocol && p.Host == q.Host && p.Host != 0 &&
		(p.Address == q.Address || !p.Address.IsValid() || !q.Address.IsValid())
}

// ParsePorts returns the ports of several words such as 8080:80. Two that want the same
// port of the host are an error.
func ParsePorts(words []string) ([]Port, error) {
	var all []Port
	type key struct {
		protocol string
		host     uint16
	}
	taken := map[key][]Port{}
	for _, word := range words {
		ports, err := ParsePort(word)
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			k := key{p.Protocol, p.Host}
			for _, q := range taken[k] {
				if p.Overlaps(q) {
					return nil, fmt.Errorf("port %q: %s is published already, to %s", word, hostSide(p), q.Of())
				}
			}
			if p.Host != 0 {
				taken[k] = append(taken[k], p)
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// hostSide is the part of a port that is the host's: 0.0.0.0:8080/tcp.
func hostSide(p Port) string { return fmt.Sprintf("%s:%d/%s", p.On(), p.Host, p.Protocol) }

// ParsePort returns the ports of one word, of which a range has many.
func ParsePort(word string) ([]Port, error) {
	wrong := func(format string, values ...any) error {
		return fmt.Errorf("port %q: %s", word, fmt.Sprintf(format, values...))
	}
	text, protocol, hasProtocol := strings.Cut(word, "/")
	if !hasProtocol {
		protocol = "tcp"
	}
	if protocol = strings.ToLower(protocol); protocol != "tcp" && protocol != "udp" {
		return nil, wrong("protocol %q: want tcp or udp", protocol)
	}
	if strings.Contains(text, "[") || strings.Count(text, ":") > 2 {
		return nil, wrong("an IPv6 address: ports are published on IPv4 addresses only")
	}
	address, host, container, err := threeParts(text)
	if err != nil {
		return nil, wrong("%v", err)
	}
	inside, err := parseRange(container)
	if err != nil {
		return nil, wrong("container's port %v", err)
	}
	outside := portRange{0, 0}
	if host != "" {
		if outside, err = parseRange(host); err != nil {
			return nil, wrong("host's port %v", err)
		}
		if outside.count() != inside.count() {
			return nil, wrong("%d ports of the host's for %d of the container's: want as many", outside.count(), inside.count())
		}
	}
	ports := make([]Port, 0, inside.count())
	for i := range inside.count() {
		p := Port{Protocol: protocol, Address: address, Container: uint16(inside.first + i)}
		if host != "" {
			p.Host = uint16(outside.first + i)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// threeParts takes ADDRESS:HOST:CONTAINER apart, of which the first two may be missing.
// 0.0.0.0 is all addresses.
func threeParts(text string) (address netip.Addr, host, container string, err error) {
	parts := strings.Split(text, ":")
	container = parts[len(parts)-1]
	if len(parts) > 1 {
		host = parts[len(parts)-2]
	}
	if len(parts) == 2 && host == "" {
		return address, "", "", fmt.Errorf("host's port \"\": want 1 to 65535")
	}
	if len(parts) < 3 {
		return address, host, container, nil
	}
	address, err = netip.ParseAddr(parts[0])
	if err != nil || !address.Is4() {
		return address, "", "", fmt.Errorf("address %q: want an IPv4 address of the host's", parts[0])
	}
	if address.IsUnspecified() {
		address = netip.Addr{}
	}
	if address.IsMulticast() || address == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return address, "", "", fmt.Errorf("address %q: want an IPv4 address of the host's", parts[0])
	}
	return address, host, container, nil
}

// A portRange is the ports from first to last, both of them included.
type portRange struct{ first, last int }

func (r portRange) count() int { return r.last - r.first + 1 }

// parseRange reads 80, or 80-90.
func parseRange(text string) (r portRange, err error) {
	low, high, isRange := strings.Cut(text, "-")
	if r.first, err = parseNumber(low); err != nil {
		return r, err
	}
	if r.last = r.first; !isRange {
		return r, nil
	}
	if r.last, err = parseNumber(high); err != nil {
		return r, err
	}
	if r.last < r.first {
		return r, fmt.Errorf("%q: want the lower one first", text)
	}
	return r, nil
}

// parseNumber reads a port's number: decimal digits alone, without a sign.
func parseNumber(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q: want 1 to 65535", text)
	}
	return int(n), nil
}
