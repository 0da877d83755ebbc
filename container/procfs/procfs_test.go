package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A made-up /proc: by process id, the files of a process.
type tree map[string]files

type files map[string]string // text by name; that of a link begins with "-> "

// httpd is an ordinary process of a container.
var httpd = files{
	"status": "Name:\thttpd\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4712\nPid:\t4712\nPPid:\t4711\n" +
		"Uid:\t33\t33\t33\t33\nGid:\t33\t33\t33\t33\nNSpid:\t4712\t9\nVmPeak:\t    9000 kB\nVmRSS:\t    3856 kB\nThreads:\t27\n",
	"cmdline": "httpd\x00-DFOREGROUND\x00",
	"cgroup":  "4:memory:/user\n1:name=systemd:/\n0::/minirun-4f2a\n",
	"ns/pid":  "-> pid:[4026532198]",
}

// with is httpd with other files.
func with(changes ...string) files {
	f := maps.Clone(httpd)
	for i := 0; i < len(changes); i += 2 {
		f[changes[i]] = changes[i+1]
	}
	return f
}

// without is httpd without some of its files.
func without(names ...string) files {
	f := maps.Clone(httpd)
	for _, n := range names {
		delete(f, n)
	}
	return f
}

func (t tree) write(test testing.TB) string {
	test.Helper()
	root := test.TempDir()
	for dir, files := range t {
		must(test, os.MkdirAll(filepath.Join(root, dir, "ns"), 0o755))
		for name, text := range files {
			path := filepath.Join(root, dir, name)
			if target, ok := strings.CutPrefix(text, "-> "); ok {
				must(test, os.Symlink(target, path))
			} else {
				must(test, os.WriteFile(path, []byte(text), 0o644))
			}
		}
	}
	return root
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	root := tree{"4712": httpd, "900": with("ns/pid", "-> pid:[1]"), "self": {}, "sys": {}, "12a": {}, "net": {"status": "nonsense"}}.write(t)
	must(t, os.WriteFile(filepath.Join(root, "stat"), []byte("cpu 1 2 3\n"), 0o644))
	list, err := Read(root)
	if err != nil || len(list) != 2 {
		t.Fatalf("Read = %d processes, %v, want 2", len(list), err)
	}
	want := &Process{Pid: 4712, Parent: 4711, NSPid: []int{4712, 9}, Name: "httpd", Command: []string{"httpd", "-DFOREGROUND"}, State: 'S', UID: 33,
		Threads: 27, RSS: 3856 << 10, Cgroup: "/minirun-4f2a", PIDNamespace: "pid:[4026532198]"}
	if !reflect.DeepEqual(list[1], want) {
		t.Errorf("Read = %+v\nwant %+v", list[1], want)
	}
	if list[0].Pid != 900 {
		t.Errorf("Read: first %d, want 900: by number, not by name", list[0].Pid)
	}
	if _, err := Read(filepath.Join(root, "absent")); err == nil {
		t.Error("Read of a directory that is not there: no error")
	}
}

