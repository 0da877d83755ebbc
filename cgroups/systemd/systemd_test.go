package systemd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"minirun/cgroups"
	"minirun/plan"
)

const systemd1 = "org.freedesktop.systemd1"

// A fakeSystemd answers as systemd does on its private socket, of which the
// library opens two connections: one to ask, one to hear of the ends of jobs.
type fakeSystemd struct {
	answer func(serial uint32) []*dbus.Message // to what is asked: the messages to send, in this order
	leaves bool                                // after that

	mutex  sync.Mutex
	ears   []net.Conn
	asked  []string // methods
	bodies [][]any  // and their arguments
}

// heard are the methods that it was asked for.
func (f *fakeSystemd) heard() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.asked)
}

// listen is a user's systemd at a socket of its own.
func (f *fakeSystemd) listen(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "minirun-bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Mkdir(filepath.Join(dir, "systemd"), 0o700)
	l, err := net.Listen("unix", filepath.Join(dir, "systemd/private"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+dir+"/none")
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(c); c.Close() })
		}
	})
}

// serve is one connection: the greeting in lines, then messages.
func (f *fakeSystemd) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return
		case line == "\x00AUTH\r\n":
			fmt.Fprintf(c, "REJECTED EXTERNAL\r\n")
		case line == "AUTH EXTERNAL\r\n":
			fmt.Fprintf(c, "DATA\r\n")
		case line == "DATA\r\n": // without a name: whoever the socket says
			fmt.Fprintf(c, "OK 1234deadbeef\r\n")
		case line == "NEGOTIATE_UNIX_FD\r\n":
			fmt.Fprintf(c, "ERROR\r\n")
		case line == "BEGIN\r\n":
			f.messages(c, in)
			return
		default:
			fmt.Fprintf(c, "REJECTED EXTERNAL\r\n")
			return
		}
	}
}

func (f *fakeSystemd) messages(c net.Conn, in *bufio.Reader) {
	for {
		m, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		method := m.Headers[dbus.FieldMember].Value().(string)
		f.mutex.Lock()
		if method == "AddMatch" {
			f.ears = append(f.ears, c)
			send(c, returned(m.Serial()))
			f.mutex.Unlock()
			continue
		}
		f.asked, f.bodies = append(f.asked, method), append(f.bodies, m.Body)
		for _, reply := range f.answer(m.Serial()) {
			if reply.Type != dbus.TypeSignal {
				send(c, reply)
				continue
			}
			for _, ear := range f.ears {
				send(ear, reply)
			}
		}
		f.mutex.Unlock()
		if f.leaves {
			return
		}
	}
}

// send writes a message with a serial number of its own, which the library
// gives to none but its own connections.
func send(c net.Conn, m *dbus.Message) {
	var b strings.Builder
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		panic(err)
	}
	data := []byte(b.String())
	binary.LittleEndian.PutUint32(data[8:], 99)
	c.Write(data)
}

func message(kind dbus.Type, fields map[dbus.HeaderField]any, body ...any) *dbus.Message {
	m := &dbus.Message{Type: kind, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: body}
	for f, v := range fields {
		m.Headers[f] = dbus.MakeVariant(v)
	}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	return m
}

func returned(serial uint32, body ...any) *dbus.Message {
	return message(dbus.TypeMethodReply, map[dbus.HeaderField]any{dbus.FieldReplySerial: serial}, body...)
}

func refused(serial uint32, name, text string) *dbus.Message {
	return message(dbus.TypeError, map[dbus.HeaderField]any{dbus.FieldReplySerial: serial, dbus.FieldErrorName: systemd1 + "." + name}, text)
}

func removedJob(job dbus.ObjectPath, result string) *dbus.Message {
	return message(dbus.TypeSignal, map[dbus.HeaderField]any{
		dbus.FieldPath: dbus.ObjectPath("/org/freedesktop/systemd1"), dbus.FieldInterface: systemd1 + ".Manager", dbus.FieldMember: "JobRemoved",
	}, uint32(7), job, "x.scope", result)
}

