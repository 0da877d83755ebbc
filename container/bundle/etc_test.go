package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolvConf(t *testing.T) {
	const host = "# of the host\nnameserver 10.0.0.1\nsearch example.com\noptions  ndots:2\n"
	for name, c := range map[string]struct {
		host string
		etc  Etc
		own  bool
		want string
		lost bool
	}{
		"as it is":             {host, Etc{}, true, "nameserver 10.0.0.1\nsearch example.com\noptions ndots:2\n", false},
		"own servers":          {host, Etc{DNS: []string{"1.1.1.1", "2606:4700::1111"}}, true, "nameserver 1.1.1.1\nnameserver 2606:4700::1111\nsearch example.com\noptions ndots:2\n", false},
		"own domains":          {host, Etc{Search: []string{"a", "b.c"}}, true, "search a b.c\nnameserver 10.0.0.1\noptions ndots:2\n", false},
		"no domains":           {host, Etc{Search: []string{"."}}, true, "nameserver 10.0.0.1\noptions ndots:2\n", false},
		"loopback":             {"nameserver 127.0.0.1\nnameserver ::1\nnameserver 10.0.0.1\n", Etc{}, true, "nameserver 10.0.0.1\n", false},
		"loopback of the host": {"nameserver 127.0.0.1\n", Etc{}, false, "nameserver 127.0.0.1\n", false},
		"nothing but loopback": {"nameserver 127.0.1.1\n", Etc{}, true, "# minirun: the host names no server that a container reaches\nnameserver 8.8.8.8\n", true},
		"nothing":              {"", Etc{}, true, "# minirun: the host names no server that a container reaches\nnameserver 8.8.8.8\n", true},
		"nothing is needed":    {"", Etc{}, false, "", false},
		"a scope of the host":  {"nameserver fe80::1%eth0\nnameserver 10.0.0.1\n", Etc{}, true, "nameserver 10.0.0.1\n", false},
		"no number":            {"nameserver \x1b[2J\n", Etc{DNS: []string{"1.1.1.1"}}, true, "nameserver 1.1.1.1\n", false},
	} {
		r := Request{Etc: c.etc}
		if got, lost := r.resolvConf(c.host, c.own); got != c.want || lost != c.lost {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, lost, c.want, c.lost)
		}
	}
}

// TestHostResolv: systemd-resolved's own servers are those of its own file.
func TestHostResolv(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	read := func(want string) {
		t.Helper()
		if got, err := hostResolv(dir); err != nil || got != want {
			t.Errorf("hostResolv = %.40q, %v; want %q", got, err, want)
		}
	}
	write("etc/resolv.conf", "nameserver 127.0.0.53\n")
	read("nameserver 127.0.0.53\n")
	write(resolvedConf, "nameserver 10.0.0.1\n")
	read("nameserver 10.0.0.1\n")
	write("etc/resolv.conf", "nameserver 10.0.0.2\n")
	read("nameserver 10.0.0.2\n")
	write("etc/resolv.conf", strings.Repeat("x", longestEtc+1))
	if text, err := hostResolv(dir); err == nil {
		t.Errorf("a file without end: %d bytes are read", len(text))
	}
}

func TestHosts(t *testing.T) {
	r := Request{Network: "bridge", Etc: Etc{Hosts: []string{"db:10.0.0.7", "six:[2001:db8::1]", "seven:2001:db8::7"}}}
	const local = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if got, want := r.hosts("here"), local+"10.0.0.7\tdb\n2001:db8::1\tsix\n2001:db8::7\tseven\n"; got != want {
		t.Errorf("hosts on the bridge = %q, want %q", got, want)
	}
	r = Request{Network: "none"}
	if got, want := r.hosts("here"), local+"127.0.0.1\there\n"; got != want {
		t.Errorf("hosts without a network = %q, want %q", got, want)
	}
}