// TestReadOne is about what a process can look like.
func TestReadOne(t *testing.T) {
	status := func(lines ...string) files { return with("status", strings.Join(lines, "\n")+"\n") }
	for _, test := range []struct {
		what  string
		files files
		show  func(*Process) string
		want  string
	}{
		{"inner id", httpd, inner, "9"},
		{"no NSpid", status("State:\tS (sleeping)"), inner, "5"},
		{"empty NSpid", status("State:\tS (sleeping)", "NSpid:\t"), inner, "5"},
		{"three pid namespaces deep", status("State:\tS (sleeping)", "NSpid:\t5\t3\t1"), inner, "1"},

		{"arguments", httpd, (*Process).Line, "httpd -DFOREGROUND"},
		{"blanks in arguments", with("cmdline", "sh\x00-c\x00a  b\x00"), (*Process).Line, "sh -c a  b"},
		{"overwritten arguments", with("cmdline", "nginx: master process\x00\x00\x00\x00"), (*Process).Line, "nginx: master process"},
		{"no NUL at the end", with("cmdline", "postgres: writer"), (*Process).Line, "postgres: writer"},
		{"empty argument", with("cmdline", "grep\x00\x00file\x00"), (*Process).Line, "grep  file"},
		{"kernel thread", files{"status": "Name:\tkworker/0:1\nState:\tI (idle)\nPPid:\t2\nUid:\t0\t0\t0\t0\nThreads:\t1\n", "cmdline": "", "cgroup": "0::/\n"}, (*Process).Line, "[kworker/0:1]"},
		{"arguments without end", with("cmdline", strings.Repeat("x", 2*enough)), func(p *Process) string { return fmt.Sprint(len(p.Line())) }, fmt.Sprint(enough)},
		{"zombie", with("status", "Name:\tsh\nState:\tZ (zombie)\n", "cmdline", ""), (*Process).Line, "[sh] <defunct>"},

		{"name with blanks and parentheses", status("Name:\ta) S 1 (b", "State:\tR (running)"), name, "a) S 1 (b"},
		{"name with colons and tabs", status("Name:\tUid:\t0", "State:\tR (running)"), name, "Uid:\t0"},
		{"name with a newline", status(`Name:	x\nUid:	0`, "State:\tR (running)"), name, "x\nUid:\t0"},
		{"name with a backslash", status(`Name:	x\\n`, "State:\tR (running)"), name, `x\n`},
		{"name with blanks around", status("Name:\t y ", "State:\tR (running)"), name, " y "},
		{"empty name", status("Name:\t", "State:\tR (running)"), name, ""},

		{"cgroup", httpd, group, "/minirun-4f2a"},
		{"no cgroup v2", with("cgroup", "4:memory:/user\n"), group, ""},
		{"no cgroup at all", with("cgroup", ""), group, ""},
		{"removed cgroup", with("cgroup", "0::/gone (deleted)\n"), group, "/gone"},
		{"cgroup outside of our namespace", with("cgroup", "0::/../other\n"), group, "/../other"},
		{"cgroup with colons", with("cgroup", "0::/a::b\n"), group, "/a::b"},

		{"no right to the pid namespace", without("ns/pid"), func(p *Process) string { return p.PIDNamespace }, ""},
		{"effective user, not the real one", status("State:\tS (sleeping)", "Uid:\t1000\t0\t0\t0"), func(p *Process) string { return fmt.Sprint(p.UID) }, "0"},
		{"highest user", status("State:\tS (sleeping)", "Uid:\t0\t4294967295\t0\t0"), func(p *Process) string { return fmt.Sprint(p.UID) }, "4294967295"},
		{"no memory", status("State:\tZ (zombie)"), func(p *Process) string { return fmt.Sprint(p.RSS) }, "0"},
	} {
		t.Run(test.what, func(t *testing.T) {
			list, err := Read(tree{"5": test.files}.write(t))
			if err != nil || len(list) != 1 {
				t.Fatalf("Read = %d processes, %v", len(list), err)
			}
			if got := test.show(list[0]); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func inner(p *Process) string { return fmt.Sprint(p.Inner()) }
func name(p *Process) string  { return p.Name }
func group(p *Process) string { return p.Cgroup }

// TestReadVanished: a process may end between any two of our system calls.
func TestReadVanished(t *testing.T) {
	for _, missing := range [][]string{{"status", "cmdline", "cgroup"}, {"cmdline", "cgroup"}, {"cgroup"}} {
		list, err := Read(tree{"5": without(missing...), "6": httpd}.write(t))
		if err != nil || len(list) != 1 || list[0].Pid != 6 {
			t.Errorf("without %v: Read = %d processes, %v, want only 6", missing, len(list), err)
		}
	}
}

// TestReadHidden is pure only for who is not root: root may read all files.
func TestReadHidden(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root: TestHidepid does the same with the kernel's own /proc")
	}
	root := tree{"5": httpd, "6": httpd}.write(t)
	must(t, os.Chmod(filepath.Join(root, "5"), 0))
	defer os.Chmod(filepath.Join(root, "5"), 0o755) // for TempDir to remove it
	list, err := Read(root)
	if err != nil || len(list) != 1 || list[0].Pid != 6 {
		t.Errorf("Read = %d processes, %v, want only 6", len(list), err)
	}
}

// TestReadMalformed: the error names the file and what in it.
func TestReadMalformed(t *testing.T) {
	for status, want := range map[string]string{
		"":                               "5/status: no state",
		"Name:\tx\n":                     "5/status: no state",
		"State:\t\n":                     "State: want a letter",
		"State:\tS\nPPid:\tx\n":          `PPid: strconv.Atoi: parsing "x"`,
		"State:\tS\nPPid:\n":             "PPid: ",
		"State:\tS\nUid:\t0\n":           "Uid: ",
		"State:\tS\nUid:\t0\t-1\t0\t0\n": "Uid: ",
		"State:\tS\nNSpid:\t1\tx\n":      "NSpid: ",
		"State:\tS\nVmRSS:\t12 MB\n":     "VmRSS: ",
		"State:\tS\nVmRSS:\t1e3 kB\n":    "VmRSS: ",
		"State:\tS\nVmRSS:\t1" + "0000000000000000000 kB\n": "VmRSS: ",
		"State:\tS\nThreads:\t1\t2\n":                       "Threads: ",
	} {
		list, err := Read(tree{"5": with("status", status)}.write(t))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "5/status: ") {
			t.Errorf("status %q: Read = %v, %v, want an error with %q", status, list, err, want)
		}
	}
}

func TestNamespaces(t *testing.T) {
	links := func(kinds ...string) files {
		f := files{}
		for i, k := range kinds {
			f["ns/"+k] = fmt.Sprintf("-> %s:[%d]", k, i)
		}
		return f
	}
	root := tree{"5": links(append(slices.Clone(Kinds), "pid_for_children")...), "6": links("mnt", "net"), "7": links("pid", "user"), "8": {}}.write(t)
	all, err := Namespaces(root, 5)
	if err != nil || len(all) != 8 || all["net"] != "net:[3]" {
		t.Errorf("Namespaces = %v, %v, want 8", all, err)
	}
	old, err := Namespaces(root, 6) // a kernel that has no others
	if want := map[string]string{"mnt": "mnt:[0]", "net": "net:[1]"}; err != nil || !maps.Equal(old, want) {
		t.Errorf("Namespaces = %v, %v, want %v", old, err, want)
	}
	for pid, what := range map[int]string{7: "a zombie", 8: "a process that is ending", 9: "nobody"} {
		if found, err := Namespaces(root, pid); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Namespaces of %s = %v, %v, want %v", what, found, err, fs.ErrNotExist)
		}
	}
}

func TestMembers(t *testing.T) {
	root := tree{
		"5": {"ns/mnt": "-> mnt:[1]", "ns/net": "-> net:[7]"},
		"6": {"ns/mnt": "-> mnt:[2]", "ns/net": "-> net:[7]"},
		"8": {}, // is ending
	}.write(t)
	five, six := &Process{Pid: 5}, &Process{Pid: 6}
	got := Members(root, []*Process{five, six, {Pid: 8}, {Pid: 9}})
	if len(got) != 3 || !slices.Equal(got["net:[7]"], []*Process{five, six}) || !slices.Equal(got["mnt:[2]"], []*Process{six}) {
		t.Errorf("Members = %v", got)
	}
}

func TestReadStat(t *testing.T) {
	const rest = " 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4242 9 9 9"
	for text, want := range map[string]Stat{
		"7 (sh) S" + rest: {'S', true, 4242},
		"7 (a) Z ) b) Z" + strings.Replace(rest, "4194304", "4194368", 1): {'Z', false, 4242},
	} {
		if got, err := ReadStat(tree{"7": {"stat": text}}.write(t), 7); err != nil || got != want || got.Ended() != (want.State == 'Z') {
			t.Errorf("ReadStat(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "7", "7 (sh)", "7 (sh) S 1 2 3", "7 (sh) S" + strings.Replace(rest, "4242", "soon", 1)} {
		if got, err := ReadStat(tree{"7": {"stat": text}}.write(t), 7); err == nil {
			t.Errorf("ReadStat(%q) = %v, want an error", text, got)
		}
	}
	if _, err := ReadStat(t.TempDir(), 7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadStat of nobody: %v", err)
	}
	if s, err := ReadStat("/proc", os.Getpid()); err != nil || !s.Executed || s.Start == 0 || s.Ended() {
		t.Errorf("ReadStat of ourselves = %v, %v", s, err)
	}
}

// FuzzParse: the kernel is trusted, but a process chooses its name and its
// arguments, and a container the names of its cgroups. No text makes a parser
// panic, and what was parsed is what was there.
func FuzzParse(f *testing.F) {
	f.Add(httpd["status"], httpd["cmdline"], httpd["cgroup"])
	f.Add("Name:\tx\\nUid:\t0\\\\\nState:\tZ (zombie)\nNSpid:\n", "", "0::/a (deleted)\n")
	f.Add("State:\nVmRSS:\t9007199254740991 kB\n", "\x00\x00a\x00", "0::")
	f.Fuzz(func(t *testing.T, status, command, cgroup string) {
		parseStat(status)
		p := &Process{Pid: 5}
		if err := p.parseStatus(status); err == nil {
			if p.State == 0 || p.RSS%1024 != 0 || len(p.Name) > len(status) {
				t.Errorf("parseStatus(%q): name %q, state %q, RSS %d", status, p.Name, p.State, p.RSS)
			}
		}
		must(t, p.parseCommand(command))
		if got := strings.Join(p.Command, "\x00"); got != strings.TrimRight(command, "\x00") {
			t.Errorf("parseCommand(%q) = %q", command, p.Command)
		}
		must(t, p.parseCgroup(cgroup))
		if strings.Contains(p.Cgroup, "\n") || !strings.Contains(cgroup, p.Cgroup) {
			t.Errorf("parseCgroup(%q) = %q", cgroup, p.Cgroup)
		}
		if line := p.Line(); strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Line of %q = %q", p.Command, line)
		}
		if n := p.Inner(); len(p.NSPid) == 0 && n != 5 {
			t.Errorf("Inner of %v = %d", p.NSPid, n)
		}
	})
}

// TestPrintable: a process cannot make the terminal of who looks at it do
// anything.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"httpd -DFOREGROUND": "httpd -DFOREGROUND", "caf\u00e9 …": "caf\u00e9 …", "\x1b[31mred\x1b]0;title\a": "?[31mred?]0;title?",
		"two\nlines\ttab": "two?lines?tab", "\xff\x9b1m": "??1m", "\u202eevil": "?evil", "": "",
	} {
		if got := Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
		p := Process{Name: text, State: 'S', Command: []string{text, "x"}}
		if got := p.Line(); got != want+" x" {
			t.Errorf("Line() = %q", got)
		}
	}
}
