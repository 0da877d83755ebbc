package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// File is the name of the file in a bundle's directory that has the container's [Config].
const File = "network.json"

// longest is how much of such a file is read.
const longest = 1 << 20

// A Config is a container's link, as minirun has worked it out. The zero value is none.
type Config struct {
	ID      string       // the container's: the alias of the link
	N       int          // the host's end is called mrN
	Bridge  string       // the bridge on the host that it is a port of
	Address netip.Prefix // the container's address, and the network that it is in
	Gateway netip.Addr   // the bridge's address: the container's way to everything else

	Publish  []Message // the elements that let ports of the host's lead to it
	Down, Up uint64    // bits a second that it may receive and send; 0: no limit
}

// A Message is one change of nftables, as a batch of netlink messages, and how to take it
// back. Text and Back are the same for nft(8).
type Message struct {
	Text, Back string
	Add        []byte
	Delete     []byte
}

// Name is what the host's end is called.
func (c *Config) Name() string { return fmt.Sprintf("mr%d", c.N) }

// Read reads a Config. A file that is longer than any that minirun writes is an error.
func Read(path string) (*Config, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(text) > longest {
		err = errors.New("too long")
	}
	c := &Config{}
	if err == nil {
		err = json.Unmarshal(text, c)
	}
	if err == nil && (c.N < 2 || c.Bridge == "" || !c.Address.IsValid() || !c.Gateway.IsValid()) {
		err = errors.New("not the description of a link")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Connect records the making of the link. A nil Config records nothing.
func (c *Config) Connect(p *plan.Plan) {
	if c == nil {
		return
	}
	p.Heading("a link")
	p.Note("the runtime connects the container with the host's bridge: the child does not reach it from within its own namespace")
	p.Gate("a link", func() {
		p.Open("openat(/proc/PID/ns/net)", func(child *plan.Process) (int, error) {
			return unix.Open(fmt.Sprintf("/proc/%d/ns/net", child.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}).As("net namespace")
		namespace := p.Steps[len(p.Steps)-1]
		inside := func(do func(*netlink.Handle, netlink.Link) error) func(*plan.Process) error {
			return func(r *plan.Process) error { return in(r.Result(namespace), do) }
		}
		c.host(p)
		p.Note("the network is IPv4 only. With IPv6 on, any neighbour could make itself the container's router, by one router advertisement (RFC 4861)")
		p.Do("nsenter -t PID -n sysctl -w net.ipv6.conf.eth0.disable_ipv6=1", func(r *plan.Process) error { return withoutIPv6(r.Result(namespace)) }).Tolerate(unix.ENOENT)
		c.container(p, inside)
		c.limit(p, inside)
		for _, m := range c.Publish {
			p.Note("connections to that port of the host's get the container's address instead (dnat)")
			p.Do("nft "+m.Text, func(*plan.Process) error { return Send(m.Add) }).Undo("nft "+m.Back, func() error { return Send(m.Delete) })
		}
	})
}

// host records the cable, and what is done to the host's end of it.
func (c *Config) host(p *plan.Plan) {
	name := c.Name()
	p.Note("a cable with two ends: one is a port of the bridge, the other is the container's eth0. The name is the lease of the address")
	p.Do(fmt.Sprintf("ip link add %s master %s up type veth peer name eth0 netns PID", name, c.Bridge), func(r *plan.Process) error {
		bridge, err := netlink.LinkByName(c.Bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", c.Bridge, err)
		}
		a := netlink.NewLinkAttrs()
		a.Name, a.MasterIndex, a.Flags = name, bridge.Attrs().Index, 1 // net.FlagUp
		err = netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "eth0", PeerNamespace: netlink.NsPid(r.Pid)})
		if errors.Is(err, unix.EXFULL) {
			return fmt.Errorf("bridge %s has 1023 ports, and no bridge can have more: %w", c.Bridge, err)
		}
		return err
	}).Undo("ip link del "+name, func() error { return c.remove() })
	p.Note("whose link it is")
	p.Do(fmt.Sprintf("ip link set %s alias %s", name, c.ID), c.change(func(l netlink.Link) error { return netlink.LinkSetAlias(l, c.ID) }))
	if len(c.Publish) > 0 {
		p.Note("so that the container reaches itself by its published port")
		p.Do(fmt.Sprintf("bridge link set dev %s hairpin on", name), c.change(func(l netlink.Link) error { return netlink.LinkSetHairpin(l, true) }))
	}
}

// container records the address and the route of the container's end.
func (c *Config) container(p *plan.Plan, inside func(func(*netlink.Handle, netlink.Link) error) func(*plan.Process) error) {
	in := "nsenter -t PID -n "
	p.Do(fmt.Sprintf("%sip addr add %s dev eth0", in, c.Address), inside(func(h *netlink.Handle, l netlink.Link) error {
		a, err := netlink.ParseAddr(c.Address.String())
		if err != nil {
			return err
		}
		return h.AddrAdd(l, a)
	}))
	p.Do(in+"ip link set eth0 up", inside(func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetUp(l) }))
	p.Note("what is not in the bridge's network goes to the host, which routes it on")
	p.Do(fmt.Sprintf("%sip route add default via %s", in, c.Gateway), inside(func(h *netlink.Handle, l netlink.Link) error {
		return h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: c.Gateway.AsSlice()})
	}))
}

