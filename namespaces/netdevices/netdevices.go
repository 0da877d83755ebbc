package netdevices

import (
	"cmp"
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

	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A List is the devices that go into one container, sorted by their names on the
// host.
type List []*device

// New reads the network devices of a spec. It refuses names that no device can
// have.
func New(linux *specs.Linux, set *namespaces.Set) (List, error) {
	if len(linux.NetDevices) == 0 {
		return nil, nil
	}
	if err := set.Require(specs.NetworkNamespace, "linux.netDevices"); err != nil {
		return nil, fmt.Errorf("%w: devices would stay on the host", err)
	}
	var list List
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(linux.NetDevices)) {
		inside := cmp.Or(linux.NetDevices[name].Name, name)
		for _, n := range []string{name, inside} {
			if n == "" || n == "." || n == ".." || len(n) >= unix.IFNAMSIZ || strings.ContainsAny(n, "/: \t\n\v\f\r\x00") {
				return nil, fmt.Errorf("linux.netDevices: %q cannot be the name of a device (1 to %d bytes, no blanks, slashes or colons)", n, unix.IFNAMSIZ-1)
			}
		}
		if taken[inside] != "" {
			return nil, fmt.Errorf("linux.netDevices: %s and %s would both be %s", taken[inside], name, inside)
		}
		taken[inside] = name
		list = append(list, &device{name: name, inside: inside})
	}
	return list, nil
}

// Move records that the runtime moves the devices, while the child waits in the
// network namespace to which they go.
func (l List) Move(p *plan.Plan) {
	if len(l) == 0 {
		return
	}
	p.Note("the runtime moves network devices: the child sees only those of its own namespace")
	p.Gate("network devices", func() {
		host := p.Openat(plan.CWD, "/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0).As("own net namespace")
		p.Note("held open, so that the namespace of a container that fails does not end before the devices are back")
		ns := p.Open("openat(/proc/PID/ns/net)", openNet).As("net namespace")
		for _, d := range l {
			p.Do("ip link set "+d.name+" netns PID name "+d.inside, func(r *plan.Process) error {
				d.host, d.container = r.Result(host), r.Result(ns)
				return d.move()
			}).Undo("ip link set "+d.inside+" netns HOST name "+d.name, d.moveBack)
			p.Do("ip link set "+d.inside+" up, with its addresses", func(*plan.Process) error { return d.configure() })
		}
	})
}

func openNet(child *plan.Process) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/%d/ns/net", child.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// A device is one that goes into the container.
type device struct {
	name, inside    string // its name on the host, and in the container
	host, container int    // descriptors of the network namespaces; set by the first step

	addresses []netlink.Addr // those it had on the host
	up        bool           // it was switched on there
}

// move moves the device to the container. There it is off and has no address.
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

// configure gives the device in the container its addresses of global scope again
// and switches it on.
func (d *device) configure() error {
	h, link, err := find(d.container, d.inside)
	if err != nil {
		return fmt.Errorf("network device %s in the container: %w", d.inside, err)
	}
	defer h.Close()
	for _, a := range d.addresses {
		if a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_PERMANENT == 0 {
			continue // set by the kernel, or leased by DHCP or router advertisements: both set it again
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

// moveBack moves the device to the host again, with its old name and all its
// addresses, and switches it on if it was on. Two things were lost when it was
// switched off, and stay lost: routes other than those to the networks of its
// addresses, and its membership in a bridge.
func (d *device) moveBack() error {
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
	var errs []error // collected: the device is switched on even if an address is refused
	for _, a := range d.addresses {
		if a.Broadcast == nil {
			a.Broadcast = net.IPv4zero // none; for nil, AddrAdd would choose one
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

// find looks a device up through a netlink socket in the network namespace ns.
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
// name. Name and namespace go in one message. In two, the first could fail: the
// new name may be taken in the old namespace, and the old name in the new one.
// The caller needs CAP_NET_ADMIN over both (rtnetlink(7)).
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
