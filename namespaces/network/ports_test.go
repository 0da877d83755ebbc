package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// portCases are words as people write them, and the ports or the error.
var portCases = map[string]string{
	"8080:80":                 "0.0.0.0:8080->80/tcp",
	"8080:80/tcp":             "0.0.0.0:8080->80/tcp",
	"53:5353/udp":             "0.0.0.0:53->5353/udp",
	"53:53/UDP":               "0.0.0.0:53->53/udp",
	"127.0.0.1:8080:80":       "127.0.0.1:8080->80/tcp",
	"0.0.0.0:8080:80":         "0.0.0.0:8080->80/tcp",
	"80":                      "0.0.0.0:0->80/tcp",
	"80-81/udp":               "0.0.0.0:0->80/udp 0.0.0.0:0->81/udp",
	"127.0.0.1::80":           "127.0.0.1:0->80/tcp",
	"8000-8002:80-82":         "0.0.0.0:8000->80/tcp 0.0.0.0:8001->81/tcp 0.0.0.0:8002->82/tcp",
	"65535:65535":             "0.0.0.0:65535->65535/tcp",
	"":                        `port "": container's port "": want 1 to 65535`,
	":80":                     `port ":80": host's port "": want 1 to 65535`,
	"80:":                     `port "80:": container's port "": want 1 to 65535`,
	"0:80":                    `port "0:80": host's port "0": want 1 to 65535`,
	"80:65536":                `port "80:65536": container's port "65536": want 1 to 65535`,
	"80:-1":                   `port "80:-1": container's port "": want 1 to 65535`,
	"80:+1":                   `port "80:+1": container's port "+1": want 1 to 65535`,
	"http:80":                 `port "http:80": host's port "http": want 1 to 65535`,
	"80:80/sctp":              `port "80:80/sctp": protocol "sctp": want tcp or udp`,
	"80:80/":                  `port "80:80/": protocol "": want tcp or udp`,
	"8000-8010:80":            `port "8000-8010:80": 11 ports of the host's for 1 of the container's: want as many`,
	"90-80:90-80":             `port "90-80:90-80": container's port "90-80": want the lower one first`,
	"[::1]:80:80":             `port "[::1]:80:80": an IPv6 address: ports are published on IPv4 addresses only`,
	"::1:80:80":               `port "::1:80:80": an IPv6 address: ports are published on IPv4 addresses only`,
	"localhost:80:80":         `port "localhost:80:80": address "localhost": want an IPv4 address of the host's`,
	"224.0.0.1:80:80":         `port "224.0.0.1:80:80": address "224.0.0.1": want an IPv4 address of the host's`,
	"80:80\n90:90":            `port "80:80\n90:90": address "80": want an IPv4 address of the host's`,
	"127.0.0.1:80":            `port "127.0.0.1:80": host's port "127.0.0.1": want 1 to 65535`,
	"80:99999999999999999999": `port "80:99999999999999999999": container's port "99999999999999999999": want 1 to 65535`,
}

func printed(ports []Port, err error) string {
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, p := range ports {
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}

func TestParsePort(t *testing.T) {
	for word, want := range portCases {
		if got := printed(ParsePort(word)); got != want {
			t.Errorf("ParsePort(%q) = %s, want %s", word, got, want)
		}
	}
}

func TestParsePorts(t *testing.T) {
	for words, want := range map[string]string{
		"8080:80 8081:80":                       "0.0.0.0:8080->80/tcp 0.0.0.0:8081->80/tcp",
		"8080:80 8080:80/udp":                   "0.0.0.0:8080->80/tcp 0.0.0.0:8080->80/udp",
		"80 80":                                 "0.0.0.0:0->80/tcp 0.0.0.0:0->80/tcp",
		"127.0.0.1:8080:80 127.0.0.2:8080:80":   "127.0.0.1:8080->80/tcp 127.0.0.2:8080->80/tcp",
		"8080:80 8080:81":                       `port "8080:81": 0.0.0.0:8080/tcp is published already, to 80/tcp`,
		"8080:80 127.0.0.1:8080:81":             `port "127.0.0.1:8080:81": 127.0.0.1:8080/tcp is published already, to 80/tcp`,
		"127.0.0.1:8000-8010:80-90 8005:80/tcp": `port "8005:80/tcp": 0.0.0.0:8005/tcp is published already, to 85/tcp`,
	} {
		if got := printed(ParsePorts(strings.Fields(words))); got != want {
			t.Errorf("ParsePorts(%s) = %s, want %s", words, got, want)
		}
	}
}

// FuzzParsePort: what is accepted is in range, and means the same when it is written again.
func FuzzParsePort(f *testing.F) {
	for word := range portCases {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		ports, err := ParsePort(word)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("ParsePort(%q): error with control characters: %q", word, err)
			}
			return
		}
		if len(ports) == 0 || len(ports) > 65535 {
			t.Fatalf("ParsePort(%q): %d ports", word, len(ports))
		}
		for _, p := range ports {
			again := fmt.Sprintf("%s:%d:%s", p.On(), p.Host, p.Of())
			if p.Host == 0 {
				again = fmt.Sprintf("%s::%s", p.On(), p.Of())
			}
			if got, err := ParsePort(again); err != nil || !slices.Equal(got, []Port{p}) {
				t.Fatalf("ParsePort(%q) = %v, %v; want %v", again, got, err, p)
			}
			if p.Container == 0 || p.Address != (netip.Addr{}) && !p.Address.Is4() {
				t.Fatalf("ParsePort(%q) = %v", word, p)
			}
		}
	})
}
