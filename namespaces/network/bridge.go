package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file makes what all containers share on the host, and takes it back: the bridge, its
// address, a few sysctls, and the table. Each is a step of a plan that starts no process, and only
// what is missing is made.
//
// The host must forward packets between the bridge and the device that leads to the world. The
// switch net.ipv4.ip_forward would do that for all devices, and between all of them: the machine would
// route for its neighbours. So it stays as it is, single devices are switched
// (ip-sysctl, conf/interface/forwarding), and the table drops what comes by one of these and does
// not go to a container. route_localnet lets packets with a
// destination in 127.0.0.0/8 reach the bridge: those that a published port has translated.

// A Bridge is the containers' network on the host.
type Bridge struct {
	Name    string
	Address netip.Prefix // its own address, and the network: 10.88.0.1/22
	Exists  bool

	complete  bool     // it is up, and has its address and settings
	addressed bool     // it has its address
	uplinks   []string // devices of the host's that do not forward yet
	switched  []string // those that do because we have switched them, if the table has to learn it anew
	table     bool     // the table is there
}

// BridgeName is what the bridge is called.
const BridgeName = "minirun0"

// Find is the bridge as it is or, if there is none, as it would be made. wish is its address
// and network then; the zero value means the first of 10.88.0.1/22, 10.89.0.1/22, … that
// the host routes nowhere else.
func Find(wish netip.Prefix) (b Bridge, err error) {
	b.Name = BridgeName
	if b.table, err = hasTable(); err != nil {
		return b, err
	}
	if b.uplinks, err = uplinks(); err != nil {
		return b, err
	}
	if !b.table {
		b.switched = Forwarding()
	}
	l, err := netlink.LinkByName(b.Name)
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
		b.Address, err = choose(wish)
		return b, err
	case err != nil:
		return b, fmt.Errorf("link %s: %w", b.Name, err)
	}
	b.Exists = true
	addresses, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_V4) })
	if err != nil {
		return b, fmt.Errorf("addresses of %s: %w", b.Name, err)
	}
	if len(addresses) > 0 {
		b.Address, _ = netip.ParsePrefix(addresses[0].IPNet.String())
		b.addressed = true
		b.complete = l.Attrs().Flags&net.FlagUp != 0 && b.isOn("forwarding") && b.isOn("route_localnet")
		return b, nil
	}
	b.Address, err = choose(wish)
	return b, err
}

// choose is the network of a new bridge.
func choose(wish netip.Prefix) (netip.Prefix, error) {
	routes, err := whole(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return wish, fmt.Errorf("routes: %w", err)
	}
	taken := func(p netip.Prefix) string {
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			if to, err := netip.ParsePrefix(r.Dst.String()); err == nil && to.Bits() > 0 && to.Overlaps(p) {
				return to.String()
			}
		}
		return ""
	}
	if wish.IsValid() {
		if !wish.Addr().Is4() || wish.Bits() < 8 || wish.Bits() > 29 || wish.Addr() == wish.Masked().Addr() {
			return wish, fmt.Errorf("network %s: want the bridge's own address in an IPv4 network of /8 to /29, such as 10.88.0.1/22", wish)
		}
		if to := taken(wish); to != "" {
			return wish, fmt.Errorf("network %s: the host has a route to %s", wish, to)
		}
		return wish, nil
	}
	for second := 88; second < 128; second++ {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), 0, 1}), 22)
		if taken(p) == "" {
			return p, nil
		}
	}
	return wish, errors.New("network: the host has routes to all of 10.88.0.0/22, 10.89.0.0/22, … 10.127.0.0/22")
}

