package network

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// This file says whether a port of the host's is free, and if not, who has it. A published
// port would silently take the connections away from a program that listens on it: they are
// translated before the kernel looks for a listener.

// InUse is an error if a program of the host listens on a port, or if a container has published
// it that is none of these: to serve it would take it away from them.
func InUse(p Port, but map[netip.Addr]bool) error {
	all, err := Elements()
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Port.Protocol == p.Protocol && e.Port.Host == p.Host && !but[e.To] {
			return fmt.Errorf("port %s: leads to %s already", hostSide(p), e.To)
		}
	}
	if _, err := bind(p); errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("port %s: in use by %s", hostSide(p), listener(p))
	} else if err != nil {
		return fmt.Errorf("port %s: %w", hostSide(p), err)
	}
	return nil
}

// choosePorts looks at the ports that are to be published, and gives a number to those that
// have none.
func (h *Host) choosePorts(ports []Port) error {
	for i, p := range ports {
		if p.Host == 0 {
			if err := h.chooseFree(&ports[i]); err != nil {
				return err
			}
			continue
		}
		if owner := h.publishedBy(p); owner != "" {
			return fmt.Errorf("port %s: published already, by container %s", hostSide(p), owner)
		}
		_, err := bind(p)
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("port %s: in use by %s", hostSide(p), listener(p))
		}
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("port %s: the host has no such address", hostSide(p))
		}
		if err != nil {
			return fmt.Errorf("port %s: %w", hostSide(p), err)
		}
	}
	return nil
}

// chooseFree lets the kernel choose a port (ip(7), ip_local_port_range).
func (h *Host) chooseFree(p *Port) error {
	for range 100 {
		free, err := bind(*p)
		if err != nil {
			return fmt.Errorf("port %s: %w", hostSide(*p), err)
		}
		chosen := *p
		chosen.Host = free
		if h.publishedBy(chosen) == "" {
			*p = chosen
			return nil
		}
	}
	return fmt.Errorf("port %s: the host has no free one", hostSide(*p))
}

// publishedBy is the container that has published a port, its address if it is unknown, or "".
func (h *Host) publishedBy(p Port) string {
	for _, e := range h.Elements {
		if !e.Port.Overlaps(p) {
			continue
		}
		for n, id := range h.Links {
			if nth(h.Bridge.Address, n) == e.To && id != "" {
				return id[:min(12, len(id))]
			}
		}
		return e.To.String()
	}
	return ""
}

// bind asks the kernel for the port, and gives it back at once.
func bind(p Port) (uint16, error) {
	kind := unix.SOCK_STREAM
	if p.Protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM { // connections that have just ended do not count; a listener does
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return 0, err
		}
	}
	a := &unix.SockaddrInet4{Port: int(p.Host)}
	if p.Address.IsValid() {
		a.Addr = p.Address.As4()
	}
	if err := unix.Bind(fd, a); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return uint16(name.(*unix.SockaddrInet4).Port), nil
}

// listener names the process that has a port.
func listener(p Port) string {
	for _, file := range []string{"/proc/net/" + p.Protocol, "/proc/net/" + p.Protocol + "6"} {
		f, err := os.Open(file)
		if err != nil {
			continue // without IPv6 there is no second
		}
		inode := socketOf(f, p)
		f.Close()
		if inode == "" {
			continue
		}
		files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, link := range files {
			if to, err := os.Readlink(link); err == nil && to == "socket:["+inode+"]" {
				pid := strings.Split(link, "/")[2]
				name, _ := os.ReadFile("/proc/" + pid + "/comm") // it has just ended
				return fmt.Sprintf("%q, process %s", strings.TrimSpace(string(name)), pid)
			}
		}
	}
	return "another program"
}

// socketOf finds the inode of a socket in /proc/net/tcp or udp (proc_pid_net(5)), of which a line
// is, in hexadecimal but for the inode, which is the tenth field:
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//	0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 30285
func socketOf(r io.Reader, p Port) string {
	const listening, unconnected = "0A", "07" // of tcp; of udp
	for s := bufio.NewScanner(r); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 10 || fields[3] != listening && fields[3] != unconnected {
			continue
		}
		address, port, _ := strings.Cut(fields[1], ":")
		if port != fmt.Sprintf("%04X", p.Host) {
			continue
		}
		if here := hexAddress(address); !p.Address.IsValid() || here.IsUnspecified() || here.Unmap() == p.Address {
			return fields[9]
		}
	}
	return ""
}

// hexAddress reads an address of that file: words of 4 bytes, each in the machine's order.
func hexAddress(text string) netip.Addr {
	var b []byte
	for ; len(text) >= 8; text = text[8:] {
		var word uint32
		fmt.Sscanf(text[:8], "%x", &word)
		b = append(b, byte(word), byte(word>>8), byte(word>>16), byte(word>>24)) // amd64 and arm64 are little-endian
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
