package network

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
)

// Foreign are the chains of others that drop what is forwarded, unless one of their rules says
// otherwise, as "table ip filter, chain FORWARD": Docker and ufw make such. A packet must
// pass the chains of all tables. So these may cut containers off from the world, and the world
// from published ports; what comes from the host itself is not forwarded, and passes.
func Foreign() ([]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	var list []string
	for _, chain := range chains {
		family, ok := map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyINet: "inet"}[chain.Table.Family]
		if !ok || chain.Table.Name == Table && family == "ip" || chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward {
			continue
		}
		if chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop {
			list = append(list, strings.Join([]string{"table", family, chain.Table.Name + ", chain", chain.Name}, " "))
		}
	}
	return list, nil
}
