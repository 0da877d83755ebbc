package namespaces

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file moves network devices into the container (runtime-spec,
// config-linux.md, "Network Devices"). A device is in one network namespace;
// who may configure both can move it. On the way it loses its addresses and is
// switched off; its MTU and hardware address it keeps. When the container's
// namespace ends, the kernel gives physical devices back, and ends others.

// checkDevices refuses names that no device can have.
func (s *Set) checkDevices() error {
	if len(s.spec.Linux.NetDevices) == 0 {
		return nil
	}
	if err := s.needs(specs.NetworkNamespace, "linux.netDevices"); err != nil {
		return fmt.Errorf("%w: devices would stay on the host", err)
	}
	taken := map[string]string{}
	for _, name := range s.devices() {
		inside := s.inside(name)
		for _, n := range []string{name, inside} {
			if n == "" || n == "." || n == ".." || len(n) >= unix.IFNAMSIZ || strings.ContainsAny(n, "/: \t\n\v\f\r\x00") {
				return fmt.Errorf("linux.netDevices: %q cannot be the name of a device (1 to %d bytes, no blanks, slashes or colons)", n, unix.IFNAMSIZ-1)
			}
		}
		if taken[inside] != "" {
			return fmt.Errorf("linux.netDevices: %s and %s would both be %s", taken[inside], name, inside)
		}
		taken[inside] = name
	}
	return nil
}

func (s *Set) devices() []string { return slices.Sorted(maps.Keys(s.spec.Linux.NetDevices)) }

// inside is the name of a device in the container.
func (s *Set) inside(name string) string {
	if n := s.spec.Linux.NetDevices[name].Name; n != "" {
		return n
	}
	return name
}

// moveDevices records that the runtime moves them, while the child waits in the
// namespace that they are to be in.
func (s *Set) moveDevices(p *plan.Plan) {
	if len(s.spec.Linux.NetDevices) == 0 {
		return
	}
	p.Note("network devices change namespaces from outside: in its own the container sees only what it has")
	p.Gate("network devices", func() {
		for _, name := range s.devices() {
			inside := s.inside(name)
			p.Do("ip link set "+name+" netns PID name "+inside, func(child *plan.Process) error {
				return moveDevice(name, inside, child.Pid)
			})
		}
	})
}

// moveDevice moves one device to the network namespace of a process, and there
// gives it back the addresses of global scope that it had, and switches it on.
func moveDevice(name, inside string, pid int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("network device %s: %w", name, err)
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("addresses of network device %s: %w", name, err)
	}
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	// Name and namespace in one message: the name may be taken here, or there
	// by a device that this one is to be told from.
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index, info.Change = int32(link.Attrs().Index), unix.IFF_UP // off
	request.AddData(info)
	request.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns))))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(inside)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("move network device %s: %w", name, err)
	}
	return configure(ns, inside, addresses)
}

// configure works in the namespace ns over a socket that was made there.
func configure(ns int, name string, addresses []netlink.Addr) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in the container: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("network device %s in the container: %w", name, err)
	}
	for _, a := range addresses {
		if a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_PERMANENT == 0 {
			continue // the kernel's own, or a lease's
		}
		fresh := &netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Broadcast: a.Broadcast, Flags: a.Flags}
		if err := h.AddrAdd(link, fresh); err != nil {
			return fmt.Errorf("address %s of network device %s: %w", a.IPNet, name, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch network device %s on: %w", name, err)
	}
	return nil
}