// TestJob: the reply to a call and the end of its job, in whatever order, among
// what else systemd has to say.
func TestJob(t *testing.T) {
	const job, another = dbus.ObjectPath("/org/freedesktop/systemd1/job/7"), dbus.ObjectPath("/org/freedesktop/systemd1/job/8")
	for name, c := range map[string]struct {
		answer func(serial uint32) []*dbus.Message
		want   string // of the error; "": none
	}{
		"done":        {func(n uint32) []*dbus.Message { return []*dbus.Message{returned(n, job), removedJob(job, "done")} }, ""},
		"done before": {func(n uint32) []*dbus.Message { return []*dbus.Message{removedJob(job, "done"), returned(n, job)} }, ""},
		"another": {func(n uint32) []*dbus.Message {
			return []*dbus.Message{removedJob(another, "failed"), returned(n, job), removedJob(job, "done")}
		}, ""},
		"failed": {func(n uint32) []*dbus.Message { return []*dbus.Message{returned(n, job), removedJob(job, "failed")} }, "systemd: start x.scope: its job: failed"},
		"refused": {func(n uint32) []*dbus.Message {
			return []*dbus.Message{refused(n, "UnitExists", "Unit x.scope was already loaded")}
		}, "systemd: start x.scope: Unit x.scope was already loaded"},
		"hung up":          {func(uint32) []*dbus.Message { return nil }, "systemd: start x.scope: systemd hung up"},
		"hung up in a job": {func(n uint32) []*dbus.Message { return []*dbus.Message{returned(n, job)} }, "systemd: start x.scope: systemd hung up"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeSystemd{answer: c.answer, leaves: strings.HasPrefix(name, "hung up")}
			f.listen(t)
			g, u := cgroups.Open(cgroupOf(t, 42)), &Unit{Name: "x.scope", slice: "a.slice", User: true, id: "x"}
			err := u.Start(g, 42, nil)
			if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("Start = %v, want %q", err, c.want)
			}
			if !slices.Equal(f.heard(), []string{"StartTransientUnit"}) || f.bodies[0][0] != "x.scope" || f.bodies[0][1] != "replace" {
				t.Errorf("Start asked for %v with %v", f.heard(), f.bodies)
			}
		})
	}
}

// cgroupOf is a directory that looks like the group of one process.
func cgroupOf(t *testing.T, pid int) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendln(nil, pid), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestStop: a unit that is gone needs no stopping.
func TestStop(t *testing.T) {
	f := &fakeSystemd{answer: func(n uint32) []*dbus.Message {
		return []*dbus.Message{refused(n, "NoSuchUnit", "Unit x.scope not loaded.")}
	}}
	f.listen(t)
	if err := (&Unit{Name: "x.scope", User: true}).Stop(); err != nil || !slices.Equal(f.heard(), []string{"StopUnit"}) {
		t.Errorf("Stop = %v after %v, want none after StopUnit", err, f.heard())
	}
}

// TestUpdate: systemd is told only what it knows, and is not asked if that is nothing.
func TestUpdate(t *testing.T) {
	f := &fakeSystemd{}
	f.answer = func(n uint32) []*dbus.Message {
		if f.asked[len(f.asked)-1] == "Get" {
			return []*dbus.Message{returned(n, dbus.MakeVariant("/a.slice/x.scope"))}
		}
		return []*dbus.Message{returned(n)}
	}
	f.listen(t)
	u, p, g := &Unit{Name: "x.scope", User: true}, &plan.Plan{}, cgroups.Open(below(t, "/a.slice/x.scope"))
	u.Update(p, g, []cgroups.Write{{File: "cpu.max.burst", Value: "5"}})
	if len(p.Steps) > 0 {
		t.Errorf("Update(burst) records %v, want nothing", p.Steps[0])
	}
	u.Update(p, g, []cgroups.Write{{File: "pids.max", Value: "5"}, {File: "cpu.max.burst", Value: "5"}})
	if len(p.Steps) != 1 || p.Steps[0].Call != `SetUnitProperties("x.scope", true, {TasksMax=5})` {
		t.Fatalf("Update(pids) records %v", p.Steps)
	}
	if _, err := p.Start(plan.Options{}); err != nil || !slices.Equal(f.heard(), []string{"Get", "SetUnitProperties"}) {
		t.Fatalf("Start() = %v after %v", err, f.heard())
	}
	if got, want := fmt.Sprint(f.bodies[1]), "[x.scope true [[TasksMax @t 5]]]"; got != want {
		t.Errorf("Update(pids) sent %s, want %s", got, want)
	}
}

// below is where a group of systemd's is on this machine.
func below(t *testing.T, group string) string {
	t.Helper()
	h, err := cgroups.Find()
	if err != nil {
		t.Skipf("no cgroup v2 hierarchy: %v", err)
	}
	return filepath.Join(h.Mount, group)
}

