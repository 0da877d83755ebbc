package cgroups

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/plan"
)

// TestEncode: the bytes of a message, put together by hand.
func TestEncode(t *testing.T) {
	got := string(call{"a.b", "/p", "i.f.Method", []any{"x", true, []property{{"N", uint64(7)}}, noUnits{}}}.encode(3))
	want := "l\x01\x00\x01" + "\x30\x00\x00\x00" + "\x03\x00\x00\x00" + "\x56\x00\x00\x00" + // bytes of the body, serial, bytes of fields
		"\x01\x01o\x00" + "\x02\x00\x00\x00/p\x00" + "\x00\x00\x00\x00\x00" +
		"\x02\x01s\x00" + "\x03\x00\x00\x00i.f\x00" + "\x00\x00\x00\x00" +
		"\x03\x01s\x00" + "\x06\x00\x00\x00Method\x00" + "\x00" +
		"\x06\x01s\x00" + "\x03\x00\x00\x00a.b\x00" + "\x00\x00\x00\x00" +
		"\x08\x01g\x00" + "\x10sba(sv)a(sa(sv))\x00" + "\x00\x00" +
		"\x01\x00\x00\x00x\x00" + "\x00\x00" +
		"\x01\x00\x00\x00" +
		"\x18\x00\x00\x00" + "\x01\x00\x00\x00N\x00" + "\x01t\x00" + "\x00\x00\x00\x00\x00\x00\x00" + "\x07\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x00" + "\x00\x00\x00\x00" // no elements, but room for them to begin
	if got != want {
		t.Errorf("encode = %q, want %q", got, want)
	}
}

// A fakeSystemd answers as systemd does on its private socket.
type fakeSystemd struct {
	answer func(method string, serial uint32) [][]byte // messages to send, in this order
	leaves bool                                        // after the first call
	calls  []string                                    // methods called
	raw    [][]byte                                    // and the messages
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
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+dir+"/none")
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.serve(c)
			c.Close()
		}
	}()
}

func (f *fakeSystemd) serve(c net.Conn) {
	in := bufio.NewReader(c)
	auth, _ := in.ReadString('\n')
	if want := fmt.Sprintf("\x00AUTH EXTERNAL %x\r\n", fmt.Sprint(os.Geteuid())); auth != want {
		fmt.Fprintf(c, "REJECTED EXTERNAL\r\n")
		return
	}
	in.ReadString('\n') // BEGIN
	fmt.Fprintf(c, "OK 1234deadbeef\r\n")
	for {
		data := make([]byte, 16)
		if _, err := io.ReadFull(in, data); err != nil {
			return
		}
		fields, body, err := head(data)
		if err != nil {
			return
		}
		data = append(data, make([]byte, (fields+7)&^7+body)...)
		if _, err := io.ReadFull(in, data[16:]); err != nil {
			return
		}
		m, err := decode(data)
		if err != nil {
			f.calls = append(f.calls, err.Error())
			return
		}
		f.calls, f.raw = append(f.calls, m.member), append(f.raw, data)
		for _, reply := range f.answer(m.member, binary.LittleEndian.Uint32(data[8:])) {
			c.Write(reply)
		}
		if f.leaves {
			return
		}
	}
}

// other is a message that is no call.
func other(kind byte, fields []any, signature string, body ...any) []byte {
	var content writer
	for _, v := range body {
		content.value(v)
	}
	w := writer{'l', kind, 0, 1}
	w.number(uint32(len(content)))
	w.number(99)
	w.array(8, func() {
		for i := 0; i < len(fields); i += 2 {
			w.align(8)
			w = append(w, byte(fields[i].(int)))
			w.variant(fields[i+1])
		}
		w.align(8)
		w = append(w, fieldSignature)
		w.signature("g")
		w.signature(signature)
	})
	w.align(8)
	return append(w, content...)
}

func returned(serial uint32, job string) []byte {
	return other(methodReturn, []any{fieldReply, serial, fieldSender, service}, "o", job)
}

func removedJob(job, result string) []byte {
	return other(signal, []any{fieldInterface, service + ".Manager", fieldMember, "JobRemoved"}, "uoss", uint32(7), job, "x.scope", result)
}

