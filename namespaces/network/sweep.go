package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// This file looks at what is there, and removes what nobody needs any more.
//
// A container's link ends with its network namespace. Its elements are removed by whoever notices
// its end: a monitor, an attached run, rm. If all of them were killed, elements stay, and lead to an
// address that nobody has. So each run, and each rm, first removes those; before that, no
// container gets that address.

// A Host is what the host has of the network.
type Host struct {
	Bridge   Bridge
	Links    map[int]string // the id of the container of each link mrN; "": unknown
	Elements []Element
}

// Look reads it. It needs CAP_NET_ADMIN. Whoever adds or removes a link, or the table, meanwhile
// makes the answer of no use (NLM_F_DUMP_INTR of netlink(7), ENOENT): then it is read once more.
func Look() (h *Host, err error) {
	for range 1000 {
		h, err = look()
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.ENOENT) {
			return h, err
		}
	}
	return h, err
}

func look() (h *Host, err error) {
	h = &Host{Links: map[int]string{}}
	if h.Bridge, err = Find(netip.Prefix{}); err != nil {
		return nil, err
	}
	if h.Elements, err = Elements(); err != nil || !h.Bridge.Exists {
		return h, err
	}
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	for _, l := range links {
		text, ours := strings.CutPrefix(l.Attrs().Name, "mr")
		if n, err := strconv.Atoi(text); ours && err == nil && n > 0 {
			h.Links[n] = l.Attrs().Alias
		}
	}
	return h, nil
}

// whole asks the kernel for a list until it is whole. If a link or an address comes or goes while
// the kernel lists them, the list may lack some (NLM_F_DUMP_INTR, netlink(7)): as soon as many
// containers start at once. The bound is there in case that never stops.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range 1000 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// Possible is nil if this machine can give containers a network, or says what is missing:
// CAP_NET_ADMIN, or nf_tables in the kernel. It changes nothing.
func Possible() error {
	_, err := hasTable() // the kernel answers no question about nftables without CAP_NET_ADMIN
	return err
}

// Address is the address of the container's link, or the zero value.
func (h *Host) Address(id string) netip.Addr {
	for n, owner := range h.Links {
		if owner == id {
			return nth(h.Bridge.Address, n)
		}
	}
	return netip.Addr{}
}

// Addresses are those of all links, by the ids of their containers.
func (h *Host) Addresses() map[string]netip.Addr {
	at := map[string]netip.Addr{}
	for n, id := range h.Links {
		if id != "" {
			at[id] = nth(h.Bridge.Address, n)
		}
	}
	return at
}

// Stale are the elements that lead to an address that no container has.
func (h *Host) Stale() (list []Element) {
	for _, e := range h.Elements {
		used := false
		for n := range h.Links {
			used = used || nth(h.Bridge.Address, n) == e.To
		}
		if !used {
			list = append(list, e)
		}
	}
	return list
}

// sweepElements removes those that are stale. The caller holds the lock; but a monitor removes
// its elements without it, and then the kernel refuses the whole transaction (ENOENT): what is left
// is looked for once more.
func (h *Host) sweepElements() error {
	for range 1000 {
		stale := h.Stale()
		if len(stale) == 0 {
			return nil
		}
		err := replace(stale, nil)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		if h.Elements, err = Elements(); err != nil {
			return err
		}
	}
	return errors.New("nftables: elements that lead to nobody come back again and again")
}

// Sweep removes what nobody needs: the links of these containers, which have ended, stale
// elements and, with the last link, bridge, table and forwarding. A machine that has no network
// of ours is left as it is.
func Sweep(ended ...string) error {
	if l, err := netlink.LinkByName(BridgeName); err != nil || l == nil {
		return nil // none was ever made, or we may not look
	}
	release, err := Hold()
	if err != nil {
		return err
	}
	defer release()
	h, err := Look()
	if err != nil {
		return err
	}
	for n, id := range h.Links {
		for _, e := range ended {
			if id == e {
				if err := removeLink(fmt.Sprintf("mr%d", n)); err != nil {
					return err
				}
				delete(h.Links, n)
			}
		}
	}
	if err := h.sweepElements(); err != nil {
		return err
	}
	if busy, err := expected(); err != nil || busy || len(h.Links) > 0 {
		return err
	}
	errs := []error{forwardBack()}
	if h.Bridge.table {
		errs = append(errs, removeTable())
	}
	return errors.Join(append(errs, removeLink(BridgeName))...)
}

// removeLink removes a link. One that is not there any more is no error: its namespace has
// just ended.
func removeLink(name string) error {
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
		if _, gone := netlink.LinkByName(name); errors.As(gone, &netlink.LinkNotFoundError{}) {
			return nil
		}
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}
