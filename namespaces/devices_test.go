package namespaces

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestMoveDevices: a device goes into the container under another name, and
// keeps its addresses, MTU and hardware address.
func TestMoveDevices(t *testing.T) {
	needRoot(t)
	if os.Getenv("OTHER_HOST") == "" { // with other devices than this one
		again := exec.Command("/proc/self/exe", "-test.run=^TestMoveDevices$")
		again.Env = append(os.Environ(), "OTHER_HOST=1")
		again.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	ip := func(command string) string {
		out, err := exec.Command("sh", "-ec", command).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v, %s", command, err, out)
		}
		return string(out)
	}
	ip(`ip link add eth7 type veth peer name other
		ip link set eth7 mtu 1400 address 02:00:00:00:00:07 up
		ip address add 192.0.2.7/24 dev eth7
		ip address add 2001:db8::7/64 dev eth7 nodad`)
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.MountNamespace, specs.NetworkNamespace, specs.PIDNamespace),
		NetDevices: map[string]specs.LinuxNetDevice{"eth7": {Name: "uplink"}}}}
	got := run(t, spec, plan.Clone{}, "ip -o address show dev uplink; ip link show dev uplink; ip -br link", nil)
	for _, want := range []string{"192.0.2.7/24", "2001:db8::7/64", "mtu 1400", "02:00:00:00:00:07", "UP"} {
		if !strings.Contains(got, want) {
			t.Errorf("the container's device: %s; want %s", got, want)
		}
	}
	if strings.Contains(got, "eth7") || strings.Contains(ip("ip -br link"), "eth7") {
		t.Errorf("eth7 is still called so in the container, or on the host: %s", got)
	}

	spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"missing": {}}
	s, err := New(spec, Host{})
	if err != nil {
		t.Error(err)
		return
	}
	p := &plan.Plan{}
	s.Clone(p, plan.Clone{}, Host{})
	p.On(plan.Child)
	s.Enter(p, Host{})
	_, err = p.Start(plan.Options{})
	if want := "network device missing: Link not found"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Start() with a device that there is not = %v, want %s", err, want)
	}
}

// TestDeviceNames: what no device can be called, and two that would be called
// the same.
func TestDeviceNames(t *testing.T) {
	for want, devices := range map[string]map[string]specs.LinuxNetDevice{
		`"a/b" cannot be the name`:              {"a/b": {}},
		`"x\x00" cannot be the name`:            {"eth0": {Name: "x\x00"}},
		`"sixteen-letters-" cannot be the name`: {"eth0": {Name: "sixteen-letters-"}},
		`".." cannot be the name`:               {"eth0": {Name: ".."}},
		"eth0 and eth1 would both be eth1":      {"eth0": {Name: "eth1"}, "eth1": {}},
	} {
		spec := &specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.MountNamespace, specs.NetworkNamespace), NetDevices: devices}}
		if _, err := New(spec, Host{}); err == nil || !strings.HasPrefix(err.Error(), "linux.netDevices: "+want) {
			t.Errorf("New(%v) = %v, want %s", devices, err, want)
		}
	}
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.MountNamespace), NetDevices: map[string]specs.LinuxNetDevice{"eth0": {}}}}
	if _, err := New(spec, Host{}); err == nil || err.Error() != "linux.netDevices: no network namespace: devices would stay on the host" {
		t.Errorf("New() without a network namespace = %v, want a refusal", err)
	}
}
