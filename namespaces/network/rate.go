package network

import (
	"fmt"
	"strconv"
	"strings"
)

// This file reads bandwidths as tc(8) writes them: a number and a unit. bit units count
// bits a second, bps units bytes a second; k, m, g and t are powers of 1000, and with an i
// powers of 1024. A number alone counts bits a second.

// A Rate is how much a container may receive and send, in bits a second; 0 means as
// much as the host can.
type Rate struct {
	Down, Up uint64 // to the container; from the container
}

// slowest and fastest are the limits of a rate: below, a single packet of 1500 bytes would
// take longer than a second; above, no link is that fast.
const slowest, fastest = 12_000, 10_000_000_000_000

// units are tc's, in bits a second; the larger of those that mean the same come first.
var units = []struct {
	name string
	bits float64
}{
	{"tibit", 1 << 40}, {"gibit", 1 << 30}, {"mibit", 1 << 20}, {"kibit", 1 << 10},
	{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1},
	{"tibps", 8 << 40}, {"gibps", 8 << 30}, {"mibps", 8 << 20}, {"kibps", 8 << 10},
	{"tbps", 8e12}, {"gbps", 8e9}, {"mbps", 8e6}, {"kbps", 8e3}, {"bps", 8},
	{"", 1},
}

// ParseRate reads DOWN[:UP], such as 10mbit:20mbit. One rate alone is for both directions;
// an empty one, or 0, is no limit.
func ParseRate(text string) (r Rate, err error) {
	down, up, two := strings.Cut(text, ":")
	if text == "" || text == ":" {
		return r, fmt.Errorf("rate %q: want DOWN or DOWN:UP, such as 10mbit:2mbit", text)
	}
	if r.Down, err = parseSpeed(down); err != nil {
		return r, fmt.Errorf("rate %q: %w", text, err)
	}
	if r.Up = r.Down; !two {
		return r, nil
	}
	if r.Up, err = parseSpeed(up); err != nil {
		return r, fmt.Errorf("rate %q: %w", text, err)
	}
	return r, nil
}

// parseSpeed reads one number with its unit, and returns bits a second.
func parseSpeed(text string) (uint64, error) {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := strings.ToLower(text[len(number):])
	if text == "" {
		return 0, nil
	}
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q: want a number and a unit, such as 10mbit", text)
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: want a number and a unit, such as 10mbit", text)
	}
	for _, u := range units {
		if u.name != unit {
			continue
		}
		switch bits := value * u.bits; {
		case bits == 0:
			return 0, nil
		case bits < slowest:
			return 0, fmt.Errorf("%q: want 12kbit or more", text)
		case bits > fastest:
			return 0, fmt.Errorf("%q: want 10tbit or less", text)
		default:
			return uint64(bits), nil
		}
	}
	return 0, fmt.Errorf("%q: unit %q: want one of tc's, such as kbit, mbit, gbit, or kbps for bytes", text, unit)
}

// String is what ParseRate reads; "" if there is no limit.
func (r Rate) String() string {
	switch {
	case r == Rate{}:
		return ""
	case r.Down == r.Up:
		return speed(r.Down)
	}
	return speed(r.Down) + ":" + speed(r.Up)
}

// speed writes bits a second with the largest unit that has no fraction.
func speed(bits uint64) string {
	if bits == 0 {
		return ""
	}
	for _, u := range units[4:9] {
		if bits%uint64(u.bits) == 0 {
			return fmt.Sprintf("%d%s", bits/uint64(u.bits), u.name)
		}
	}
	return fmt.Sprintf("%dbit", bits)
}
