package namespaces

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Sysctl is a kernel parameter of one of the container's namespaces.
type Sysctl struct {
	Path  string // below /proc
	Value string
}

// namespaced are the parameters that belong to a namespace. All others belong
// to the machine, and writing one of them from a container's spec would change
// the host (CVE-2022-0811). A name that ends in a slash stands for all below.
var namespaced = []struct {
	path string
	kind specs.LinuxNamespaceType
}{
	{"net/", specs.NetworkNamespace},
	{"fs/mqueue/", specs.IPCNamespace},
	{"kernel/msgmax", specs.IPCNamespace},
	{"kernel/msgmnb", specs.IPCNamespace},
	{"kernel/msgmni", specs.IPCNamespace},
	{"kernel/sem", specs.IPCNamespace},
	{"kernel/shmall", specs.IPCNamespace},
	{"kernel/shmmax", specs.IPCNamespace},
	{"kernel/shmmni", specs.IPCNamespace},
	{"kernel/shm_rmid_forced", specs.IPCNamespace},
	{"kernel/domainname", specs.UTSNamespace},
	{"user/", specs.UserNamespace},
}

// checkSysctls refuses parameters that are not the container's own.
func (s *Set) checkSysctls() error {
	for _, name := range s.parameters() {
		path := sysctlPath(name)
		if strings.Contains("/"+path+"/", "/../") || strings.Contains("/"+path+"/", "/./") || strings.Contains(path+"/", "//") {
			return fmt.Errorf("linux.sysctl %q: not a parameter", name)
		}
		kind, ok := sysctlKind(path)
		if !ok {
			return fmt.Errorf("linux.sysctl %q: not of a namespace: it would change the host", name)
		}
		if err := s.needs(kind, fmt.Sprintf("linux.sysctl %q", name)); err != nil {
			return fmt.Errorf("%w: it would change the host", err)
		}
	}
	return nil
}

func sysctlKind(path string) (specs.LinuxNamespaceType, bool) {
	for _, n := range namespaced {
		if path == n.path || strings.HasSuffix(n.path, "/") && strings.HasPrefix(path, n.path) {
			return n.kind, true
		}
	}
	return "", false
}

// sysctlPath is the file of a parameter: net.ipv4.ip_forward, or with slashes
// where a name contains a dot: net/ipv4/conf/eth0.100/forwarding.
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		return strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return name
}

// Sysctls returns the parameters, in a fixed order.
func (s *Set) Sysctls() []Sysctl {
	var list []Sysctl
	for _, name := range s.parameters() {
		list = append(list, Sysctl{Path: "sys/" + sysctlPath(name), Value: s.spec.Linux.Sysctl[name]})
	}
	return list
}

func (s *Set) parameters() []string { return slices.Sorted(maps.Keys(s.spec.Linux.Sysctl)) }
