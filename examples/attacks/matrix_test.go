package attacks

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"minirun/container/bundle"
)

// The matrix: what of all that the probe tries each layer of a container
// blocks. Every cell comes from runs of `minirun run --without`:
//
//	all       root's container, with every layer that it has
//	none      without any of them
//	without L with all but L: what is possible then, only L had blocked
//	alone L   with L only: what is blocked then and not in "none", L blocks
//
// The user namespace is what an ordinary user's containers have and root's have
// not: for "alone" an ordinary user runs the probe without all the others, and
// what is possible in root's "all" but not in his, only it blocks.

// probed is what the probe printed: a line a name.
type probed struct {
	names []string
	state map[string]string // blocked, possible, absent
	why   map[string]string
}

// A cell is what a layer does about one thing.
type cell string

const (
	only    cell = "●" // blocks it, and nothing else does
	too     cell = "○" // blocks it, and so does another
	nothing cell = "·"
)

type row struct {
	name  string
	all   string // in root's container with all layers
	host  bool   // this machine blocks it in any case, or has it not
	cells []cell
}

// attack runs the probe in a container, as root or as the ordinary user.
func attack(t *testing.T, root bool, without ...string) probed {
	t.Helper()
	args := []string{"run", "--rm", "-e", "HOST_DEVICES=" + strings.Join(hostInodes(t), " ")}
	for _, l := range without {
		args = append(args, "--without", l)
	}
	cmd := command(people, append(args, "probe", "/probe")...)
	if !root {
		cmd = asUser(t, people, append(args, "probe", "/probe")...)
	}
	r := finish(t, cmd)
	p := probed{state: map[string]string{}, why: map[string]string{}}
	for line := range strings.Lines(r.out) {
		words := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 3)
		if len(words) < 3 {
			words = append(words, "", "")
		}
		p.names = append(p.names, words[0])
		p.state[words[0]], p.why[words[0]] = words[1], words[2]
	}
	for _, l := range without {
		if !strings.Contains(r.err, "minirun: warning: --without "+l+": ") {
			t.Errorf("run --without %s says %q; want a warning", l, r.err)
		}
	}
	if r.code != 0 || len(p.names) < 30 {
		t.Fatalf("the probe without %v: %v", without, r)
	}
	return p
}

// hostInodes are the inodes of the host's devices, as the probe looks for them.
func hostInodes(t *testing.T) (list []string) {
	t.Helper()
	for name := range hosts {
		var s unix.Stat_t
		must(t, unix.Stat("/dev/"+name, &s))
		list = append(list, fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	}
	return list
}

// lessOf are the layers without some.
func lessOf(all []string, some ...string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(l string) bool { return slices.Contains(some, l) })
}

// matrix runs the probe in all containers that it takes.
func matrix(t *testing.T) (rows []row) {
	t.Helper()
	roots := lessOf(bundle.LayerNames(), "user")
	all, none := attack(t, true), attack(t, true, roots...)
	users, userAlone := attack(t, false), attack(t, false, roots...)
	without, alone := map[string]probed{"user": all}, map[string]probed{"user": userAlone}
	for _, l := range roots {
		without[l], alone[l] = attack(t, true, l), attack(t, true, lessOf(roots, l)...)
	}
	for _, name := range all.names {
		r := row{name: name, all: all.state[name], host: none.state[name] != "possible"}
		if none.state[name] == "absent" {
			r.name += " (not in this kernel)"
		}
		for _, l := range bundle.LayerNames() {
			with := all
			if l == "user" {
				with = users
			}
			switch {
			case with.state[name] == "blocked" && without[l].state[name] == "possible":
				r.cells = append(r.cells, only)
			case !r.host && alone[l].state[name] == "blocked":
				r.cells = append(r.cells, too)
			default:
				r.cells = append(r.cells, nothing)
			}
		}
		rows = append(rows, r)
		t.Logf("%s: all %s %q, none %s %q, user %s %q", name, all.state[name], all.why[name], none.state[name], none.why[name], users.state[name], users.why[name])
	}
	return rows
}

// markdown is the matrix as SECURITY.md has it.
func markdown(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| a container tries to | as root's | %s |\n|---|---|%s\n", strings.Join(bundle.LayerNames(), " | "), strings.Repeat(":-:|", len(bundle.LayerNames())))
	for _, r := range rows {
		fmt.Fprintln(&b, r.markdown())
	}
	return b.String()
}