// TestNamesake: a unit whose group is another one is neither stopped nor told limits.
func TestNamesake(t *testing.T) {
	for group, want := range map[string][]string{
		"/a.slice/x.scope": {"Get", "StopUnit", "Get", "SetUnitProperties"},
		"/b.slice/x.scope": {"Get", "Get"},
		"/x.scope":         {"Get", "Get"}, // in no slice
		"":                 {"Get", "Get"}, // its processes have ended
		"none":             {"Get", "Get"}, // no such unit
	} {
		f := &fakeSystemd{}
		f.answer = func(n uint32) []*dbus.Message {
			const job = dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
			switch last := f.asked[len(f.asked)-1]; {
			case last == "Get" && group == "none":
				return []*dbus.Message{refused(n, "NoSuchUnit", "Unit x.scope not loaded.")}
			case last == "Get":
				return []*dbus.Message{returned(n, dbus.MakeVariant(group))}
			case last == "StopUnit":
				return []*dbus.Message{returned(n, job), removedJob(job, "done")}
			}
			return []*dbus.Message{returned(n)}
		}
		f.listen(t)
		if err := Forget("x.scope", true, below(t, "/a.slice/x.scope")); err != nil {
			t.Errorf("the unit's group is %q: Forget = %v", group, err)
		}
		p := &plan.Plan{}
		(&Unit{Name: "x.scope", User: true}).Update(p, cgroups.Open(below(t, "/a.slice/x.scope")), []cgroups.Write{{File: "pids.max", Value: "5"}})
		if _, err := p.Start(plan.Options{}); err != nil {
			t.Errorf("the unit's group is %q: Update = %v", group, err)
		}
		if got := f.heard(); !slices.Equal(got, want) {
			t.Errorf("the unit's group is %q: asked for %v, want %v", group, got, want)
		}
	}
}

// TestFind: below which group systemd makes those of its units.
func TestFind(t *testing.T) {
	f := &fakeSystemd{answer: func(n uint32) []*dbus.Message {
		return []*dbus.Message{returned(n, dbus.MakeVariant("/user.slice/user@1000.service"))}
	}}
	f.listen(t)
	if got, err := Find(true); got != "/user.slice/user@1000.service" || err != nil {
		t.Errorf("Find = %q, %v", got, err)
	}
}

// TestAdd: what systemd is asked to do, and what it does not do.
func TestAdd(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("memory hugetlb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, g := &Unit{Name: "x.scope", slice: "a.slice", id: "x", top: dir}, cgroups.Open(dir+"/a.slice/x.scope")
	for _, c := range []struct {
		limit cgroups.Write
		want  string // the runtime's steps, or an error
	}{
		{cgroups.Write{File: "pids.max", Value: "max", Optional: true}, "StartTransientUnit openat <cgroup>; openat <pids.max>; write; close"},
		{cgroups.Write{File: "memory.max", Value: "4096"}, "StartTransientUnit openat <cgroup>; openat <memory.max>; write; close"},
		{cgroups.Write{File: "hugetlb.2MB.max", Value: "0"}, "StartTransientUnit " + strings.Repeat("openat <cgroup.subtree_control>; write +hugetlb; close; ", 2) + "openat <cgroup>; openat <hugetlb.2MB.max>; write; close"},
		{cgroups.Write{File: "pids.max", Value: "5"}, "the pids controller is not available"},
	} {
		p := &plan.Plan{}
		_, err := u.Add(p, g, []cgroups.Write{c.limit})
		var calls []string
		for i, s := range p.Steps {
			call := strings.FieldsFunc(s.Call, func(r rune) bool { return r == ' ' || r == '(' })[0]
			if s.Result != "" {
				call += " <" + s.Result + ">"
			}
			if s.Call == "write" {
				if text := string(s.Args[1].(*plan.Memory).Bytes); text[0] == '+' {
					call += " " + text
				}
			}
			if i > 1 {
				call = "; " + call
			} else if i == 1 {
				call = " " + call
			}
			calls = append(calls, call)
		}
		if got := strings.Join(calls, ""); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Add(%v) = %s, %v; want %s", c.limit, got, err, c.want)
		}
	}
}

// TestConnect: without a systemd there is one error, which says so.
func TestConnect(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "tcp:host=x;unix:path=/no/such%20bus")
	_, err := Find(true)
	if !errors.Is(err, ErrNotRunning) || strings.Count(err.Error(), "\n") > 1 || !strings.Contains(err.Error(), "/no/such bus") {
		t.Errorf("Find = %v, want that systemd does not run here", err)
	}
}

// TestSilence: a systemd that says nothing is not waited for without end.
func TestSilence(t *testing.T) {
	const job = dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
	for name, answer := range map[string]func(uint32) []*dbus.Message{
		"no reply": func(uint32) []*dbus.Message { return nil },
		"no end":   func(n uint32) []*dbus.Message { return []*dbus.Message{returned(n, job)} },
	} {
		f := &fakeSystemd{answer: answer}
		f.listen(t)
		var m *manager
		err := errSilent
		for limit := 50 * time.Millisecond; errors.Is(err, errSilent) && limit < time.Minute; limit *= 2 {
			m, err = connect(true, limit) // on a busy machine the greeting alone may take longer
		}
		if err != nil {
			t.Fatal(err)
		}
		err = m.job(func(m *manager, done chan<- string) (int, error) {
			return m.StopUnitContext(m.ctx, "x.scope", "replace", done)
		})
		m.Close()
		if !errors.Is(err, errSilent) {
			t.Errorf("%s: job = %v, want %v", name, err, errSilent)
		}
	}
}
