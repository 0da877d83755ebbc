package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// TestPlan compares the recorded steps with golden files.
func TestPlan(t *testing.T) {
	umask := uint32(0o077)
	some := []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}
	caps := &specs.LinuxCapabilities{Bounding: some, Effective: some, Permitted: some, Inheritable: some[1:], Ambient: some[1:]}
	filter := &Filter{Program: make([]unix.SockFilter, 4), Flags: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW}
	limits := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 4096}, {Type: "RLIMIT_CORE", Hard: 1<<64 - 1}}
	for name, c := range map[string]struct {
		p      specs.Process
		filter *Filter
		set    func(*Identity)
	}{
		"root": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Capabilities: caps}, nil, nil},
		"user": {specs.Process{Args: []string{"httpd"}, Cwd: "/var/www", Capabilities: caps, Env: []string{"PATH=/usr/sbin:/bin"}, NoNewPrivileges: true,
			User: specs.User{UID: 33, GID: 33, AdditionalGids: []uint32{4, 5}, Umask: &umask}}, filter, nil},
		"privileges": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Capabilities: caps, User: specs.User{UID: 33, GID: 33}}, filter, nil},
		"create":     {specs.Process{Args: []string{"httpd"}, Cwd: "/"}, nil, func(i *Identity) { i.ExecFifo, i.KeepFDs = true, 2 }},
		"limits":     {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Rlimits: limits}, nil, nil},
		"user-namespace": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", User: specs.User{AdditionalGids: []uint32{0}}}, nil,
			func(i *Identity) { i.SetgroupsDenied = true }},
		"terminal": {specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Terminal: true, ConsoleSize: &specs.Box{Height: 24, Width: 80}}, nil, nil},
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
	if i.spec.Terminal {
		i.Terminal(p, plan.Inherited("ptmx"))
	}
	become(p, i)
	if i.ExecFifo {
		i.CheckExecutable(p)
	}
	p.Ready()
	i.Execve(p)
}

// become records who the process is.
func become(p *plan.Plan, i *Identity) {
	i.Session(p)
	i.WorkingDirectory(p)
	i.CloseDescriptors(p)
	i.Limits(p)
	i.Credentials(p)
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
		`"args": ["sh"], "cwd": "` + strings.Repeat("/x", 257) + `"`:         `process.cwd: more than 256 directories, one in another`,
		`"args": ["sh"], "cwd": "tmp"`:                                       `process.cwd "tmp": not an absolute path`,
		ok + `"env": ["PATH"]`:                                               `process.env[0] "PATH": want NAME=value`,
		ok + `"env": ["A=b", "=c"]`:                                          `process.env[1] "=c": want NAME=value`,
		ok + `"env": ["A=b\u0000c"]`:                                         `process.env[0] "A=b\x00c": want NAME=value`,
		ok + `"user": {"uid": 4294967295}`:                                   `process.user: 4294967295 is no id, but means no change`,
		ok + `"user": {"gid": 4294967295}`:                                   `process.user: 4294967295 is no id, but means no change`,
		ok + `"user": {"additionalGids": [1, 4294967295]}`:                   `process.user: 4294967295 is no id, but means no change`,
		ok + `"user": {"umask": 512}`:                                        `process.user.umask 512: at most 511 (octal 777)`,
		ok + `"consoleSize": {"height": 65536, "width": 1}`:                  `process.consoleSize 65536 by 1: at most 65535`,
		ok + `"rlimits": [{"type": "RLIMIT_CORE"}, {"type": "CORE"}]`:        `process.rlimits[1].type "CORE": no such limit`,
		ok + `"rlimits": [{"type": "RLIMIT_CORE"}, {"type": "RLIMIT_CORE"}]`: `process.rlimits[1].type "RLIMIT_CORE": given twice`,
		ok + `"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]`:    `process.rlimits[0] RLIMIT_CORE: soft limit 2 above the hard limit 1`,
	} {
		var p specs.Process
		if err := json.Unmarshal([]byte("{"+text+"}"), &p); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if i, err := New(&p, nil); err == nil || err.Error() != want || i != nil {
			t.Errorf("New(%s) = %v, %v; want %s", text, i, err, want)
		}
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
	i.LimitCapabilities(1)
	if want := []string{"process.capabilities CAP_KILL: not minirun's to give: left out"}; !slices.Equal(i.Warnings, want) || i.caps != (capabilities{}) {
		t.Errorf("LimitCapabilities(1): Warnings = %q, sets %v; want %q and none", i.Warnings, i.caps, want)
	}
}

// FuzzNew: no process makes New or the recording panic, and what New takes, the
// plan takes.
func FuzzNew(f *testing.F) {
	f.Add([]byte(`{"args": ["sh"], "cwd": "/", "env": ["PATH=a::/b"], "user": {"uid": 1}, "capabilities": {"bounding": ["CAP_KILL"]}}`))
	f.Add([]byte(`{"args": ["sh"], "cwd": "/tmp", "terminal": true, "consoleSize": {"height": 1}, "rlimits": [{"type": "RLIMIT_CORE"}], "oomScoreAdj": 5}`))
	f.Add([]byte(`{"args": ["/x"], "cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]}`))
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
		record(p, i)
		if err := p.Err(); err != nil && !strings.Contains(err.Error(), "NUL") {
			t.Errorf("recording: %v", err)
		}
	})
}

