package network

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
)

// TestForeign: chains of others that drop what is forwarded are found; those that accept it, ours,
// and those of other hooks are not.
func TestForeign(t *testing.T) {
	alone(t)
	if list, err := Foreign(); err != nil || len(list) > 0 {
		t.Errorf("Foreign() in a new namespace = %q, %v", list, err)
	}
	if err := addTable(BridgeName, netip.MustParsePrefix("10.88.0.1/22")); err != nil {
		t.Fatal(err)
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	drop, accept := nftables.ChainPolicyDrop, nftables.ChainPolicyAccept
	for name, family := range map[string]nftables.TableFamily{"filter": nftables.TableFamilyIPv4, "ufw": nftables.TableFamilyINet, "six": nftables.TableFamilyIPv6} {
		table := c.AddTable(&nftables.Table{Name: name, Family: family})
		c.AddChain(&nftables.Chain{Name: "FORWARD", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
		c.AddChain(&nftables.Chain{Name: "ours", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &accept})
		c.AddChain(&nftables.Chain{Name: "INPUT", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &drop})
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	list, err := Foreign()
	slices.Sort(list)
	if want := []string{"table inet ufw, chain FORWARD", "table ip filter, chain FORWARD"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("Foreign() = %q, %v; want %q", list, err, want)
	}
}