// TestJob: the reply to a call and the end of its job, in whatever order, among
// what else systemd has to say.
func TestJob(t *testing.T) {
	const job, another = "/org/freedesktop/systemd1/job/7", "/org/freedesktop/systemd1/job/8"
	noise := other(signal, []any{fieldInterface, "org.freedesktop.DBus.Properties", fieldMember, "PropertiesChanged"}, "s", "x")
	for name, c := range map[string]struct {
		answer func(serial uint32) [][]byte
		want   string // of the error; "": none
	}{
		"done":        {func(n uint32) [][]byte { return [][]byte{noise, returned(n, job), noise, removedJob(job, "done")} }, ""},
		"done before": {func(n uint32) [][]byte { return [][]byte{removedJob(job, "done"), returned(n, job)} }, ""},
		"another": {func(n uint32) [][]byte {
			return [][]byte{removedJob(another, "failed"), returned(n, job), removedJob(job, "done")}
		}, ""},
		"failed": {func(n uint32) [][]byte { return [][]byte{returned(n, job), removedJob(job, "failed")} }, "systemd: StartTransientUnit x.scope: its job: failed"},
		"refused": {func(n uint32) [][]byte {
			return [][]byte{other(errorReply, []any{fieldReply, n, fieldError, service + ".UnitExists"}, "s", "Unit x.scope was already loaded.")}
		}, "systemd: StartTransientUnit x.scope: Unit x.scope was already loaded"},
		"hung up":  {func(uint32) [][]byte { return [][]byte{[]byte("l")} }, "EOF"},
		"no D-Bus": {func(uint32) [][]byte { return [][]byte{make([]byte, 64)} }, "not a D-Bus message"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeSystemd{answer: func(_ string, serial uint32) [][]byte { return c.answer(serial) }, leaves: c.want == "EOF"}
			f.listen(t)
			u := &Unit{Name: "x.scope", Slice: "a.slice", User: true}
			err := u.job("StartTransientUnit", "x.scope", "replace", u.properties("x", 42, nil), noUnits{})
			if (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("job = %v, want %q", err, c.want)
			}
		})
	}
}

// TestStop: a unit that is gone needs no stopping.
func TestStop(t *testing.T) {
	f := &fakeSystemd{answer: func(_ string, n uint32) [][]byte {
		return [][]byte{other(errorReply, []any{fieldReply, n, fieldError, service + ".NoSuchUnit"}, "s", "Unit x.scope not loaded.")}
	}}
	f.listen(t)
	if err := (&Unit{Name: "x.scope", User: true}).Stop(); err != nil || !slices.Equal(f.calls, []string{service + ".Manager.StopUnit"}) {
		t.Errorf("Stop = %v after %v, want none after StopUnit", err, f.calls)
	}
}

// TestLimit: only what systemd knows of is told, and nothing if that is nothing.
func TestLimit(t *testing.T) {
	f := &fakeSystemd{answer: func(_ string, n uint32) [][]byte { return [][]byte{returned(n, "/")} }}
	f.listen(t)
	g, u := &Group{Dir: t.TempDir()}, &Unit{Name: "x.scope", User: true}
	burst := uint64(5)
	if err := u.Limit(g, &specs.LinuxResources{CPU: &specs.LinuxCPU{Burst: &burst}}); err != nil || len(f.calls) > 0 {
		t.Errorf("Limit(burst) = %v after %v, want no call", err, f.calls)
	}
	os.WriteFile(filepath.Join(g.Dir, "memory.current"), []byte("8192\n"), 0o600)
	tooLow := &specs.LinuxMemory{Limit: new(int64(4096)), CheckBeforeUpdate: new(true)}
	if err := u.Limit(g, &specs.LinuxResources{Memory: tooLow}); err == nil || len(f.calls) > 0 {
		t.Errorf("Limit(memory in use) = %v after %v, want an error before systemd makes the kernel kill", err, f.calls)
	}
	if err := u.Limit(g, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(5))}}); err != nil || len(f.raw) != 1 {
		t.Fatalf("Limit(pids) = %v after %v, want one call", err, f.calls)
	}
	if !strings.Contains(string(f.raw[0]), "\x08\x00\x00\x00TasksMax\x00\x01t\x00") {
		t.Errorf("Limit(pids) sent %q, want TasksMax in it", f.raw[0])
	}
}

// TestFindSystemd: below which group systemd makes those of its units.
func TestFindSystemd(t *testing.T) {
	f := &fakeSystemd{answer: func(_ string, n uint32) [][]byte {
		var body writer
		body.variant("/user.slice/user@1000.service")
		m := other(methodReturn, []any{fieldReply, n}, "v")
		binary.LittleEndian.PutUint32(m[4:], uint32(len(body)))
		return [][]byte{append(m, body...)}
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
	f := &fakeSystemd{answer: func(string, uint32) [][]byte { return nil }}
	f.listen(t)
	b, err := dial("unix:path="+os.Getenv("XDG_RUNTIME_DIR")+"/systemd/private", os.Geteuid(), 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := (manager{b}).job("StopUnit", "x.scope", "replace"); err == nil {
		t.Error("job = nil, want a time limit")
	}
}

func TestSocketOf(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"unix:path=/run/user/1000/bus", "/run/user/1000/bus"},
		{"unix:path=/run/user/1000/bus,guid=12", "/run/user/1000/bus"},
		{"unix:guid=12,path=/a%2db", "/a-b"},
		{"unix:abstract=/tmp/x", "@/tmp/x"},
		{"unix:tmpdir=/tmp", ""},
		{"unixexec:path=/bin/sh", ""},
		{"unix:path=%zz", ""},
		{"", ""},
	} {
		if got, err := socketOf(c.address); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("socketOf(%q) = %q, %v; want %q", c.address, got, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(returned(1, "/x"))
	f.Add(removedJob("/x", "done"))
	f.Add(call{"a.b", "/p", "i.M", []any{"x"}}.encode(1))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil {
			return
		}
		m.body.number()
		m.body.text()
		m.body.signature()
		m.failure()
	})
}
