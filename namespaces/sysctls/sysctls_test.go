package sysctls

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"minirun/examples/nstest"
	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func newList(kinds []specs.LinuxNamespace, sysctl map[string]string) (List, error) {
	set, err := namespaces.List(kinds)
	if err != nil {
		return nil, err
	}
	return New(&specs.Linux{Sysctl: sysctl}, set)
}

// TestNew: both ways to write a name mean one file, in a fixed order.
func TestNew(t *testing.T) {
	list, err := newList(nstest.All(""), map[string]string{"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.100/forwarding": "2",
		"net.ipv4.conf.eth0/100.forwarding": "3", "fs.mqueue.msg_max": "4"})
	if err != nil {
		t.Fatal(err)
	}
	want := "[{sys/fs/mqueue/msg_max 4} {sys/net/ipv4/conf/eth0.100/forwarding 3} {sys/net/ipv4/ip_forward 1} {sys/net/ipv4/conf/eth0.100/forwarding 2}]"
	if got := fmt.Sprint(list); got != want {
		t.Errorf("New() = %s, want %s", got, want)
	}
}

// TestRefusals: what New does not take, and how it says so.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		kind specs.LinuxNamespaceType
		want string
	}{
		{"kernel.core_pattern", specs.MountNamespace, `linux.sysctl "kernel.core_pattern": not of a namespace: it would change the host`},
		{"net/../kernel/core_pattern", specs.NetworkNamespace, `linux.sysctl "net/../kernel/core_pattern": not a parameter`},
		{"net/", specs.NetworkNamespace, `linux.sysctl "net/": not a parameter`},
		{"net.ipv4.ip_forward", specs.MountNamespace, `linux.sysctl "net.ipv4.ip_forward": no network namespace: it would change the host`},
		{"kernel.shmmax", specs.MountNamespace, `linux.sysctl "kernel.shmmax": no ipc namespace: it would change the host`},
		{"kernel.hostname", specs.UTSNamespace, `linux.sysctl "kernel.hostname": not of a namespace: it would change the host`},
	} {
		if list, err := newList(nstest.Made(c.kind), map[string]string{c.name: "|/x"}); err == nil || err.Error() != c.want || list != nil {
			t.Errorf("New(%s) = %v, %v; want %s", c.name, list, err, c.want)
		}
	}
}

// TestWrite: procfs is asked for only if there is something to write.
func TestWrite(t *testing.T) {
	p, asked := &plan.Plan{}, 0
	proc := func(*plan.Plan) plan.FD { asked++; return plan.Inherited("proc") }
	List(nil).Write(p, proc)
	if asked != 0 || len(p.Steps) != 0 {
		t.Errorf("an empty list: asked for procfs %d times and recorded %d steps, want none", asked, len(p.Steps))
	}
	list, err := newList(nstest.All(""), map[string]string{"net.ipv4.ip_forward": "1"})
	if err != nil {
		t.Fatal(err)
	}
	list.Write(p, proc)
	want := "[openat2 write close]"
	var calls []string
	for _, s := range p.Steps {
		calls = append(calls, s.Call)
	}
	if got := fmt.Sprint(calls); got != want || asked != 1 {
		t.Errorf("recorded %s, asked for procfs %d times; want %s and once", got, asked, want)
	}
}

// FuzzNew: no name leads out of /proc/sys.
func FuzzNew(f *testing.F) {
	for _, name := range []string{"net.ipv4.ip_forward", "kernel.core_pattern", "../..", "net/../x", "net./.x", "user//x", "net/x\x00y"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		list, err := newList(nstest.All(""), map[string]string{name: "1"})
		if err != nil {
			return
		}
		for _, s := range list {
			if clean := filepath.Clean(s.path); clean != s.path && clean+"/" != s.path || !strings.HasPrefix(s.path, "sys/") {
				t.Errorf("sysctl path %q", s.path)
			}
		}
		p := &plan.Plan{}
		list.Write(p, func(*plan.Plan) plan.FD { return plan.Inherited("proc") })
		if err := p.Err(); err != nil && !strings.ContainsRune(name, 0) {
			t.Errorf("recording: %v", err)
		}
	})
}
