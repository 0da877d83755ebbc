package bundle

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"minirun/container/files"
	"minirun/rootfs/image/private"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is about the three files of /etc that every container needs and no image can
// know: hosts(5), hostname(5) and resolv.conf(5). They are files of the bundle's directory,
// mounted over the image's, as Docker does it. So minirun can write another container's
// address into hosts while the container runs, and the container may write to them, too.
//
// To the host they are hostile from then on. What is in them is read only to keep it
// ([KeepOutside]), and never more than [longestEtc] of it. They stay regular files:
// in the container each is a mount point, which can be neither removed nor exchanged.

// etcFiles are their names, below /etc and in the bundle's directory.
var etcFiles = []string{"hostname", "hosts", "resolv.conf"}

// longestEtc is how much of one of them is read: what is longer has been filled by the
// container, and is left as it is.
const longestEtc = 1 << 20

// Etc is what the user wants in them.
type Etc struct {
	DNS    []string // addresses of name servers; nil: the host's
	Search []string // domains in which names without a dot are looked for; nil: the host's
	Hosts  []string // NAME:ADDRESS, more names for /etc/hosts
}

// etcMounts mount the files. Volumes are mounted later: one on /etc covers them.
func (b *Bundle) etcMounts() (list []specs.Mount) {
	for _, name := range etcFiles {
		list = append(list, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: filepath.Join(b.Dir, name), Options: []string{"rbind", "rprivate", "nosuid", "nodev", "noexec"}})
	}
	return list
}

// IsEtc says whether a mount is one of [Bundle.etcMounts], which nobody has asked for.
func (b *Bundle) IsEtc(m specs.Mount) bool {
	name, ok := strings.CutPrefix(m.Destination, "/etc/")
	return ok && m.Source == filepath.Join(b.Dir, name)
}

// writeEtc writes the files.
func (r *Request) writeEtc(b *Bundle) error {
	text, _ := hostResolv("/") // none, or none that can be read: as if it were empty
	resolv, _ := r.resolvConf(text, r.Network == "bridge")
	for name, text := range map[string]string{
		"hostname":    b.Spec.Hostname + "\n",
		"hosts":       r.hosts(b.Spec.Hostname),
		"resolv.conf": resolv,
	} {
		if err := files.Replace(filepath.Join(b.Dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// hosts is /etc/hosts without the block of [KeepOutside]. On the bridge that block has the
// container's own name, with the address of its link.
func (r *Request) hosts(hostname string) string {
	text := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if r.Network != "bridge" {
		text += "127.0.0.1\t" + hostname + "\n"
	}
	for _, h := range r.Hosts {
		name, address, _ := cutHost(h) // checkEtc has looked
		text += address.String() + "\t" + name + "\n"
	}
	return text
}

// checkEtc refuses what would be another word, or line, of the files.
func (r *Request) checkEtc() error {
	for _, h := range r.Hosts {
		if _, _, err := cutHost(h); err != nil {
			return err
		}
	}
	for _, d := range r.DNS {
		if a, err := netip.ParseAddr(d); err != nil || a.Zone() != "" {
			return fmt.Errorf("name server %q: want an address", d)
		}
	}
	for _, s := range r.Search {
		if s == "" || len(s) > 253 || checkHostname(s) != nil {
			return fmt.Errorf("search domain %q: want a name such as example.com, or . for none", s)
		}
	}
	return nil
}

// cutHost takes NAME:ADDRESS apart.
func cutHost(text string) (name string, address netip.Addr, err error) {
	name, rest, _ := strings.Cut(text, ":")
	address, err = netip.ParseAddr(strings.Trim(rest, "[]"))
	if err != nil || address.Zone() != "" || name == "" || len(name) > 253 || checkHostname(name) != nil {
		return "", address, fmt.Errorf("host %q: want NAME:ADDRESS, such as db:10.0.0.7", text)
	}
	return name, address, nil
}

// Where systemd-resolved has the name servers that it asks itself. /etc/resolv.conf then
// names 127.0.0.53 alone, which is systemd-resolved (systemd-resolved.service(8)).
const resolvedConf = "run/systemd/resolve/resolv.conf"

// hostResolv is the host's resolv.conf below a root directory: the real one, where
// systemd-resolved hides it.
func hostResolv(root string) (string, error) {
	text, err := readEtc(filepath.Join(root, "etc/resolv.conf"))
	if err != nil {
		return "", err
	}
	servers := nameServers(text)
	if len(servers) == 1 && servers[0] == "127.0.0.53" {
		if real, err := readEtc(filepath.Join(root, resolvedConf)); err == nil {
			return real, nil
		}
	}
	return text, nil
}

// readEtc reads a file of the host's, but not without end.
func readEtc(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := private.ReadAll(f, longestEtc)
	return string(text), err
}

// nameServers are those of a resolv.conf.
func nameServers(text string) (list []string) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "nameserver" {
			list = append(list, words[1])
		}
	}
	return list
}

// fallback is a public name server, for containers of a host that has none but itself.
const fallback = "8.8.8.8"

// resolvConf is the container's resolv.conf, made of the host's. A container with a network of
// its own does not reach a server on the host's loopback (127.0.0.0/8, ::1): those are left
// out if own is true. If none is left, lost is true, and the container asks [fallback].
func (r *Request) resolvConf(host string, own bool) (text string, lost bool) {
	var kept strings.Builder
	servers := len(r.DNS)
	for _, d := range r.DNS {
		kept.WriteString("nameserver " + d + "\n")
	}
	if r.Search != nil && r.Search[0] != "." {
		kept.WriteString("search " + strings.Join(r.Search, " ") + "\n")
	}
	for line := range strings.Lines(host) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.ContainsAny(words[0], "#;") {
			continue
		}
		switch words[0] {
		case "nameserver":
			a, err := netip.ParseAddr(words[1])
			if r.DNS != nil || own && (err != nil || a.IsLoopback() || a.Zone() != "") {
				continue
			}
			servers++
		case "search", "domain":
			if r.Search != nil {
				continue
			}
		}
		kept.WriteString(strings.Join(words, " ") + "\n")
	}
	if own && servers == 0 {
		return kept.String() + "# minirun: the host names no server that a container reaches\nnameserver " + fallback + "\n", true
	}
	return kept.String(), false
}
