package network

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"minirun/namespaces/network/link"
	"minirun/plan"
)

// TestMain lets root's tests run in a network namespace and a mount namespace of their own. Each
// test then makes one more of both, for its own thread. Why both? A thread that a test has not meant, such
// as that of a subtest, would change the machine's own network.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inner) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0], cmd.Env = os.Args[0], append(os.Environ(), inner+"=yes") // a fuzzer executes Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Println("namespaces of the tests' own:", err)
		os.Exit(m.Run()) // those that need them are left out
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// inner is a variable of the environment: these are the tests in a network of their own.
const inner = "MINIRUN_TESTS_NETWORK"

// alone puts the test's thread into a network namespace that plays the host, and into a mount
// namespace in which /run is empty. The thread ends with the test, which must not do its work in
// a subtest: that is another thread.
func alone(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make network namespaces")
	}
	if os.Getenv(inner) == "" {
		t.Skip("no right to make network namespaces: run as root with CAP_SYS_ADMIN")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		t.Fatalf("unshare: %v", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil { // all mounts are private here: see Unshareflags of syscall
		t.Fatalf("mount: %v", err)
	}
	if err := Possible(); err != nil {
		t.Skipf("nf_tables: this kernel has none: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// nft runs nft(8) in the test's namespace.
func nft(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("nft", args...) // started by this thread, so in its namespace
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft %q: %v: %.600s", args, err, out)
	}
	return string(out)
}

// TestTable compares the table with what nft(8) makes of the command that the plan shows.
// The two say differently which type the fields of a key have.
func TestTable(t *testing.T) {
	alone(t)
	network := netip.MustParsePrefix("10.88.0.1/22")
	if err := addTable(BridgeName, network); err != nil {
		t.Fatal(err)
	}
	ours := nft(t, "list", "table", "ip", Table)
	nft(t, "flush", "ruleset")
	nft(t, strings.TrimSuffix(strings.TrimPrefix(command(BridgeName, network), "nft '"), "'"))
	theirs := nft(t, "list", "table", "ip", Table)
	if o, n := rules(ours), rules(theirs); !slices.Equal(o, n) {
		t.Errorf("the table:\n%s\nwhat nft makes of the printed command:\n%s", ours, theirs)
	}
}

// rules are the lines of a table but for the types of keys.
func rules(text string) (list []string) {
	for line := range strings.Lines(text) {
		if l := strings.TrimSpace(line); !strings.HasPrefix(l, "type ipv4_addr") && !strings.HasPrefix(l, "typeof") {
			list = append(list, l)
		}
	}
	return list
}

// TestElements adds and deletes elements by prepared messages, and reads them.
func TestElements(t *testing.T) {
	alone(t)
	if err := addTable(BridgeName, netip.MustParsePrefix("10.88.0.1/22")); err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddr("10.88.0.5")
	all := Element{Port: Port{Protocol: "tcp", Host: 8080, Container: 80}, Last: draws - 1, To: to}
	one := Element{Port: Port{Protocol: "udp", Address: netip.MustParseAddr("127.0.0.1"), Host: 53, Container: 5353}, Last: draws - 1, To: to}
	for _, e := range []Element{all, one} {
		m, err := e.message()
		if err != nil {
			t.Fatal(err)
		}
		if err := link.Send(m.Add); err != nil {
			t.Fatalf("%s: %v", m.Text, err)
		}
		if err := link.Send(m.Add); err != nil {
			t.Errorf("%s: again: %v, want no error: it is the same element", m.Text, err)
		}
	}
	if list := nft(t, "list", "map", "ip", Table, "tcp_ports"); !strings.Contains(list, "{ "+all.String()+" }") {
		t.Errorf("nft list: %s, want %s in it", list, all)
	}
	got, err := Elements()
	if want := []Element{one, all}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Elements() = %v, %v, want %v", got, err, want)
	}
	other := all
	other.Port.Address = netip.MustParseAddr("127.0.0.1")
	other.To = netip.MustParseAddr("10.88.0.6")
	m, _ := other.message()
	if err := link.Send(m.Add); err != unix.EEXIST {
		t.Errorf("%s: %v, want %v", m.Text, err, unix.EEXIST)
	}
	m, _ = all.message()
	if err := link.Send(m.Delete); err != nil {
		t.Errorf("%s: %v", m.Back, err)
	}
	if err := link.Send(m.Delete); err != unix.ENOENT {
		t.Errorf("%s: again: %v, want %v", m.Back, err, unix.ENOENT)
	}
	// What the plan shows is what nft(8) takes.
	nft(t, strings.Trim(m.Text, "'"))
	nft(t, strings.Trim(m.Back, "'"))
}

// TestServe spreads a service over containers, and takes some away.
func TestServe(t *testing.T) {
	alone(t)
	if err := addTable(BridgeName, netip.MustParsePrefix("10.88.0.1/22")); err != nil {
		t.Fatal(err)
	}
	port := Port{Protocol: "tcp", Host: 80, Container: 8080}
	for _, n := range []int{100, 7, 1000, 0} {
		var to []netip.Addr
		for i := range n {
			to = append(to, nth(netip.MustParsePrefix("10.88.0.1/22"), i+2))
		}
		if err := Serve(port, to); err != nil {
			t.Fatalf("%d containers: %v", n, err)
		}
		got, err := Elements()
		if want := Spread(port, to); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d containers: %d elements, %v, want %d", n, len(got), err, len(want))
		}
	}
}

// TestBridge makes the host's side, and takes it back.
func TestBridge(t *testing.T) {
	alone(t)
	before := fingerprint(t)
	wish := &Wish{ID: strings.Repeat("a", 64), Ports: []Port{{Protocol: "tcp", Host: 8080, Container: 80}, {Protocol: "udp", Container: 53}}}
	c, lock, err := Attach(wish, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if wish.Ports[1].Host == 0 || len(c.Publish) != 2 || c.Gateway != netip.MustParseAddr("10.88.0.1") || !c.Address.Masked().Contains(c.Gateway) {
		t.Errorf("Attach = %+v, ports %v", c, wish.Ports)
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName(BridgeName); err != nil {
		t.Errorf("while a number is taken, Sweep removed the bridge: %v", err)
	}
	lock.Close()
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if after := fingerprint(t); after != before {
		t.Errorf("left behind: before %s, after %s", before, after)
	}
}

// fingerprint is what the host has of networks. That a cable has just been plugged in (linkdown) is
// not of it.
func fingerprint(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "ip -o link | cut -d: -f2; ip -4 -o addr; ip route | sed 's/ linkdown//'; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/forwarding").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}
