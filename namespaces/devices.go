package namespaces

import (
	"errors"
	"fmt"
	"maps"
	"net"
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
// namespace ends, the kernel gives physical devices back, and ends others: so if
// the container does not come to be, the runtime fetches all of them first.

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
		own := home(p, kinds[index(specs.NetworkNamespace)])
		p.Note("held open: should the container fail, its namespace does not end before the devices are back")
		ns := p.Open("openat(/proc/PID/ns/net)", openNet).As("net namespace")
		for _, name := range s.devices() {
			d := &device{name: name, inside: s.inside(name)}
			p.Do("ip link set "+d.name+" netns PID name "+d.inside, func(r *plan.Process) error {
				d.host, d.container = r.Result(own), r.Result(ns)
				return d.move()
			}).Undo("ip link set "+d.inside+" netns HOST name "+d.name, d.back)
			p.Do("ip link set "+d.inside+" up, with its addresses", func(*plan.Process) error { return d.configure() })
		}
	})
}

func openNet(child *plan.Process) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/%d/ns/net", child.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// A device is one that goes into the container.
type device struct {
	name, inside    string // what it is called on the host, in the container
	host, container int    // descriptors of the network namespaces

	addresses []netlink.Addr // that it had on the host
	up        bool           // it was
}

// move moves it to the container, where it is off and without an address.
func (d *device) move() error {
	h, link, err := find(d.host, d.name)
	if err != nil {
		return fmt.Errorf("network device %s: %w", d.name, err)
	}
	defer h.Close()
	if d.addresses, err = h.AddrList(link, netlink.FAMILY_ALL); err != nil {
		return fmt.Errorf("addresses of network device %s: %w", d.name, err)
	}
	d.up = link.Attrs().RawFlags&unix.IFF_UP != 0
	if err := transfer(d.host, d.container, link.Attrs().Index, d.inside); err != nil {
		return fmt.Errorf("move network device %s: %w", d.name, err)
	}
	return nil
}

// configure gives it back, in the container, the addresses of global scope, and
// switches it on.
func (d *device) configure() error {
	h, link, err := find(d.container, d.inside)
	if err != nil {
		return fmt.Errorf("network device %s in the container: %w", d.inside, err)
	}
	defer h.Close()
	for _, a := range d.addresses {
		if a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_PERMANENT == 0 {
			continue // the kernel's own, or a lease's
		}
		fresh := &netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Broadcast: a.Broadcast, Flags: a.Flags}
		if err := h.AddrAdd(link, fresh); err != nil {
			return fmt.Errorf("address %s of network device %s: %w", a.IPNet, d.inside, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch network device %s on: %w", d.inside, err)
	}
	return nil
}

// back moves it to the host again, and makes it there what it was: its name, all
// its addresses, on or off. What goes as it is switched off does not come back:
// routes other than to its addresses' networks, and the bridge that it was in.
func (d *device) back() error {
	inside, link, err := find(d.container, d.inside)
	if err != nil {
		return err
	}
	defer inside.Close()
	if err := transfer(d.container, d.host, link.Attrs().Index, d.name); err != nil {
		return err
	}
	h, link, err := find(d.host, d.name)
	if err != nil {
		return err
	}
	defer h.Close()
	var errs []error // one address less is no reason to leave it off
	for _, a := range d.addresses {
		if a.Broadcast == nil {
			a.Broadcast = net.IPv4zero // none; to AddrAdd, nil means that it is to choose one
		}
		if err := h.AddrAdd(link, &a); err != nil {
			errs = append(errs, fmt.Errorf("address %s: %w", a.IPNet, err))
		}
	}
	if d.up {
		errs = append(errs, h.LinkSetUp(link))
	}
	return errors.Join(errs...)
}

// find looks a device up over a socket that was made in the namespace ns.
func find(ns int, name string) (*netlink.Handle, netlink.Link, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, nil, fmt.Errorf("netlink: %w", err)
	}
	link, err := h.LinkByName(name)
	if err != nil {
		h.Close()
		return nil, nil, err
	}
	return h, link, nil
}

// transfer moves a device from one network namespace to another, where it gets a
// name. Name and namespace go in one message: the name may be taken here, or
// the old one there by a device that this one is to be told from. The caller
// needs CAP_NET_ADMIN over both (rtnetlink(7)).
func transfer(from, to, index int, name string) error {
	socket, err := nl.GetNetlinkSocketAt(netns.NsHandle(from), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer socket.Close()
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index, info.Change = int32(index), unix.IFF_UP // off
	request.AddData(info)
	request.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to))))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err = request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
