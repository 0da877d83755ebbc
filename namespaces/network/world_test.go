package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"minirun/namespaces/network/link"
	"minirun/plan"
)

// The guards, with packets. The test's namespace is a host with two networks of its own, "lan" and
// "other", and one container is on its bridge. Each is a network namespace with a process in it.
//
//	lan 192.0.2.2 ---- lan0 192.0.2.1       host       198.51.100.1 other0 ---- 198.51.100.2 other
//	                                  minirun0 10.88.0.1
//	                                          |
//	                                  eth0 of the container
//
// They send and receive by sockets of the test itself: a socket belongs to the namespace of the thread
// that makes it.

// A place is a network namespace, held by a process that sleeps.
type place struct {
	t   *testing.T
	pid int
}

func newPlace(t *testing.T) place {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return place{t, cmd.Process.Pid}
}

// in calls do on a thread that is in the namespace, and that ends with it.
func (p place) in(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		err := p.enter()
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// enter moves the calling thread into the namespace.
func (p place) enter() error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
}

// plug connects a place with the host, on a network of its own.
func (p place) plug(name, host, own string) {
	p.t.Helper()
	check(p.t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsPid(p.pid)}))
	up(p.t, name, host)
	check(p.t, p.in(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a, _ := netlink.ParseAddr(own)
		gateway := netip.MustParsePrefix(host).Addr().AsSlice()
		return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l), netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gateway}))
	}))
}

func up(t *testing.T, name, address string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	check(t, err)
	a, err := netlink.ParseAddr(address)
	check(t, err)
	check(t, errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l)))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// datagrams is a socket of UDP in the calling thread's namespace.
func datagrams(address string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	a := netip.MustParseAddrPort(address)
	return fd, unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())})
}

// listen is such a socket in the place, until the test ends.
func (p place) listen(address string) (fd int) {
	p.t.Helper()
	check(p.t, p.in(func() (err error) { fd, err = datagrams(address); return err }))
	p.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// send sends a datagram from the place. An error, such as ENETUNREACH, is as good as a loss.
func (p place) send(to string) {
	p.in(func() error {
		fd, err := datagrams("0.0.0.0:0")
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		a := netip.MustParseAddrPort(to)
		return unix.Sendto(fd, []byte(to), 0, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())})
	})
}

// forge sends a datagram from the container with a source and a destination that no ordinary socket
// of its could have, to the bridge's hardware address.
func (p place) forge(bridge netlink.Link, source, destination string) {
	p.t.Helper()
	from, to := netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)
	payload := []byte(destination)
	length := byte(28 + len(payload))
	f, t := from.Addr().As4(), to.Addr().As4()
	ip := []byte{0x45, 0, 0, length, 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, f[:]...), t[:]...)
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	sum = sum>>16 + sum&0xffff
	ip[10], ip[11] = byte(^sum>>8), byte(^sum)
	udp := []byte{byte(from.Port() >> 8), byte(from.Port()), byte(to.Port() >> 8), byte(to.Port()), 0, length - 20, 0, 0}
	check(p.t, p.in(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		a := &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: l.Attrs().Index, Halen: 6} // ETH_P_IP, as the network has it
		copy(a.Addr[:], bridge.Attrs().HardwareAddr)
		return unix.Sendto(fd, append(append(ip, udp...), payload...), 0, a)
	}))
}

// patience is how long to wait for what must arrive: the kernel asks again for a hardware address
// after a second. quiet is how long nothing more must come then.
const patience, quiet = 5 * time.Second, 200 * time.Millisecond