// uplinks are the devices that do not forward and that somebody can be behind: all with a route.
// Those of default routes alone would not do: a virtual machine is often reached, at its published
// ports, over a second device that leads to its host only.
func uplinks() (names []string, err error) {
	routes, err := whole(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	for _, r := range routes {
		l, err := net.InterfaceByIndex(r.LinkIndex)
		if err != nil || l.Flags&net.FlagLoopback != 0 || l.Name == BridgeName || slices.Contains(names, l.Name) {
			continue // no device: a route that refuses, or one that has just gone
		}
		if text, err := os.ReadFile(sysctlPath(4, l.Name, "forwarding")); err == nil && strings.TrimSpace(string(text)) == "0" {
			names = append(names, l.Name)
		}
	}
	return names, nil
}

// isOn says whether one of the bridge's settings is 1.
func (b Bridge) isOn(name string) bool {
	text, err := os.ReadFile(sysctlPath(4, b.Name, name))
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// sysctlName is a device's name as sysctl(8) takes it, to which a dot is a slash.
func sysctlName(device string) string { return strings.ReplaceAll(device, ".", "/") }

// sysctlPath is the file of a device's setting. A name of a device has no slash in it.
func sysctlPath(version int, device, name string) string {
	return fmt.Sprintf("/proc/sys/net/ipv%d/conf/%s/%s", version, device, name)
}

// Make records what is missing on the host. The caller holds the lock when the plan is run.
func (b Bridge) Make(p *plan.Plan) {
	p.On(plan.Runtime)
	p.Heading("the host's side of the network")
	if !b.Exists {
		p.Note("a switch made of software: each container's cable is plugged into it")
		p.Do("ip link add "+b.Name+" type bridge", func(*plan.Process) error { return b.add() }).Undo("ip link del "+b.Name, b.remove)
	}
	if !b.complete { // a bridge may be half made: by a minirun that was killed
		b.setUp(p)
	}
	if !b.table {
		p.Note("addresses are translated here, and guarded: nft list table ip " + Table)
		p.Do(command(b.Name, b.Address), func(*plan.Process) error { return addTable(b.Name, b.Address) }).Undo("nft delete table ip "+Table, removeTable)
	}
	for _, name := range append(slices.Clone(b.switched), b.uplinks...) {
		p.Note("what comes by this device goes to containers only, as nothing was forwarded from it before")
		p.Do(uplinkText(name), func(*plan.Process) error { return addUplink(name) })
	}
	for _, name := range b.uplinks {
		p.Note("answers to what containers have sent are routed back. It is set to 0 again when the last container is gone")
		p.Do("sysctl -w net.ipv4.conf."+sysctlName(name)+".forwarding=1", func(*plan.Process) error { return forward(name) }).
			Undo("sysctl -w net.ipv4.conf."+sysctlName(name)+".forwarding=0", forwardBack)
	}
}

// setUp records the address and the settings of the bridge.
func (b Bridge) setUp(p *plan.Plan) {
	p.Note("its networks are IPv4 only")
	b.sysctl(p, 6, "disable_ipv6").Tolerate(unix.ENOENT)
	if !b.addressed {
		p.Note("the gateway's address")
		p.Do(fmt.Sprintf("ip addr add %s dev %s", b.Address, b.Name), func(*plan.Process) error {
			return b.change(func(l netlink.Link) error {
				a, err := netlink.ParseAddr(b.Address.String())
				if err != nil {
					return err
				}
				return netlink.AddrAdd(l, a)
			})
		})
	}
	p.Do("ip link set "+b.Name+" up", func(*plan.Process) error { return b.change(netlink.LinkSetUp) })
	p.Note("what containers send is routed on")
	b.sysctl(p, 4, "forwarding")
	p.Note("a published port is reached at 127.0.0.1, too; the table's guard drops what containers send there")
	b.sysctl(p, 4, "route_localnet")
}

// Missing says whether Make would change anything.
func (b Bridge) Missing() bool { return !b.complete || !b.table || len(b.uplinks) > 0 }

// add makes the bridge. It has a hardware address of its own: otherwise it would take that of a
// port, and change it when that container ends; all others would look for the gateway anew.
func (b Bridge) add() error {
	a := netlink.NewLinkAttrs()
	a.Name = b.Name
	four := b.Address.Addr().As4()
	a.HardwareAddr = net.HardwareAddr{0x02, 0x42, four[0], four[1], four[2], four[3]}
	return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: a})
}

func (b Bridge) change(do func(netlink.Link) error) error {
	l, err := netlink.LinkByName(b.Name)
	if err != nil {
		return fmt.Errorf("link %s: %w", b.Name, err)
	}
	return do(l)
}

func (b Bridge) remove() error { return b.change(netlink.LinkDel) }

// sysctl records that a setting of the bridge's is switched on. It goes with the bridge.
func (b Bridge) sysctl(p *plan.Plan, version int, name string) *plan.Step {
	return p.Do(fmt.Sprintf("sysctl -w net.ipv%d.conf.%s.%s=1", version, b.Name, name), func(*plan.Process) error {
		return os.WriteFile(sysctlPath(version, b.Name, name), []byte("1"), 0)
	})
}

// changed is the file that says which devices' forwarding was switched on: a line for each, with its
// name and what ip_forward was then. It must be known for as long as they forward: until the
// next boot.
const changed = stateDir + "/forwarding"

// Forwarding are the devices of the host's whose forwarding was switched on, and will be
// switched off.
func Forwarding() (names []string) {
	for name := range switched() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// switched is what that file says.
func switched() map[string]string {
	text, err := os.ReadFile(changed)
	if err != nil {
		return nil // ENOENT: none
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && filepath.Base(f[0]) == f[0] && f[0] != "." && f[0] != ".." {
			all[f[0]] = f[1]
		}
	}
	return all
}

// ipForward is the switch for all devices.
func ipForward() (string, error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	return strings.TrimSpace(string(text)), err
}

// forward switches a device's forwarding on. It is written down before it is done.
func forward(name string) error {
	all, err := ipForward()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(changed, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, name, all)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.WriteFile(sysctlPath(4, name, "forwarding"), []byte("1"), 0)
}

// forwardBack switches it off again, for all devices that are written down and still there. If
// ip_forward has become 1 since, then somebody has switched on all devices (docker and libvirt do),
// and needs them: they are left.
func forwardBack() error {
	now, err := ipForward()
	if err != nil {
		return err
	}
	for name, before := range switched() {
		if now != before {
			continue
		}
		if err := os.WriteFile(sysctlPath(4, name, "forwarding"), []byte("0"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(changed); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
