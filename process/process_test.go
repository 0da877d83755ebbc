package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// TestPlan compares the recorded steps with golden files.
func TestPlan(t *testing.T) {
	umask, score := uint32(0o077), -500
	some := []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}
	caps := &specs.LinuxCapabilities{Bounding: some, Effective: some, Permitted: some, Inheritable: some[1:], Ambient: some[1:]}
	filter := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	limits := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 4096}, {Type: "RLIMIT_CORE", Hard: 1<<64 - 1}}
	for name, c := range map[string]struct {
		p      specs.Process
		filter *specs.LinuxSeccomp
		set    func(*Identity)
	}{
		"root": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Capabilities: caps}, nil, nil},
		"user": {specs.Process{Args: []string{"httpd"}, Cwd: "/var/www", Capabilities: caps, Env: []string{"PATH=/usr/sbin:/bin"}, NoNewPrivileges: true,
			User: specs.User{UID: 33, GID: 33, AdditionalGids: []uint32{4, 5}, Umask: &umask}}, filter, nil},
		"privileges": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Capabilities: caps, User: specs.User{UID: 33, GID: 33}}, filter, nil},
		"create":     {specs.Process{Args: []string{"httpd"}, Cwd: "/"}, nil, func(i *Identity) { i.Fifo, i.Keep = true, 2 }},
		"limits": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Rlimits: limits, OOMScoreAdj: &score,
			Scheduler:  &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
			IOPriority: &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 4}}, nil, nil},
		"outside": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", User: specs.User{AdditionalGids: []uint32{0}}, Rlimits: limits, OOMScoreAdj: &score}, nil,
			func(i *Identity) { i.Outside, i.NoSets = true, true }},
		"terminal": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Terminal: true, ConsoleSize: &specs.Box{Height: 24, Width: 80}}, nil, nil},
		"labels":   {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", ApparmorProfile: "docker-default", SelinuxLabel: "system_u:system_r:container_t:s0"}, nil, nil},
		"kernel": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/"}, nil, func(i *Identity) {
			i.Linux(&specs.Linux{Personality: &specs.LinuxPersonality{Domain: specs.PerLinux32}, MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0-1,3"}})
		}},
	} {
		i, err := New(&c.p, c.filter)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.set != nil {
			c.set(i)
		}
		p := &plan.Plan{}
		p.On(plan.Child)
		record(p, i)
		golden(t, name, p)
	}
}

// record records all of an identity.
func record(p *plan.Plan, i *Identity) {
	i.First(p)
	if i.spec.Terminal {
		i.Terminal(p, plan.Inherited("ptmx"))
	}
	i.Early(p, func(*plan.Plan) plan.FD { return plan.Inherited("procfs") })
	i.Become(p)
	if i.Fifo {
		i.Look(p)
	}
	p.Ready()
	i.Exec(p)
}

func golden(t *testing.T, name string, p *plan.Plan) {
	t.Helper()
	var got bytes.Buffer
	if err := errors.Join(print.Text(&got, p, print.Options{}), p.Err()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".txt")
	if *update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s = \n%s\nwant\n%s", name, got.String(), want)
	}
}