func (r row) markdown() string {
	words := []string{"", r.name, r.all}
	if r.all == "possible" {
		words[2] = "**possible**"
	}
	for _, c := range r.cells {
		words = append(words, string(c))
	}
	return strings.TrimSpace(strings.Join(words, " | ") + " |")
}

// hostServices are what a container may not reach: a port, an abstract socket
// and a network device.
func hostServices(t *testing.T) {
	t.Helper()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": "@host"} {
		l, err := net.Listen(network, address)
		must(t, err)
		t.Cleanup(func() { l.Close() })
	}
	device := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "host0"}}
	must(t, netlink.LinkAdd(device))
	t.Cleanup(func() { must(t, netlink.LinkDel(device)) })
}

const document = "../../SECURITY.md"

// TestMatrix compares the matrix with that of SECURITY.md, and each layer with
// what it is for. What this machine blocks anyway, or has not, is not compared.
func TestMatrix(t *testing.T) {
	needRoot(t)
	hostServices(t)
	for _, cmd := range []func(args ...string) result{
		func(args ...string) result { return minirun(t, args...) }, func(args ...string) result { return finish(t, asUser(t, people, args...)) },
	} {
		if r := cmd("import", imageTar(t, nil), "probe"); r.code != 0 {
			t.Fatalf("import: %v", r)
		}
		defer cmd("rmi", "probe")
	}
	before := host()
	rows := matrix(t)
	if left := harm(before, 2*time.Second); left != "" {
		t.Errorf("the host has changed:\n%s", left)
	}
	table := markdown(rows)
	if *tables {
		fmt.Print(table)
	}
	text, err := os.ReadFile(document)
	must(t, err)
	head, rest, ok := strings.Cut(string(text), "<!-- matrix -->\n")
	old, tail, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		t.Fatalf("%s has no matrix", document)
	}
	if *update {
		must(t, os.WriteFile(document, []byte(head+"<!-- matrix -->\n"+table+"<!-- end -->"+tail), 0o644))
	} else {
		compare(t, rows, old)
	}
	for i, l := range bundle.LayerNames() {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.cells[i] == only }) {
			t.Errorf("the layer %s blocks nothing that no other does", l)
		}
	}
}

// TestReadme compares the README's table with SECURITY.md's: for each layer,
// what nothing else blocks. It makes no container.
func TestReadme(t *testing.T) {
	const readme = "../../README.md"
	security, err := os.ReadFile(document)
	must(t, err)
	text, err := os.ReadFile(readme)
	must(t, err)
	head, rest, ok := strings.Cut(string(text), "<!-- layers -->\n")
	old, tail, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		t.Fatalf("%s has no table of layers", readme)
	}
	table := "| without | a container can also |\n|---|---|\n"
	for i, l := range bundle.LayerNames() {
		var names []string
		for line := range strings.Lines(string(security)) {
			if cells := strings.Split(line, " | "); len(cells) == 2+len(bundle.LayerNames()) && strings.HasPrefix(cells[2+i], string(only)) {
				names = append(names, strings.TrimPrefix(cells[0], "| "))
			}
		}
		table += fmt.Sprintf("| `%s` | %s |\n", l, strings.Join(names, "; "))
	}
	if *update {
		must(t, os.WriteFile(readme, []byte(head+"<!-- layers -->\n"+table+"<!-- end -->"+tail), 0o644))
	} else if old != table {
		t.Errorf("%s has\n%s\nwant (go test -run 'TestMatrix|TestReadme' -update)\n%s", readme, old, table)
	}
}

func compare(t *testing.T, rows []row, old string) {
	t.Helper()
	for _, r := range rows {
		if r.host {
			t.Logf("%s: blocked by this machine, or not in its kernel: not compared", r.name)
			continue
		}
		if !strings.Contains(old, r.markdown()+"\n") {
			t.Errorf("%s has not this row (go test -run TestMatrix -update):\n%s", document, r.markdown())
		}
	}
	if got := strings.Count(old, "\n") - 2; got != len(rows) {
		t.Errorf("%s has %d rows, want %d", document, got, len(rows))
	}
}