// limit records the bandwidth. A queue holds back what is sent into an end of the cable:
// what the container receives at the host's end, what it sends at its own.
func (c *Config) limit(p *plan.Plan, inside func(func(*netlink.Handle, netlink.Link) error) func(*plan.Process) error) {
	if c.Down > 0 {
		p.Note("what the container receives waits in a token bucket filter")
		p.Do(fmt.Sprintf("tc qdisc add dev %s %s", c.Name(), tbfText(c.Down)), c.change(func(l netlink.Link) error { return netlink.QdiscReplace(tbf(l, c.Down)) }))
	}
	if c.Up > 0 {
		p.Note("and what it sends, in one at its own end: without CAP_NET_ADMIN it cannot be removed from there")
		p.Do("nsenter -t PID -n tc qdisc add dev eth0 "+tbfText(c.Up), inside(func(h *netlink.Handle, l netlink.Link) error { return h.QdiscReplace(tbf(l, c.Up)) }))
	}
}

// Limit changes the bandwidth of a link that exists. pid is a process in the container.
func (c *Config) Limit(pid int) error {
	set := func(replace, remove func(netlink.Qdisc) error, l netlink.Link, rate uint64) error {
		if rate > 0 {
			return replace(tbf(l, rate))
		}
		if err := remove(tbf(l, 1)); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) { // there was no limit
			return err
		}
		return nil
	}
	l, err := netlink.LinkByName(c.Name())
	if err != nil {
		return fmt.Errorf("link %s: %w", c.Name(), err)
	}
	if err := set(netlink.QdiscReplace, netlink.QdiscDel, l, c.Down); err != nil {
		return fmt.Errorf("rate of %s: %w", c.Name(), err)
	}
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	return in(ns, func(h *netlink.Handle, l netlink.Link) error {
		if err := set(h.QdiscReplace, h.QdiscDel, l, c.Up); err != nil {
			return fmt.Errorf("rate of the container's eth0: %w", err)
		}
		return nil
	})
}

// tbf is a token bucket filter (tc-tbf(8)) with a bucket of a hundredth of a second, but 16
// KiB at least: one full segment of a virtual device is up to 64 KiB, which tbf cuts.
func tbf(l netlink.Link, bits uint64) *netlink.Tbf {
	rate, burst := bits/8, uint64(burst(bits))
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate, Buffer: uint32(netlink.Xmittime(rate, uint32(burst))), Limit: uint32(min(rate/20+burst, 1<<31)), // rate/20: 50 ms
	}
}

// burst is the size of the bucket in bytes.
func burst(bits uint64) uint32 { return uint32(min(max(bits/800, 16<<10), 1<<30)) }

func tbfText(bits uint64) string {
	return fmt.Sprintf("root tbf rate %dbit burst %d latency 50ms", bits, burst(bits))
}

// change is a step's function that changes the host's end.
func (c *Config) change(do func(netlink.Link) error) func(*plan.Process) error {
	return func(*plan.Process) error {
		l, err := netlink.LinkByName(c.Name())
		if err != nil {
			return fmt.Errorf("link %s: %w", c.Name(), err)
		}
		return do(l)
	}
}

// remove removes the pair.
func (c *Config) remove() error {
	return c.change(netlink.LinkDel)(nil)
}

// withoutIPv6 switches IPv6 off for the container's end, in a network namespace. Below
// /proc/sys/net the kernel shows the settings of the namespace of the thread that looks. So a thread
// goes there; it is never unlocked, so that it ends here instead of coming back to others' work.
// ENOENT: the kernel has no IPv6.
func withoutIPv6(ns int) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(netns.NsHandle(ns))
		if err == nil {
			err = os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("1"), 0)
		}
		done <- err
	}()
	return <-done
}

// in calls do with a netlink socket in a network namespace and the container's end there.
func in(ns int, do func(*netlink.Handle, netlink.Link) error) error {
	runtime.LockOSThread() // the socket is made on a thread that is in the namespace for a moment
	defer runtime.UnlockOSThread()
	h, err := netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	l, err := h.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0 in the container: %w", err)
	}
	return do(h, l)
}