// TestRefusals: what New does not take, and how it says so.
func TestRefusals(t *testing.T) {
	const ok = `"args": ["sh"], "cwd": "/", `
	for text, want := range map[string]string{
		`"cwd": "/"`:                       `process.args: no program`,
		`"args": [""], "cwd": "/"`:         `process.args: no program`,
		`"args": ["a\u0000b"], "cwd": "/"`: `process.args: contains a NUL byte`,
		`"args": ["sh"], "cwd": ""`:        `process.cwd "": not an absolute path`,
		`"args": ["sh"], "cwd": "` + strings.Repeat("/x", 2048) + `"`:        `process.cwd: file name too long`,
		`"args": ["sh"], "cwd": "tmp"`:                                       `process.cwd "tmp": not an absolute path`,
		ok + `"env": ["PATH"]`:                                               `process.env[0] "PATH": want NAME=value`,
		ok + `"env": ["A=b", "=c"]`:                                          `process.env[1] "=c": want NAME=value`,
		ok + `"env": ["A=b\u0000c"]`:                                         `process.env[0] "A=b\x00c": want NAME=value`,
		ok + `"user": {"uid": 4294967295}`:                                   `process.user: 4294967295 is no id, but means no change`,
		ok + `"user": {"gid": 4294967295}`:                                   `process.user: 4294967295 is no id, but means no change`,
		ok + `"user": {"additionalGids": [1, 4294967295]}`:                   `process.user: 4294967295 is no id, but means no change`,
		ok + `"user": {"umask": 512}`:                                        `process.user.umask 512: at most 511 (octal 777)`,
		ok + `"consoleSize": {"height": 65536, "width": 1}`:                  `process.consoleSize 65536 by 1: at most 65535`,
		ok + `"oomScoreAdj": 1001`:                                           `process.oomScoreAdj 1001: want -1000 to 1000`,
		ok + `"rlimits": [{"type": "RLIMIT_CORE"}, {"type": "CORE"}]`:        `process.rlimits[1].type "CORE": no such limit`,
		ok + `"rlimits": [{"type": "RLIMIT_CORE"}, {"type": "RLIMIT_CORE"}]`: `process.rlimits[1].type "RLIMIT_CORE": given twice`,
		ok + `"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]`:    `process.rlimits[0] RLIMIT_CORE: soft limit 2 above the hard limit 1`,
		ok + `"scheduler": {"policy": "SCHED_X"}`:                            `process.scheduler.policy "SCHED_X": no such policy`,
		ok + `"scheduler": {"policy": "SCHED_OTHER", "nice": 20}`:            `process.scheduler.nice 20: want -20 to 19`,
		ok + `"scheduler": {"policy": "SCHED_OTHER", "priority": 1}`:         `process.scheduler.priority 1: only for SCHED_FIFO and SCHED_RR`,
		ok + `"scheduler": {"policy": "SCHED_FIFO"}`:                         `process.scheduler.priority 0: want 1 to 99`,
		ok + `"scheduler": {"policy": "SCHED_BATCH", "period": 1}`:           `process.scheduler: runtime, deadline and period are only for SCHED_DEADLINE`,
		ok + `"scheduler": {"policy": "SCHED_IDLE", "flags": ["X"]}`:         `process.scheduler.flags "X": no such flag`,
		ok + `"ioPriority": {"class": "X"}`:                                  `process.ioPriority.class "X": no such class`,
		ok + `"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}`:     `process.ioPriority.priority 8: want 0 to 7`,
	} {
		var p specs.Process
		if err := json.Unmarshal([]byte("{"+text+"}"), &p); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if i, err := New(&p, nil); err == nil || err.Error() != want || i != nil {
			t.Errorf("New(%s) = %v, %v; want %s", text, i, err, want)
		}
	}
	for text, want := range map[string]string{
		`"personality": {"domain": "X"}`:                               `linux.personality.domain "X": want LINUX or LINUX32`,
		`"personality": {"domain": "LINUX", "flags": ["X"]}`:           `linux.personality.flags ["X"]: no flags are defined`,
		`"memoryPolicy": {"mode": "X"}`:                                `linux.memoryPolicy.mode "X": no such mode`,
		`"memoryPolicy": {"mode": "MPOL_BIND", "flags": ["X"]}`:        `linux.memoryPolicy.flags "X": no such flag`,
		`"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0,3-2"}`:      `linux.memoryPolicy.nodes "0,3-2": "3-2": want numbers from 0 to 1023, or ranges of them`,
		`"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "4294967296"}`: `linux.memoryPolicy.nodes "4294967296": "4294967296": want numbers from 0 to 1023, or ranges of them`,
	} {
		var l specs.Linux
		if err := json.Unmarshal([]byte("{"+text+"}"), &l); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := new(Identity).Linux(&l); err == nil || err.Error() != want {
			t.Errorf("Linux(%s) = %v, want %s", text, err, want)
		}
	}
	if _, err := affinity(&specs.CPUAffinity{Initial: "x", Final: "0"}); err == nil || err.Error() != `process.execCPUAffinity.initial "x": "x": want numbers from 0 to 8191, or ranges of them` {
		t.Errorf("affinity() = %v, want a refusal", err)
	}
}