// got are the texts of the datagrams that arrive: n, and what comes for a while after them.
func got(fd, n int) (list []string) {
	b := make([]byte, 100)
	for {
		wait := quiet
		if len(list) < n {
			wait = patience
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if ready < 1 {
			return list
		}
		n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
		if err != nil {
			return list // ECONNREFUSED, of something that was sent
		}
		list = append(list, string(b[:n]))
	}
}

// connected makes the network, and a process that is on it as a container is. end ends it.
func connected(t *testing.T, ports ...Port) (container place, c *link.Config, end func()) {
	t.Helper()
	c, lock, err := Attach(&Wish{ID: strings.Repeat("b", 64), Ports: ports}, plan.Options{})
	check(t, err)
	defer lock.Close()
	p := &plan.Plan{}
	p.On(plan.Runtime)
	p.Clone3(plan.Clone{Flags: unix.CLONE_NEWNET, PidFD: true})
	p.On(plan.Child)
	c.Connect(p)
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/sleep", []string{"sleep", "1000"}, nil)
	child, err := p.Start(plan.Options{})
	check(t, err)
	end = sync.OnceFunc(func() {
		unix.Kill(child.Pid, unix.SIGKILL)
		child.Wait() // how it ended is known
	})
	t.Cleanup(end)
	return place{t, child.Pid}, c, end
}

// TestGuards: what containers and neighbours may not send does not arrive; beside each such thing
// is one that does.
func TestGuards(t *testing.T) {
	alone(t)
	lan, other := newPlace(t), newPlace(t)
	lan.plug("lan0", "192.0.2.1/24", "192.0.2.2/24")
	other.plug("other0", "198.51.100.1/24", "198.51.100.2/24")
	lo, err := netlink.LinkByName("lo")
	check(t, err)
	check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index + 1, Gw: netip.MustParseAddr("192.0.2.2").AsSlice()}))
	host := place{t, unix.Gettid()}
	before := fingerprint(t)
	container, c, end := connected(t, Port{Protocol: "udp", Host: 8080, Container: 80})
	own := c.Address.Addr().String()
	bridge, err := netlink.LinkByName(BridgeName)
	check(t, err)
	loopback, all := host.listen("127.0.0.1:50"), host.listen("0.0.0.0:51")
	published, unpublished, beyond := container.listen("0.0.0.0:80"), container.listen("0.0.0.0:81"), other.listen("0.0.0.0:90")

	for _, source := range []string{own, "127.0.0.1", "127.0.0.2"} {
		container.forge(bridge, source+":9", "127.0.0.1:50")
		container.forge(bridge, source+":9", "10.88.0.1:51")
	}
	wants(t, "the host's loopback", loopback)
	wants(t, "the host, from a container: its own address alone", all, "10.88.0.1:51")

	lan.send(own + ":81")
	lan.send(own + ":80")
	lan.send("192.0.2.1:8080")
	host.send("127.0.0.1:8080")
	container.send("10.88.0.1:8080")
	wants(t, "a published port: by the host's address, its loopback, and from the container itself", published, "192.0.2.1:8080", "127.0.0.1:8080", "10.88.0.1:8080")
	wants(t, "a port that is not published", unpublished)
	host.send(own + ":81")
	wants(t, "the same, from the host", unpublished, own+":81")

	lan.send("198.51.100.2:90")
	wants(t, "a network behind the host, from a neighbour", beyond)
	container.send("198.51.100.2:90")
	wants(t, "the same, from a container", beyond, "198.51.100.2:90")
	other.send("198.51.100.1:8080")
	wants(t, "a published port, by a device without a default route", published, "198.51.100.1:8080")

	check(t, container.in(func() error { // a neighbour could say by IPv6 that it is the way to everything
		if text, err := os.ReadFile("/proc/thread-self/net/if_inet6"); err == nil && strings.Contains(string(text), "eth0") {
			return fmt.Errorf("eth0 has an address of IPv6: %s", text)
		}
		return nil
	}))
	end()
	check(t, Sweep(c.ID))
	if after := fingerprint(t); after != before {
		t.Errorf("left behind: before %s, after %s", before, after)
	}
}

func wants(t *testing.T, what string, fd int, list ...string) {
	t.Helper()
	if got := got(fd, len(list)); !slices.Equal(got, list) {
		t.Errorf("%s: got %q, want %q", what, got, list)
	}
}

// TestHalfMade: a minirun that is killed leaves a bridge that is half made; the next one completes it.
func TestHalfMade(t *testing.T) {
	alone(t)
	before := fingerprint(t)
	check(t, Bridge{Name: BridgeName, Address: netip.MustParsePrefix("10.88.0.1/22")}.add())
	_, lock, err := Attach(&Wish{ID: "x"}, plan.Options{})
	check(t, err)
	lock.Close()
	b, err := Find(netip.Prefix{})
	if err != nil || !b.Exists || b.Missing() || b.Address != netip.MustParsePrefix("10.88.0.1/22") {
		t.Errorf("Find() = %+v, %v, want a bridge that lacks nothing", b, err)
	}
	check(t, Sweep())
	if after := fingerprint(t); after != before {
		t.Errorf("left behind: before %s, after %s", before, after)
	}
}

// TestForwardingOfOthers: devices that somebody else needs as routers stay so when the last container goes.
func TestForwardingOfOthers(t *testing.T) {
	alone(t)
	lan := newPlace(t)
	lan.plug("lan0", "192.0.2.1/24", "192.0.2.2/24")
	read := func() string {
		text, _ := os.ReadFile(sysctlPath(4, "lan0", "forwarding"))
		return strings.TrimSpace(string(text))
	}
	for _, test := range []struct{ meanwhile, want string }{{"", "0"}, {"1", "1"}} {
		_, lock, err := Attach(&Wish{ID: "x"}, plan.Options{})
		check(t, err)
		lock.Close()
		if got := read(); got != "1" {
			t.Errorf("forwarding of lan0 with a container: %s, want 1", got)
		}
		if test.meanwhile != "" {
			check(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte(test.meanwhile), 0))
		}
		check(t, Sweep())
		if got := read(); got != test.want || len(Forwarding()) > 0 {
			t.Errorf("ip_forward %q meanwhile: forwarding of lan0 is %s, want %s; to be switched off: %v", test.meanwhile, got, test.want, Forwarding())
		}
	}
}
