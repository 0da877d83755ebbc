package main

import (
	"strings"
	"testing"

	"minirun/namespaces/network"
)

// TestPortsColumn: as docker ps prints them.
func TestPortsColumn(t *testing.T) {
	for _, c := range []struct{ exposed, published, want string }{
		{"", "", ""},
		{"80/tcp", "", "80/tcp"},
		{"80/tcp, 443/tcp", "", "80/tcp, 443/tcp"},
		{"80/tcp", "8080:80", "0.0.0.0:8080->80/tcp"},
		{"80/tcp, 443/tcp", "8080:80", "0.0.0.0:8080->80/tcp, 443/tcp"},
		{"", "127.0.0.1:8080:80 53:53/udp", "127.0.0.1:8080->80/tcp, 0.0.0.0:53->53/udp"},
		{"", "8000-8002:80-82 9000:90", "0.0.0.0:8000-8002->80-82/tcp, 0.0.0.0:9000->90/tcp"},
		{"", "8080:80 8081:80", "0.0.0.0:8080->80/tcp, 0.0.0.0:8081->80/tcp"},
		{"", "127.0.0.1:80:80 127.0.0.2:81:81", "127.0.0.1:80->80/tcp, 127.0.0.2:81->81/tcp"},
		{"", "65534-65535:65534-65535", "0.0.0.0:65534-65535->65534-65535/tcp"},
	} {
		ports, err := network.ParsePorts(strings.Fields(c.published))
		if err != nil {
			t.Fatal(err)
		}
		if got := portsColumn(c.exposed, ports); got != c.want {
			t.Errorf("portsColumn(%q, %q) = %q, want %q", c.exposed, c.published, got, c.want)
		}
	}
}
