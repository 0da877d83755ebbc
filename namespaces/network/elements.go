package network

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"minirun/namespaces/network/link"
)

// This file is about the elements of the two maps. The key is a range in each of three
// fields: addresses of the host's, ports, numbers that a connection draws. The value is a
// container's address and port.
//
//	0.0.0.0/0 . 8080 . 0-65535 : 10.88.0.5 . 80
//
// The kernel refuses an element of which the key overlaps with that of another (EEXIST). So no
// two containers can publish one port.

// An Element is one of them.
type Element struct {
	Port        Port
	First, Last uint32     // the numbers that lead here
	To          netip.Addr // the container's address
}

// key is the lower or the upper end of the key: address, port and number, each in 4 bytes.
func (e Element) key(upper bool) []byte {
	address, number := [4]byte{}, uint16(e.First)
	if upper {
		address, number = [4]byte{255, 255, 255, 255}, uint16(e.Last)
	}
	if e.Port.Address.IsValid() {
		address = e.Port.Address.As4()
	}
	b := append(address[:], 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(b[4:], e.Port.Host)
	binary.BigEndian.PutUint16(b[8:], number)
	return b
}

func (e Element) set() nftables.SetElement {
	to := e.To.As4()
	return nftables.SetElement{Key: e.key(false), KeyEnd: e.key(true), Val: append(to[:], byte(e.Port.Container>>8), byte(e.Port.Container), 0, 0)}
}

// String is the element as nft(8) writes it.
func (e Element) String() string {
	on := "0.0.0.0/0"
	if e.Port.Address.IsValid() {
		on = e.Port.Address.String()
	}
	return fmt.Sprintf("%s . %d . %d-%d : %s . %d", on, e.Port.Host, e.First, e.Last, e.To, e.Port.Container)
}

// text is the command of nft(8) that adds or deletes elements of a protocol's map.
func text(verb, protocol string, e Element) string {
	return fmt.Sprintf("%s element ip %s %s_ports { %s }", verb, Table, protocol, e)
}

// message prepares the messages that add and delete the element.
func (e Element) message() (m link.Message, err error) {
	set, element := portMap(e.Port.Protocol), []nftables.SetElement{e.set()}
	m.Text, m.Back = "'"+text("add", e.Port.Protocol, e)+"'", "'"+text("delete", e.Port.Protocol, e)+"'"
	if m.Add, err = batch(func(c *nftables.Conn) error { return c.SetAddElements(set, element) }); err != nil {
		return m, err
	}
	m.Delete, err = batch(func(c *nftables.Conn) error { return c.SetDeleteElements(set, element) })
	return m, err
}

// batch is the bytes that a connection would send. The library sends them itself; here it is
// given a socket that only remembers.
func batch(record func(*nftables.Conn) error) ([]byte, error) {
	var b bytes.Buffer
	c, err := nftables.New(nftables.WithTestDial(func(messages []netlink.Message) ([]netlink.Message, error) {
		for _, m := range messages {
			m.Header.PID = 0 // the kernel fills in the sender
			one, err := m.MarshalBinary()
			if err != nil {
				return nil, err
			}
			b.Write(one)
		}
		return nil, io.EOF // there is nobody to answer
	}))
	if err == nil {
		err = record(c)
	}
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	c.Flush() // EOF, from above
	if b.Len() == 0 {
		return nil, errors.New("nftables: nothing to send")
	}
	return b.Bytes(), nil
}

// Elements are those that the kernel has, in the order of their ports and numbers; nil if there
// is no table. The table may be removed while it is read. The library's error has lost its errno
// and does not say so; therefore each error is a reason to look once more.
func Elements() (all []Element, err error) {
	for range 10 {
		if all, err = elements(); err == nil {
			break
		}
	}
	slices.SortFunc(all, func(a, b Element) int {
		return cmp.Or(cmp.Compare(a.Port.Host, b.Port.Host), cmp.Compare(a.Port.Protocol, b.Port.Protocol), a.Port.Address.Compare(b.Port.Address), cmp.Compare(a.First, b.First))
	})
	return all, err
}

// elements reads the elements of both maps once.
func elements() (all []Element, err error) {
	has, err := hasTable()
	if err != nil || !has {
		return nil, err
	}
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	for _, protocol := range protocols {
		list, err := c.GetSetElements(portMap(protocol))
		if err != nil {
			return nil, fmt.Errorf("nftables: elements of %s_ports: %w", protocol, err)
		}
		for _, s := range list {
			if e, ok := element(protocol, s); ok {
				all = append(all, e)
			}
		}
	}
	return all, nil
}

// element reads what the kernel says of one.
func element(protocol string, s nftables.SetElement) (e Element, ok bool) {
	if len(s.Key) < 12 || len(s.KeyEnd) < 12 || len(s.Val) < 6 {
		return e, false
	}
	e.Port = Port{Protocol: protocol, Host: binary.BigEndian.Uint16(s.Key[4:]), Container: binary.BigEndian.Uint16(s.Val[4:])}
	if bytes.Equal(s.Key[:4], s.KeyEnd[:4]) {
		e.Port.Address = netip.AddrFrom4([4]byte(s.Key[:4]))
	}
	e.First, e.Last = uint32(binary.BigEndian.Uint16(s.Key[8:])), uint32(binary.BigEndian.Uint16(s.KeyEnd[8:]))
	e.To = netip.AddrFrom4([4]byte(s.Val[:4]))
	return e, true
}

// replace removes elements and adds others, as one transaction. What is in both stays as it is.
func replace(old, fresh []Element) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	change := func(list, without []Element, do func(*nftables.Set, []nftables.SetElement) error) error {
		for _, protocol := range protocols {
			var sets []nftables.SetElement
			for _, e := range list {
				if e.Port.Protocol == protocol && !slices.Contains(without, e) {
					sets = append(sets, e.set())
				}
			}
			for some := range slices.Chunk(sets, 256) { // an attribute has room for 64 KiB
				if err := do(portMap(protocol), some); err != nil {
					return fmt.Errorf("nftables: %w", err)
				}
			}
		}
		return nil
	}
	if err := change(old, fresh, c.SetDeleteElements); err != nil {
		return err
	}
	if err := change(fresh, old, c.SetAddElements); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// Serve spreads the connections to a port of the host's over containers. It replaces what was
// there for that port, in one transaction. No containers: the port leads nowhere. p.Container is
// their port. The caller holds the lock (see [Hold]).
func Serve(p Port, to []netip.Addr) error {
	all, err := Elements()
	if err != nil {
		return err
	}
	var old []Element
	for _, e := range all {
		if e.Port.Protocol == p.Protocol && e.Port.Host == p.Host && e.Port.Address == p.Address {
			old = append(old, e)
		}
	}
	return replace(old, Spread(p, to))
}

// Spread gives each of the containers an equal range of the numbers.
func Spread(p Port, to []netip.Addr) (list []Element) {
	for i, a := range to {
		list = append(list, Element{Port: p, First: uint32(i * draws / len(to)), Last: uint32((i+1)*draws/len(to) - 1), To: a})
	}
	return list
}