// TestWarnings: capabilities that cannot be had are left out, and told.
func TestWarnings(t *testing.T) {
	c := &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL", "CAP_FLY"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"},
		Inheritable: []string{"CAP_CHOWN"}, Ambient: []string{"CAP_KILL"}}
	i, err := New(&specs.Process{Args: []string{"sh"}, Cwd: "/", Capabilities: c}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`process.capabilities.bounding "CAP_FLY": no such capability: left out`, `process.capabilities.effective CAP_CHOWN, CAP_FOWNER: not permitted: left out`,
		`process.capabilities.inheritable CAP_CHOWN: not in the bounding set: left out`, `process.capabilities.ambient CAP_KILL: not permitted and inheritable: left out`}
	if !slices.Equal(i.Warnings, want) || i.caps != (capabilities{1 << 5, 1 << 5, 1 << 5, 0, 0}) {
		t.Errorf("Warnings = %q, sets %v; want %q", i.Warnings, i.caps, want)
	}
	i.Warnings = nil
	i.Grant(1)
	if want := []string{"process.capabilities CAP_KILL: not minirun's to give: left out"}; !slices.Equal(i.Warnings, want) || i.caps != (capabilities{}) {
		t.Errorf("Grant(1): Warnings = %q, sets %v; want %q and none", i.Warnings, i.caps, want)
	}
}

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nbroken\n1000:x:0:0:trap:/:/bin/sh\nhalf:x:\nhuge:x:99999999999:5::/:\n" +
		"www-data:x:33:34:www:/var/www:/bin/sh\nalice:x:1000:1001::/home/alice:\nlast:x:4294967295:0::/:\nroot:x:7:7::/evil:\n"
	group = "root:x:0:root\nwww-data:x:34:\n5000:x:6:\nadm:x:4:root,alice\nvideo:x:44:alice\nvideo2:x:44:alice\nbad:x:no:alice\nown:x:1001:alice\n"
)

