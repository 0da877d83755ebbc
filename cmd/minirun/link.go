package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/container/bundle"
	"minirun/namespaces/network"
	"minirun/namespaces/network/link"
	"minirun/plan"
	"minirun/plan/print"
)

// This file brings a container onto the bridge, and takes back what nobody needs when it has
// gone. Package network works the link out, and minirunc makes it:
//
//	the address is taken             network.Attach holds it by a lock on a file
//	network.json is written          what minirunc needs to know of the link
//	hosts files are written          bundle.Store.Meet
//	minirun becomes minirunc         --network network.json --lease DESCRIPTOR
//
// The lock goes with the descriptor, also if minirunc is killed.

// attach prepares the link of a container on the bridge, and returns minirunc's flags for
// it; nil if it is on no bridge. Ports that the kernel has chosen are written down.
func attach(c *cli.Context, b *bundle.Bundle) ([]string, error) {
	if b.Annotation(bundle.Network) != "bridge" {
		return nil, nil
	}
	w, err := wish(c, b)
	if err != nil {
		return nil, err
	}
	config, lock, err := network.Attach(w, plan.Options{Notation: print.Step})
	if err != nil {
		return nil, err
	}
	defer lock.Close() // what minirunc inherits is a copy
	if err := b.Attached(w.Ports); err != nil {
		return nil, err
	}
	if err := saveLink(b, config); err != nil {
		return nil, err
	}
	warnOfForeign()
	if err := meet(c, b, config.Address.Addr()); err != nil {
		return nil, fmt.Errorf("hosts files: %w", err)
	}
	fd, err := behindSockets(int(lock.Fd()))
	if err != nil {
		return nil, err
	}
	return []string{"--network", filepath.Join(b.Dir, link.File), "--lease", strconv.Itoa(fd)}, nil
}

// warnOfForeign says who else may drop what containers send and receive. Why a warning? What
// does not arrive is found nowhere else.
func warnOfForeign() {
	chains, err := network.Foreign()
	if err == nil && len(chains) > 0 {
		warn(strings.Join(chains, "; ") + ": drops what is forwarded: the container may not reach other machines, nor they its published ports")
	}
}

// wish is what a container wants of the network.
func wish(c *cli.Context, b *bundle.Bundle) (*network.Wish, error) {
	ports, rate, err := b.Link()
	if err != nil {
		return nil, err
	}
	w := &network.Wish{ID: b.ID, Ports: ports, Rate: rate}
	if text := c.String("network-subnet"); text != "" {
		if w.Network, err = netip.ParsePrefix(text); err != nil {
			return nil, fmt.Errorf("--network-subnet %q: want the bridge's address and network, such as 10.88.0.1/22", text)
		}
	}
	return w, nil
}

// linkOf is the link that a container was given when it was started the last time; nil if it is
// on no bridge, or if that cannot be read any more.
func linkOf(b *bundle.Bundle) *link.Config {
	if b == nil || b.Dir == "" || b.Annotation(bundle.Network) != "bridge" {
		return nil
	}
	l, err := link.Read(filepath.Join(b.Dir, link.File))
	if err != nil {
		return nil
	}
	return l
}

// release closes the descriptor that attach has left open for minirunc.
func release(attached []string) {
	if len(attached) > 0 {
		if fd, err := strconv.Atoi(attached[len(attached)-1]); err == nil {
			unix.Close(fd)
		}
	}
}

// meet writes the names of the containers on the bridge into the hosts files of all. The one
// that is about to start has no link yet, so its address is given; that of others which are
// about to start is in their network.json, and counts as long as they hold its number.
func meet(c *cli.Context, starts *bundle.Bundle, own netip.Addr) error {
	return store(c).Meet(func() (bundle.Address, error) {
		h, err := network.Look()
		if err != nil {
			return nil, err
		}
		at := h.Addresses()
		if starts != nil {
			at[starts.ID] = own
		}
		return func(id string) netip.Addr {
			if at[id].IsValid() {
				return at[id]
			}
			l, err := link.Read(filepath.Join(c.String("store"), "containers", id, link.File))
			if err != nil {
				return netip.Addr{} // it was never on the bridge
			}
			if coming, err := h.Coming(l); err != nil || !coming {
				return netip.Addr{} // it has ended
			}
			return l.Address.Addr()
		}, nil
	}, starts)
}

// leave is called when containers of a bridge have ended, or are gone: the others forget their names,
// and what nobody needs on the host is taken back. Whoever may not change links has made none.
func leave(c *cli.Context, list ...*bundle.Bundle) error {
	var ids []string
	for _, b := range list {
		if b.Annotation(bundle.Network) == "bridge" {
			ids = append(ids, b.ID)
		}
	}
	if os.Geteuid() != 0 || len(ids) == 0 {
		return nil
	}
	if network.Possible() != nil {
		return nil // this machine has lost the right to links, with which its links have gone
	}
	return errors.Join(network.Sweep(ids...), meet(c, nil, netip.Addr{}))
}
