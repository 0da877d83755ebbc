package network

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// This file writes the table of nftables. As nft(8) would list it:
//
//	table ip minirun {
//		map tcp_ports { type ipv4_addr . inet_service . inet_service : ipv4_addr . inet_service; flags interval; }
//		map udp_ports { the same }
//		set uplinks { type ifname; }
//		chain ports {
//			fib daddr type local dnat ip to ip daddr . tcp dport . numgen random mod 65536 map @tcp_ports  # three times
//			the same for udp
//		}
//		chain prerouting  { type nat hook prerouting priority dstnat;  jump ports }
//		chain output      { type nat hook output priority -100;        jump ports }
//		chain postrouting { type nat hook postrouting priority srcnat;
//			ip saddr NETWORK oifname != "minirun0" masquerade
//			ct status & dnat != 0 oifname "minirun0" ip saddr 127.0.0.0/8 masquerade
//			ct status & dnat != 0 oifname "minirun0" ip saddr NETWORK masquerade
//		}
//		chain guard   { type filter hook prerouting priority raw;
//			iifname "minirun0" ip daddr 127.0.0.0/8 drop
//			iifname "minirun0" ip saddr 127.0.0.0/8 drop
//		}
//		chain forward { type filter hook forward priority filter;
//			oifname "minirun0" iifname != "minirun0" ct state & (established | related) == 0 ct status & dnat == 0 drop
//			iifname @uplinks oifname != "minirun0" ct state & (established | related) == 0 ct status & dnat == 0 drop
//		}
//	}
//
// The number is said to be a port (inet_service): it is as large as one, and nft(8) can then read and
// write it. (A table that nft makes says `typeof` instead, which the library cannot say.)
//
// Why is a rule there three times? If a container of a service ends, its numbers are free until
// the service is spread anew. Who draws one of them draws again at the next rule.
//
// Why the two last masquerades? A connection from the host's loopback would reach the
// container with the source 127.0.0.1, and the answer would go to the container's own loopback.
// And one container that reaches another, or itself, by a published port would get the answer from
// an address that it has not called.
//
// The guards. Without the first, a container that can write raw packets reaches services on
// the host's loopback, because route_localnet is on for the bridge. For the same reason it could
// say that a packet comes from 127.0.0.2, and services that trust the host would believe it:
// the second. Without the third, neighbours in the host's own network that set a route to the container's network reach every port
// of every container, published or not. The fourth keeps to containers what forwarding was switched
// on for: uplinks are the devices that did not forward before (bridge.go). Without it, neighbours
// on one of the host's networks would reach the others through the host. Answers to connections of
// others, such as virtual machines', pass.

// Table is its name, in the family ip.
const Table = "minirun"

// draws is how many numbers a connection can draw.
const draws = 1 << 16

// Bits of a connection's state and status, as the kernel numbers them (nf_conntrack_common.h).
const (
	stateEstablished, stateRelated = 2, 4
	statusDNAT                     = 1 << 5
)

// protocols are those whose ports can be published.
var protocols = []string{"tcp", "udp"}

var protocolNumbers = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}

func table() *nftables.Table {
	return &nftables.Table{Name: Table, Family: nftables.TableFamilyIPv4}
}

// portMap is the map of a protocol's ports.
func portMap(protocol string) *nftables.Set {
	key, err1 := nftables.ConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService, nftables.TypeInetService)
	data, err2 := nftables.ConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	if err1 != nil || err2 != nil {
		panic("nftables: too many types in a key") // a constant of ours
	}
	return &nftables.Set{Table: table(), Name: protocol + "_ports", IsMap: true, Interval: true, Concatenation: true, KeyType: key, DataType: data}
}

// addTable writes the whole table, as one transaction. A table of that name that is there is
// replaced.
func addTable(bridge string, network netip.Prefix) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	t := table()
	c.AddTable(t) // so that the next message finds one
	c.DelTable(t)
	c.AddTable(t)
	ports := c.AddChain(&nftables.Chain{Name: "ports", Table: t})
	if err := c.AddSet(uplinkSet(), nil); err != nil {
		return fmt.Errorf("nftables: set of uplinks: %w", err)
	}
	for _, protocol := range protocols {
		set := portMap(protocol)
		if err := c.AddSet(set, nil); err != nil {
			return fmt.Errorf("nftables: map %s: %w", set.Name, err)
		}
		for range 3 {
			c.AddRule(&nftables.Rule{Table: t, Chain: ports, Exprs: publish(protocol, set)})
		}
	}
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority, rules ...[]expr.Any) {
		chain := c.AddChain(&nftables.Chain{Name: name, Table: t, Type: kind, Hooknum: hook, Priority: priority})
		for _, r := range rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: r})
		}
	}
	jump := []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: ports.Name}}
	chain("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, jump)
	chain("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest, jump)
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	masquerade := []expr.Any{&expr.Masq{}}
	drop := []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	translated, untranslated := connection(expr.CtKeySTATUS, statusDNAT, expr.CmpOpNeq), connection(expr.CtKeySTATUS, statusDNAT, expr.CmpOpEq)
	fresh := connection(expr.CtKeySTATE, stateEstablished|stateRelated, expr.CmpOpEq)
	chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource,
		rule(address(source, network), device(expr.MetaKeyOIFNAME, expr.CmpOpNeq, bridge), masquerade),
		rule(translated, device(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge), address(source, loopback), masquerade),
		rule(translated, device(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge), address(source, network), masquerade))
	chain("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw,
		rule(device(expr.MetaKeyIIFNAME, expr.CmpOpEq, bridge), address(destination, loopback), drop),
		rule(device(expr.MetaKeyIIFNAME, expr.CmpOpEq, bridge), address(source, loopback), drop))
	chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter,
		rule(device(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge), device(expr.MetaKeyIIFNAME, expr.CmpOpNeq, bridge),
			fresh, untranslated, drop),
		rule(fromUplink(), device(expr.MetaKeyOIFNAME, expr.CmpOpNeq, bridge), fresh, untranslated, drop))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// command is the command of nft(8) that makes the same table.