// TestLookup: users and groups by name and number.
func TestLookup(t *testing.T) {
	for _, c := range []struct {
		word string
		user specs.User
		home string
		err  string
	}{
		{"", specs.User{AdditionalGids: []uint32{0, 4}}, "/root", ""},
		{"root", specs.User{AdditionalGids: []uint32{0, 4}}, "/root", ""},
		{"0", specs.User{AdditionalGids: []uint32{0, 4}}, "/root", ""},
		{"www-data", specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{34}}, "/var/www", ""},
		{"alice", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 4, 44}}, "/home/alice", ""},
		{"1000", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 4, 44}}, "/home/alice", ""}, // not the name 1000 (CVE-2016-3697)
		{"1234", specs.User{UID: 1234, AdditionalGids: []uint32{0}}, "", ""},
		{"4294967294", specs.User{UID: 4294967294, AdditionalGids: []uint32{0}}, "", ""},
		{"alice:video", specs.User{UID: 1000, GID: 44, AdditionalGids: []uint32{44}}, "/home/alice", ""},
		{"1234:5", specs.User{UID: 1234, GID: 5, AdditionalGids: []uint32{5}}, "", ""},
		{"1234:5000", specs.User{UID: 1234, GID: 5000, AdditionalGids: []uint32{5000}}, "", ""}, // not the name 5000
		{":", specs.User{}, "", `user ":": want USER or USER:GROUP`},
		{"1000:", specs.User{}, "", `user "1000:": want USER or USER:GROUP`}, // these four: CVE-2026-30892
		{":5", specs.User{}, "", `user ":5": want USER or USER:GROUP`},
		{"99999999999", specs.User{}, "", `user "99999999999": id "99999999999": want a number from 0 to 4294967294`},
		{"abc", specs.User{}, "", `user "abc": no such user in the image's /etc/passwd`},
		{"4294967295", specs.User{}, "", `user "4294967295": id "4294967295": want a number from 0 to 4294967294`},
		{"last", specs.User{}, "", `user "last": id "4294967295": want a number from 0 to 4294967294`},
		{"huge", specs.User{}, "", `user "huge": id "99999999999": want a number from 0 to 4294967294`},
		{"half", specs.User{}, "", `user "half": id "": want a number from 0 to 4294967294`},
		{"broken", specs.User{}, "", `user "broken": id "": want a number from 0 to 4294967294`},
		{"-1", specs.User{}, "", `user "-1": no such user in the image's /etc/passwd`},
		{"0x10", specs.User{}, "", `user "0x10": no such user in the image's /etc/passwd`},
		{"root:nobody", specs.User{}, "", `user "root:nobody": group "nobody": no such group in the image's /etc/group`},
		{"root:a:b", specs.User{}, "", `user "root:a:b": group "a:b": no such group in the image's /etc/group`},
		{"root:bad", specs.User{}, "", `user "root:bad": id "no": want a number from 0 to 4294967294`},
	} {
		user, home, err := Lookup(c.word, strings.NewReader(passwd), strings.NewReader(group))
		if fmt.Sprint(user) != fmt.Sprint(c.user) || home != c.home || errorText(err) != c.err {
			t.Errorf("Lookup(%q) = %v, %q, %v; want %v, %q, %s", c.word, user, home, err, c.user, c.home, c.err)
		}
	}
	if _, _, err := Lookup("root", strings.NewReader(strings.Repeat("x", 1<<20)), strings.NewReader("")); err == nil {
		t.Error("a line of a megabyte is taken")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzLookup: no input makes it panic; all digits are that user and nobody
// else; and no id is the one that means no change.
func FuzzLookup(f *testing.F) {
	for _, word := range []string{"", "root", "1000", "alice:video", "1000:", ":5", "99999999999"} {
		f.Add(word, passwd, group)
	}
	f.Fuzz(func(t *testing.T, word, passwd, group string) {
		u, home, err := Lookup(word, strings.NewReader(passwd), strings.NewReader(group))
		if err != nil {
			if u.UID|u.GID != 0 || home != "" {
				t.Errorf("Lookup(%q) = %v, %q besides %v", word, u, home, err)
			}
			return
		}
		name, _, _ := strings.Cut(word, ":")
		if n, err := number(name); err == nil && u.UID != n {
			t.Errorf("Lookup(%q) = user %d", word, u.UID)
		}
		if u.UID == none || u.GID == none || slices.Contains(u.AdditionalGids, none) {
			t.Errorf("Lookup(%q) = %v", word, u)
		}
	})
}

// FuzzNew: no process makes New or the recording panic, and what New takes, the
// plan takes.
func FuzzNew(f *testing.F) {
	f.Add([]byte(`{"args": ["sh"], "cwd": "/", "env": ["PATH=a::/b"], "user": {"uid": 1}, "capabilities": {"bounding": ["CAP_KILL"]}}`))
	f.Add([]byte(`{"args": ["sh"], "cwd": "/tmp", "terminal": true, "consoleSize": {"height": 1}, "rlimits": [{"type": "RLIMIT_CORE"}], "oomScoreAdj": 5}`))
	f.Add([]byte(`{"args": ["/x"], "cwd": "/", "apparmorProfile": "x", "selinuxLabel": "y", "execCPUAffinity": {"final": "0-3,7"}, "ioPriority": {"class": "IOPRIO_CLASS_RT"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s specs.Process
		if json.Unmarshal(data, &s) != nil {
			return
		}
		i, err := New(&s, nil)
		if err != nil {
			return
		}
		p := &plan.Plan{}
		p.On(plan.Child)
		i.Affinity(p)
		record(p, i)
		if err := p.Err(); err != nil && !strings.Contains(err.Error(), "NUL") {
			t.Errorf("recording: %v", err)
		}
	})
}

// TestAddDrop: as Docker understands --cap-add and --cap-drop.
func TestAddDrop(t *testing.T) {
	for _, c := range []struct {
		list, add, drop []string
		want            string
		err             string
	}{
		{[]string{"CAP_KILL"}, nil, nil, "CAP_KILL", ""},
		{[]string{"CAP_KILL"}, []string{"chown", "cap_net_raw"}, []string{"KILL"}, "CAP_CHOWN CAP_NET_RAW", ""},
		{[]string{"CAP_KILL"}, []string{"CHOWN"}, []string{"all"}, "CAP_CHOWN", ""},
		{[]string{"CAP_KILL"}, []string{"CHOWN"}, []string{"CHOWN"}, "CAP_KILL", ""},
		{nil, []string{"ALL"}, plan.Capabilities[1:], "CAP_CHOWN", ""},
		{nil, []string{"ALL"}, nil, strings.Join(plan.Capabilities, " "), ""},
		{nil, []string{"FLY"}, nil, "", `capability "FLY": no such capability`},
		{nil, nil, []string{"CAP_"}, "", `capability "CAP_": no such capability`},
	} {
		got, err := AddDrop(c.list, c.add, c.drop)
		if strings.Join(got, " ") != c.want || errorText(err) != c.err {
			t.Errorf("AddDrop(%q, %q, %q) = %q, %v; want %s, %s", c.list, c.add, c.drop, got, err, c.want, c.err)
		}
	}
	if len(DefaultCapabilities) != 14 || !slices.IsSorted(DefaultCapabilities) {
		t.Error("DefaultCapabilities are not Docker's fourteen, in order")
	}
}

// TestHome: only where it is missing, from the container's own file.
func TestHome(t *testing.T) {
	for _, c := range []struct {
		env  []string
		uid  uint32
		file string // "": does not exist
		want string
	}{
		{[]string{"HOME=/x"}, 1000, passwd, "HOME=/x"},
		{[]string{"HOME=/x", "HOME="}, 1000, passwd, "HOME=/home/alice"},
		{[]string{"A=b"}, 0, passwd, "A=b HOME=/root"},
		{nil, 77, passwd, "HOME=/"},
		{nil, 5, "x:x:5:5::relative:", "HOME=/"},
		{nil, 5, "x:x:5:5::/nul\x00:", "HOME=/"},
		{nil, 5, "", "HOME=/"},
	} {
		i, err := New(&specs.Process{Args: []string{"sh"}, Cwd: "/", Env: c.env, User: specs.User{UID: c.uid}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = i.Home(func() (io.ReadCloser, error) {
			if c.file == "" {
				return nil, &fs.PathError{Op: "open", Path: "/etc/passwd", Err: fs.ErrNotExist}
			}
			return io.NopCloser(strings.NewReader(c.file)), nil
		})
		if got := strings.Join(i.env, " "); got != c.want || err != nil {
			t.Errorf("Home() with %q for %d: %q, %v; want %q", c.env, c.uid, got, err, c.want)
		}
	}
	i := &Identity{spec: &specs.Process{}}
	if err := i.Home(func() (io.ReadCloser, error) { return nil, fs.ErrPermission }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Home() = %v, want a permission error", err)
	}
}

// TestCandidates: where a program may be; never below the working directory.
func TestCandidates(t *testing.T) {
	for path, want := range map[string]string{"/a:/b": "/a/sh /b/sh", ":.": "/sh /sh", "../x": "/x/sh", "": "/usr/local/sbin/sh /usr/local/bin/sh /usr/sbin/sh /usr/bin/sh /sbin/sh /bin/sh"} {
		i := &Identity{spec: &specs.Process{Args: []string{"sh"}}, env: []string{"PATH=" + path}}
		if got := strings.Join(i.candidates(), " "); got != want {
			t.Errorf("PATH=%s: %s, want %s", path, got, want)
		}
	}
}

func ExampleAddDrop() {
	caps, err := AddDrop(DefaultCapabilities, []string{"net_admin"}, []string{"ALL"})
	fmt.Println(caps, err)
	// Output: [CAP_NET_ADMIN] <nil>
}

// TestOldKeys: a new session keyring, unless the caller's is wanted.
func TestOldKeys(t *testing.T) {
	for _, old := range []bool{false, true} {
		i, err := New(&specs.Process{Args: []string{"/x"}, Cwd: "/"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		i.OldKeys = old
		p := &plan.Plan{}
		p.On(plan.Child)
		i.Become(p)
		if joins := slices.ContainsFunc(p.Steps, func(s *plan.Step) bool { return s.Call == "keyctl" }); joins == old {
			t.Errorf("with OldKeys %v the plan joins a new keyring: %v", old, joins)
		}
	}
}
