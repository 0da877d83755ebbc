package network

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"minirun/namespaces/network/link"
	"minirun/plan"
)

// This file gives a container its address. The lease is the name of its link (package
// link): no two links are called mr395. But the name exists only once minirunc has made the link,
// and everything is prepared before, for one number. So until then a lock holds the number.
//
//	minirun                                        minirunc
//	locks the whole file (flock)
//	sweeps; makes the bridge and the table
//	takes a number: no link, no element has it,
//	  and nobody has a lock on its byte
//	locks that byte (F_OFD_SETLK)
//	unlocks the file
//	becomes minirunc ----------------------------> makes the link
//	                                               closes the file: the byte is free
//
// Both locks belong to an open file, not to a process, so the kernel frees them if one of the
// two is killed, at any point.

// stateDir is root's alone. What is in it is forgotten at the next boot, as the links are.
const stateDir = "/run/minirun-network"

// lockFile is the file of the locks.
const lockFile = stateDir + "/lock"

// Hold waits for the lock on the host's side of the network. What changes bridge, table or
// elements holds it. release gives it back.
func Hold() (release func(), err error) {
	f, err := openLock()
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", lockFile, err)
	}
	return func() { f.Close() }, nil
}

func openLock() (*os.File, error) {
	if err := os.Mkdir(stateDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.OpenFile(lockFile, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
}

// A Wish is what a container wants of the network.
type Wish struct {
	ID      string       // the container's
	Ports   []Port       // to publish; Host 0 means any that is free
	Rate    Rate         //
	Network netip.Prefix // of a bridge that is still to be made; see [Find]
}

// Attach prepares the host, and returns what a container's link is to be. The ports in wish.Ports
// get their numbers. lock holds the address until the link exists; whoever makes the link
// inherits it. look are the options of the plan that makes the host's side; its steps are those
// of [Bridge.Make].
//
// A port that is in use is an error that names who has it.
func Attach(wish *Wish, look plan.Options) (c *link.Config, lock *os.File, err error) {
	release, err := Hold()
	if err != nil {
		return nil, nil, err
	}
	defer release()
	h, err := Look()
	if err != nil {
		return nil, nil, err
	}
	if err := h.sweepElements(); err != nil {
		return nil, nil, err
	}
	if err := h.choosePorts(wish.Ports); err != nil {
		return nil, nil, err
	}
	bridge, err := Ensure(wish.Network, look)
	if err != nil {
		return nil, nil, err
	}
	n, lock, err := h.take(bridge.Address, wish.ID)
	if err != nil {
		return nil, nil, err
	}
	if c, err = bridge.config(n, wish); err != nil {
		lock.Close()
		return nil, nil, err
	}
	return c, lock, nil
}

// Ensure makes what is missing on the host, such as a table that somebody has flushed. The caller
// holds the lock. network and look are those of [Wish] and [Attach].
func Ensure(network netip.Prefix, look plan.Options) (Bridge, error) {
	bridge, err := Find(network)
	if err != nil || !bridge.Missing() {
		return bridge, err
	}
	p := &plan.Plan{}
	bridge.Make(p)
	if _, err := p.Start(look); err != nil {
		return bridge, fmt.Errorf("network: %w", err)
	}
	return bridge, nil
}

// Plan records the host's side of the network, as Attach would make it, and returns the link of a
// container with the first address: for printing. It changes nothing.
func Plan(p *plan.Plan, wish *Wish) (*link.Config, error) {
	bridge, err := Find(wish.Network)
	if err != nil {
		return nil, err
	}
	if bridge.Missing() {
		bridge.Make(p)
	}
	return bridge.config(2, wish)
}

// config is what the link with a number is to be.
func (b Bridge) config(n int, wish *Wish) (*link.Config, error) {
	c := &link.Config{ID: wish.ID, N: n, Bridge: b.Name, Address: netip.PrefixFrom(nth(b.Address, n), b.Address.Bits()), Gateway: b.Address.Addr(),
		Down: wish.Rate.Down, Up: wish.Rate.Up}
	for _, p := range wish.Ports {
		m, err := Element{Port: p, Last: draws - 1, To: c.Address.Addr()}.message()
		if err != nil {
			return nil, err
		}
		c.Publish = append(c.Publish, m)
	}
	return c, nil
}

// nth is the network's address plus n.
func nth(network netip.Prefix, n int) netip.Addr {
	four := network.Masked().Addr().As4()
	sum := uint32(four[0])<<24 | uint32(four[1])<<16 | uint32(four[2])<<8 | uint32(four[3])
	sum += uint32(n)
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// mostPorts is how many ports a bridge can have (BR_MAX_PORTS of the kernel, less one).
const mostPorts = 1023

// Room is how many containers the network has addresses for: all but those of the network
// itself, the bridge, and the broadcast.
func Room(network netip.Prefix) int { return min(1<<(32-network.Bits())-3, mostPorts) }

// take takes a free number. It begins at one that follows from the container's id, so that many
// runs at once do not all try the same, and a number that has just become free is not
// the next to be used.
func (h *Host) take(network netip.Prefix, id string) (n int, lock *os.File, err error) {
	room := Room(network)
	if len(h.Links) >= room {
		return 0, nil, fmt.Errorf("network %s: all %d addresses are in use", network.Masked(), room)
	}
	f, err := openLock()
	if err != nil {
		return 0, nil, err
	}
	hash := fnv.New32a()
	hash.Write([]byte(id))
	for i := range 1<<(32-network.Bits()) - 2 {
		n := 1 + int((uint64(hash.Sum32())+uint64(i))%uint64(1<<(32-network.Bits())-2))
		if _, used := h.Links[n]; used || nth(network, n) == network.Addr() {
			continue
		}
		err := byteLock(f, unix.F_OFD_SETLK, int64(n), 1).err
		if err == nil {
			return n, f, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			f.Close()
			return 0, nil, fmt.Errorf("lock %s: %w", lockFile, err)
		}
	}
	f.Close()
	return 0, nil, fmt.Errorf("network %s: all %d addresses are in use, or about to be", network.Masked(), room)
}

type locked struct {
	other bool // somebody else has a lock there
	err   error
}

// byteLock takes a lock on n bytes, or asks whether somebody has one (fcntl(2), Linux 3.15).
func byteLock(f *os.File, cmd int, start, n int64) locked {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: start, Len: n}
	err := unix.FcntlFlock(f.Fd(), cmd, &l)
	return locked{l.Type != unix.F_UNLCK, err}
}

// expected says whether somebody has taken a number and not made the link yet.
func expected() (bool, error) {
	f, err := openLock()
	if err != nil {
		return false, err
	}
	defer f.Close()
	l := byteLock(f, unix.F_OFD_GETLK, 0, 0) // 0 bytes: all
	return l.other, l.err
}

// Coming says whether a container that is not among the links of h has an address all the same:
// its link is about to be made, or has been made since h was read.
func (h *Host) Coming(c *link.Config) (bool, error) {
	f, err := openLock()
	if err != nil {
		return false, err
	}
	defer f.Close()
	l := byteLock(f, unix.F_OFD_GETLK, int64(c.N), 1)
	if l.err != nil || l.other || h.Links[c.N] != "" {
		return l.other && h.Links[c.N] == "", l.err
	}
	made, err := netlink.LinkByName(c.Name())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return false, nil
	}
	return err == nil && made.Attrs().Alias == c.ID, err
}
