package bundle

import (
	"strings"
	"testing"

	"minirun/namespaces/network"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestLink: what is written down of ports and rates is read again as it was.
func TestLink(t *testing.T) {
	for words, want := range map[string]string{
		"8080:80":                               "0.0.0.0:8080->80/tcp",
		"8080:80 127.0.0.1:53:53/udp 99":        "0.0.0.0:8080->80/tcp 127.0.0.1:53->53/udp 0.0.0.0:0->99/tcp",
		"127.0.0.1::80 9000-9001:90-91":         "127.0.0.1:0->80/tcp 0.0.0.0:9000->90/tcp 0.0.0.0:9001->91/tcp",
		"0.0.0.0:1:1 127.0.0.1:2:2 3:3/udp 4:4": "0.0.0.0:1->1/tcp 127.0.0.1:2->2/tcp 0.0.0.0:3->3/udp 0.0.0.0:4->4/tcp",
	} {
		ports, err := network.ParsePorts(strings.Fields(words))
		must(t, err)
		b := &Bundle{Spec: &specs.Spec{Annotations: map[string]string{Published: portWords(ports), Rate: "10mbit:2mbit"}}}
		read, rate, err := b.Link()
		var got []string
		for _, p := range read {
			got = append(got, p.String())
		}
		if err != nil || strings.Join(got, " ") != want || rate.Down != 10e6 || rate.Up != 2e6 {
			t.Errorf("Link() = %q, %v, %v; want %q", got, rate, err, want)
		}
	}
	for name, text := range map[string]string{Published: "x", Rate: "x"} {
		b := &Bundle{Spec: &specs.Spec{Annotations: map[string]string{name: text}}}
		if _, _, err := b.Link(); err == nil || b.Published() != nil {
			t.Errorf("Link() with %s=%s: no error", name, text)
		}
	}
}