func command(bridge string, network netip.Prefix) string {
	text := "nft 'table ip " + Table + " { set uplinks { type ifname; };"
	for _, protocol := range protocols {
		text += fmt.Sprintf(" map %s_ports { typeof ip daddr . %[1]s dport . numgen random mod %d : ip daddr . %[1]s dport; flags interval; };", protocol, draws)
	}
	text += " chain ports {"
	for _, protocol := range protocols {
		for range 3 {
			text += fmt.Sprintf(" fib daddr type local dnat ip to ip daddr . %s dport . numgen random mod %d map @%[1]s_ports;", protocol, draws)
		}
	}
	b := fmt.Sprintf("%q", bridge)
	return text + " };" +
		" chain prerouting { type nat hook prerouting priority dstnat; jump ports; };" +
		" chain output { type nat hook output priority -100; jump ports; };" +
		" chain postrouting { type nat hook postrouting priority srcnat; ip saddr " + network.Masked().String() + " oifname != " + b + " masquerade;" +
		" ct status dnat oifname " + b + " ip saddr 127.0.0.0/8 masquerade; ct status dnat oifname " + b + " ip saddr " + network.Masked().String() + " masquerade; };" +
		" chain guard { type filter hook prerouting priority raw; iifname " + b + " ip daddr 127.0.0.0/8 drop; iifname " + b + " ip saddr 127.0.0.0/8 drop; };" +
		" chain forward { type filter hook forward priority filter; oifname " + b + " iifname != " + b + " ct state & (established|related) == 0 ct status & dnat == 0 drop;" +
		" iifname @uplinks oifname != " + b + " ct state & (established|related) == 0 ct status & dnat == 0 drop; }; }'"
}

// rule is the expressions of several parts, one after the other: each that does not hold ends it.
func rule(parts ...[]expr.Any) (all []expr.Any) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// publish looks up address, port and a random number, and changes the destination to what is
// found. 8, 9 and 10 are neighbouring registers of 4 bytes: the fields of a key lie side by side. The
// number is in the machine's byte order, with its lower half first (amd64 and arm64); in the key the order is
// the network's.
func publish(protocol string, set *nftables.Set) []expr.Any {
	const first, second, third = 8, 9, 10
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}, // whose address it is: a local one
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocolNumbers[protocol]}},
		&expr.Payload{DestRegister: first, Base: expr.PayloadBaseNetworkHeader, Offset: destination, Len: 4},
		&expr.Payload{DestRegister: second, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // the destination port
		&expr.Numgen{Register: third, Modulus: draws, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: third, DestRegister: third, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Lookup{SourceRegister: first, DestRegister: first, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: first, RegProtoMin: second},
	}
}

// Where the addresses are in a header of IPv4 (RFC 791, 3.1).
const source, destination = 12, 16

// address holds if the address at an offset of the header is in a network.
func address(offset uint32, network netip.Prefix) []expr.Any {
	all := ^uint32(0)
	mask := binaryutil.BigEndian.PutUint32(all << (32 - network.Bits()))
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: network.Masked().Addr().AsSlice()},
	}
}

// uplinkSet is the set of devices that forward for containers only. nft(8) must be told of the
// machine's byte order: it lists a name backwards otherwise.
func uplinkSet() *nftables.Set {
	return &nftables.Set{Table: table(), Name: "uplinks", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
}

// addUplink adds a device to that set. One that is in it already is no error.
func addUplink(name string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	if err := c.SetAddElements(uplinkSet(), []nftables.SetElement{{Key: key}}); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return c.Flush()
}

// uplinkText is the same for nft(8).
func uplinkText(name string) string {
	return fmt.Sprintf("nft 'add element ip %s uplinks { %q }'", Table, name)
}

// fromUplink holds if a packet has come by one of them.
func fromUplink() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: uplinkSet().Name}}
}

// device compares the name of the device that a packet came in by, or will go out by.
func device(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	text := make([]byte, unix.IFNAMSIZ)
	copy(text, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: text}}
}

// connection compares some bits of what the kernel knows of a connection with 0.
func connection(key expr.CtKey, bits uint32, op expr.CmpOp) []expr.Any {
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: zero},
		&expr.Cmp{Op: op, Register: 1, Data: zero},
	}
}

// hasTable says whether the table is there.
func hasTable() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	for _, t := range tables {
		if t.Name == Table {
			return true, nil
		}
	}
	return false, nil
}

// removeTable removes the table with all that is in it.
func removeTable() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	c.DelTable(table())
	return c.Flush()
}
