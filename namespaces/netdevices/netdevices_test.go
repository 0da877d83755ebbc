package netdevices

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/examples/nstest"
	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// onOtherHost runs a test again where it may do what it wants with network
// devices; false: this is that other host.
func onOtherHost(t *testing.T) bool {
	t.Helper()
	nstest.NeedRoot(t)
	if os.Getenv("OTHER_HOST") != "" {
		return false
	}
	again := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), "OTHER_HOST=1")
	again.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return true
}

// shell returns what a script prints.
func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v, %s", script, err, out)
	}
	return string(out)
}

// newList opens the first door.
func newList(list []specs.LinuxNamespace, devices map[string]specs.LinuxNetDevice) (List, error) {
	set, err := namespaces.List(list)
	if err != nil {
		return nil, err
	}
	return New(&specs.Linux{NetDevices: devices}, set)
}

// record is what package container records for a spec.
func record(t *testing.T, spec *specs.Spec) *plan.Plan {
	t.Helper()
	set, err := namespaces.New(spec, plan.Facts{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := New(spec.Linux, set)
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	set.Clone(p, plan.Clone{})
	p.On(plan.Child)
	set.SetUp(p)
	list.Move(p)
	return p
}

// TestMoveDevices: a device goes into the container under another name, and
// keeps its addresses, MTU and hardware address.
func TestMoveDevices(t *testing.T) {
	if onOtherHost(t) {
		return
	}
	shell(t, `ip link add eth7 type veth peer name other
		ip link set eth7 mtu 1400 address 02:00:00:00:00:07 up
		ip address add 192.0.2.7/24 dev eth7
		ip address add 2001:db8::7/64 dev eth7 nodad`)
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: nstest.Made(specs.MountNamespace, specs.NetworkNamespace, specs.PIDNamespace),
		NetDevices: map[string]specs.LinuxNetDevice{"eth7": {Name: "uplink"}}}}
	p := record(t, spec)
	got := nstest.Output(t, p, "ip -o address show dev uplink; ip link show dev uplink; ip -br link", nil, p.Start)
	for _, want := range []string{"192.0.2.7/24", "2001:db8::7/64", "mtu 1400", "02:00:00:00:00:07", "UP"} {
		if !strings.Contains(got, want) {
			t.Errorf("the container's device: %s; want %s", got, want)
		}
	}
	if strings.Contains(got, "eth7") || strings.Contains(shell(t, "ip -br link"), "eth7") {
		t.Errorf("eth7 is still called so in the container, or on the host: %s", got)
	}

	spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"missing": {}}
	_, err := record(t, spec).Start(plan.Options{})
	if want := "network device missing: Link not found"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Start() with a device that there is not = %v, want %s", err, want)
	}
}

// TestDevicesComeBack: whichever later step fails, the host has its devices
// again, as they were: virtual ones too, which would end with the namespace.
func TestDevicesComeBack(t *testing.T) {
	if onOtherHost(t) {
		return
	}
	shell(t, `ip link add eth7 type veth peer name other
		ip link add eth8 type veth peer name uplink
		ip link set other up
		ip link set eth7 mtu 1400 address 02:00:00:00:00:07 up
		ip address add 192.0.2.7/24 brd + dev eth7 label eth7:web
		ip address add 192.0.2.8/24 dev eth7
		ip address add 169.254.1.7/16 scope link dev eth7
		ip address add 192.0.2.9 peer 198.51.100.9/32 valid_lft 5000 preferred_lft 5000 dev eth7
		ip address add 2001:db8::7/64 dev eth7 nodad
		ip address add 203.0.113.8/24 dev eth8`)
	t.Cleanup(func() { shell(t, "ip link del eth7; ip link del eth8") })
	// Without what does not matter: seconds left, whether an address is still being tried, who added it.
	look := func() string {
		return shell(t, `ip -o link | sed "s/ qlen [0-9]*//"; ip -o address | sed "s/[45][0-9]*sec/SECONDS/g; s/ tentative//; s/ proto kernel_ll//" | sort`)
	}
	shell(t, "for i in $(seq 100); do ip -o link show dev eth7 | grep -q 'state UP' && exit; sleep 0.1; done; ip link; exit 1")
	before := look()
	p := record(t, &specs.Spec{Linux: &specs.Linux{Namespaces: nstest.Made(specs.MountNamespace, specs.NetworkNamespace, specs.PIDNamespace),
		NetDevices: map[string]specs.LinuxNetDevice{"eth7": {Name: "uplink"}, "eth8": {}}}})
	p.Chdir("/missing")
	moved := 0
	for _, step := range p.Steps {
		if strings.HasPrefix(step.Call, "ip link set") {
			moved++
		} else if moved == 0 {
			continue
		}
		o := plan.Options{Fault: plan.Fault{Step: step.Index, Errno: unix.ENOMEM}}
		if _, err := p.Start(o); !errors.Is(err, unix.ENOMEM) || strings.Contains(err.Error(), "undo") {
			t.Errorf("Start() with a fault at %v = %v, want no more than that", step, err)
		}
		after := look()
		for range 50 { // the other end hears of it a little later
			if after == before {
				break
			}
			time.Sleep(100 * time.Millisecond)
			after = look()
		}
		if after != before {
			t.Fatalf("after a fault at %v the host's devices are\n%s\nbefore it they were\n%s", step, after, before)
		}
	}
	if moved != 4 {
		t.Errorf("%d steps of the devices', want 4", moved)
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
		if _, err := newList(nstest.Made(specs.NetworkNamespace), devices); err == nil || !strings.HasPrefix(err.Error(), "linux.netDevices: "+want) {
			t.Errorf("New(%v) = %v, want %s", devices, err, want)
		}
	}
	if _, err := newList(nstest.Made(specs.MountNamespace), map[string]specs.LinuxNetDevice{"eth0": {}}); err == nil || err.Error() != "linux.netDevices: no network namespace: devices would stay on the host" {
		t.Errorf("New() without a network namespace = %v, want a refusal", err)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
