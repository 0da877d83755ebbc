package sysctls

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A List is the parameters of one container, sorted by name.
type List []parameter

type parameter struct {
	path  string // below /proc
	value string
}

// namespaced are the parameters that belong to a namespace. A path that ends in
// a slash stands for everything below it.
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

// New reads the parameters of a spec. It refuses those that do not belong to a
// namespace of the container's own.
func New(linux *specs.Linux, set *namespaces.Set) (List, error) {
	var list List
	for _, name := range slices.Sorted(maps.Keys(linux.Sysctl)) {
		path := pathOf(name)
		if err := check(path, fmt.Sprintf("linux.sysctl %q", name), set); err != nil {
			return nil, err
		}
		list = append(list, parameter{"sys/" + path, linux.Sysctl[name]})
	}
	return list, nil
}

func check(path, property string, set *namespaces.Set) error {
	if strings.Contains("/"+path+"/", "/../") || strings.Contains("/"+path+"/", "/./") || strings.Contains(path+"/", "//") {
		return errors.New(property + ": not a parameter")
	}
	for _, n := range namespaced {
		if path != n.path && !(strings.HasSuffix(n.path, "/") && strings.HasPrefix(path, n.path)) {
			continue
		}
		if err := set.Require(n.kind, property); err != nil {
			return fmt.Errorf("%w: it would change the host", err)
		}
		return nil
	}
	return errors.New(property + ": not of a namespace: it would change the host")
}

// pathOf is the file of a parameter below /proc/sys: that of net.ipv4.ip_forward
// is net/ipv4/ip_forward. As for sysctl(8), the first of "." and "/" in a name
// separates its parts; the other one then stands for a dot, as in
// net/ipv4/conf/eth0.100/forwarding or net.ipv4.conf.eth0/100.forwarding.
func pathOf(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		return strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return name
}

// Write records that the child writes the parameters through a procfs, which
// proc records when it is needed. It must be one that nothing of the container's
// covers: else the container would choose which file is written.
func (l List) Write(p *plan.Plan, proc func(*plan.Plan) plan.FD) {
	for _, s := range l {
		f := p.Openat2(proc(p), s.path, unix.O_WRONLY|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV).As(s.path)
		p.Write(f, s.value)
		p.Close(f)
	}
}