// TestSetHome: only where it is missing.
func TestSetHome(t *testing.T) {
	for _, c := range []struct {
		env  []string
		home string
		want string
	}{
		{[]string{"HOME=/x"}, "/home/alice", "HOME=/x"},
		{[]string{"HOME=/x", "HOME="}, "/home/alice", "HOME=/home/alice"},
		{[]string{"A=b"}, "/root", "A=b HOME=/root"},
		{nil, "", "HOME=/"},
	} {
		i, err := New(&specs.Process{Args: []string{"sh"}, Cwd: "/", Env: c.env}, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = i.SetHome(func(uint32) (string, error) { return c.home, nil })
		if got := strings.Join(i.env, " "); got != c.want || err != nil {
			t.Errorf("SetHome() with %q: %q, %v; want %q", c.env, got, err, c.want)
		}
	}
	i := &Identity{spec: &specs.Process{}}
	if err := i.SetHome(func(uint32) (string, error) { return "", fs.ErrPermission }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("SetHome() = %v, want a permission error", err)
	}
}

// TestCandidates: where a program may be; never below the working directory.
func TestCandidates(t *testing.T) {
	for path, want := range map[string]string{"/a:/b": "/a/sh /b/sh", ":.": "/sh", "/a:/b:/a/": "/a/sh /b/sh", "../x": "/x/sh", "": "/usr/local/sbin/sh /usr/local/bin/sh /usr/sbin/sh /usr/bin/sh /sbin/sh /bin/sh"} {
		i := &Identity{spec: &specs.Process{Args: []string{"sh"}}, env: []string{"PATH=" + path}}
		if got := strings.Join(i.candidates(), " "); got != want {
			t.Errorf("PATH=%s: %s, want %s", path, got, want)
		}
	}
}

// size is what a plan takes: its steps, and the bytes of what is different in them.
func size(p *plan.Plan) (steps, bytes int) {
	seen := map[*plan.Memory]bool{}
	var add func(m *plan.Memory)
	add = func(m *plan.Memory) {
		if seen[m] {
			return
		}
		seen[m] = true
		bytes += len(m.Bytes)
		for _, other := range m.Points {
			add(other)
		}
	}
	for _, s := range p.Steps {
		for _, a := range s.Args {
			switch a := a.(type) {
			case plan.String:
				bytes += len(a)
			case *plan.Memory:
				add(a)
			}
		}
	}
	return len(p.Steps), bytes
}

// TestSearchGrows: twice as long a PATH, in the spec of a program with twice as
// large an environment, makes twice as large a plan and no larger.
func TestSearchGrows(t *testing.T) {
	of := func(n int) (int, int) {
		var dirs []string
		for d := range n {
			dirs = append(dirs, fmt.Sprintf("/directory/%04d", d))
		}
		env := []string{"PATH=" + strings.Join(dirs, ":"), "A=" + strings.Repeat("a", 1000*n)}
		i, err := New(&specs.Process{Args: []string{"sh", strings.Repeat("b", 1000*n)}, Cwd: "/", Env: env}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		p.On(plan.Child)
		i.CheckExecutable(p)
		i.Execve(p)
		return size(p)
	}
	steps, bytes := of(100)
	twiceSteps, twiceBytes := of(200)
	if twiceSteps > 2*steps || float64(twiceBytes) > 2.1*float64(bytes) {
		t.Errorf("a plan of %d steps and %d bytes becomes one of %d and %d, want at most twice as many", steps, bytes, twiceSteps, twiceBytes)
	}
}

// TestSearchBound: a directory of PATH counts once, however often it is named; and
// what an image names is bounded.
func TestSearchBound(t *testing.T) {
	of := func(path string) (*Identity, error) {
		return New(&specs.Process{Args: []string{"sh"}, Cwd: "/", Env: []string{"PATH=" + path}}, nil)
	}
	i, err := of(strings.Repeat(":", 100_000))
	if err != nil {
		t.Fatal(err)
	}
	if got := i.candidates(); len(got) != 1 || got[0] != "/sh" {
		t.Errorf("candidates() of 100,000 colons = %d, want /sh", len(got))
	}
	var long strings.Builder
	for d := range 257 {
		fmt.Fprintf(&long, ":/%d", d)
	}
	if _, err = of(long.String()); err == nil || err.Error() != "process.env: PATH has 258 directories: at most 256" {
		t.Errorf("New() with 258 directories in PATH = %v", err)
	}
}

// TestNoNewKeyring: a new session keyring, unless the caller's is wanted.
func TestNoNewKeyring(t *testing.T) {
	for _, old := range []bool{false, true} {
		i, err := New(&specs.Process{Args: []string{"/x"}, Cwd: "/"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		i.NoNewKeyring = old
		p := &plan.Plan{}
		p.On(plan.Child)
		i.Credentials(p)
		if joins := slices.ContainsFunc(p.Steps, func(s *plan.Step) bool { return s.Call == "keyctl" }); joins == old {
			t.Errorf("with NoNewKeyring %v the plan joins a new keyring: %v", old, joins)
		}
	}
}
