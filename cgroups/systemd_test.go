package cgroups

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
	specs "github.com/opencontainers/runtime-spec/specs-go"

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
			g, u := &Group{Dir: cgroupOf(t, 42)}, &Unit{Name: "x.scope", Slice: "a.slice", User: true}
			err := u.Start(g, "x", 42, nil)
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

// TestLimit: only what systemd knows of is told, and nothing if that is nothing.
func TestLimit(t *testing.T) {
	f := &fakeSystemd{answer: func(n uint32) []*dbus.Message { return []*dbus.Message{returned(n)} }}
	f.listen(t)
	g, u := &Group{Dir: t.TempDir()}, &Unit{Name: "x.scope", User: true}
	burst := uint64(5)
	if err := u.Limit(g, &specs.LinuxResources{CPU: &specs.LinuxCPU{Burst: &burst}}); err != nil || len(f.heard()) > 0 {
		t.Errorf("Limit(burst) = %v after %v, want no call", err, f.heard())
	}
	os.WriteFile(filepath.Join(g.Dir, "memory.current"), []byte("8192\n"), 0o600)
	tooLow := &specs.LinuxMemory{Limit: new(int64(4096)), CheckBeforeUpdate: new(true)}
	if err := u.Limit(g, &specs.LinuxResources{Memory: tooLow}); err == nil || len(f.heard()) > 0 {
		t.Errorf("Limit(memory in use) = %v after %v, want an error before systemd makes the kernel kill", err, f.heard())
	}
	if err := u.Limit(g, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(5))}}); err != nil || len(f.heard()) != 1 {
		t.Fatalf("Limit(pids) = %v after %v, want one call", err, f.heard())
	}
	if got, want := fmt.Sprint(f.bodies[0]), "[x.scope true [[TasksMax @t 5]]]"; got != want {
		t.Errorf("Limit(pids) sent %s, want %s", got, want)
	}
}

// TestFindSystemd: below which group systemd makes those of its units.
func TestFindSystemd(t *testing.T) {
	f := &fakeSystemd{answer: func(n uint32) []*dbus.Message {
		return []*dbus.Message{returned(n, dbus.MakeVariant("/user.slice/user@1000.service"))}
	}}
	f.listen(t)
	if got, err := FindSystemd(true); got != "/user.slice/user@1000.service" || err != nil {
		t.Errorf("FindSystemd = %q, %v", got, err)
	}
}

// TestAddUnit: what is recorded for systemd to do, and what it does not do.
func TestAddUnit(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("memory hugetlb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, g := &Unit{Name: "x.scope", Slice: "a.slice"}, &Group{Dir: dir + "/a.slice/x.scope", top: dir}
	huge := []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 0}}
	for _, c := range []struct {
		resources specs.LinuxResources
		want      string // the runtime's steps, or an error
	}{
		{specs.LinuxResources{}, "StartTransientUnit openat"},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(4096))}}, "StartTransientUnit openat openat write close"},
		{specs.LinuxResources{HugepageLimits: huge}, "StartTransientUnit hand openat openat write close openat write close"},
		{specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(5))}}, "the pids controller is not available"},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: new(int64(5))}}, "memory.limit is missing"},
	} {
		p := &plan.Plan{}
		_, err := g.AddUnit(p, u, "/", "x", &c.resources)
		var calls []string
		for _, s := range p.Steps {
			calls = append(calls, strings.FieldsFunc(s.Call, func(r rune) bool { return r == ' ' || r == '(' })[0])
		}
		if got := strings.Join(calls, " "); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("AddUnit(%+v) = %s, %v; want %s", c.resources, got, err, c.want)
		}
	}
}

// TestConnect: without a systemd there is one error, which says so.
func TestConnect(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "tcp:host=x;unix:path=/no/such%20bus")
	_, err := FindSystemd(true)
	if !errors.Is(err, ErrNoSystemd) || strings.Count(err.Error(), "\n") > 1 || !strings.Contains(err.Error(), "/no/such bus") {
		t.Errorf("FindSystemd = %v, want that systemd does not run here", err)
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
		m, err := connect(true, 50*time.Millisecond)
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
