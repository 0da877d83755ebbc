package seccomp

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/process"
)

var update = flag.Bool("update", false, "write golden files")

const (
	allowed = unix.SECCOMP_RET_ALLOW
	eperm   = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	enosys  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	x64     = unix.AUDIT_ARCH_X86_64
	i386    = unix.AUDIT_ARCH_I386
)

// compileJSON compiles a profile as it stands in a config.json.
func compileJSON(t *testing.T, goarch, text string) *process.Filter {
	t.Helper()
	var s specs.LinuxSeccomp
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	f, err := compileFor(goarch, &s)
	if err != nil {
		t.Fatal(err)
	}
	if err := valid(f.Program); err != nil {
		t.Fatalf("%v\n%s", err, explain(f))
	}
	return f
}

// answers checks what a filter says to calls.
func answers(t *testing.T, f *process.Filter, want uint32, calls ...data) {
	t.Helper()
	for _, d := range calls {
		if got, _ := execute(f.Program, d); got != want {
			t.Errorf("call %+v = %s, want %s\n%s", d, returnName(got), returnName(want), explain(f))
		}
	}
}

func TestActions(t *testing.T) {
	for action, want := range map[string]uint32{
		`"SCMP_ACT_KILL"`:                   unix.SECCOMP_RET_KILL_THREAD,
		`"SCMP_ACT_KILL_THREAD"`:            unix.SECCOMP_RET_KILL_THREAD,
		`"SCMP_ACT_KILL_PROCESS"`:           unix.SECCOMP_RET_KILL_PROCESS,
		`"SCMP_ACT_TRAP"`:                   unix.SECCOMP_RET_TRAP,
		`"SCMP_ACT_ERRNO"`:                  eperm,
		`"SCMP_ACT_ERRNO", "errnoRet": 38`:  enosys,
		`"SCMP_ACT_ERRNO", "errnoRet": 0`:   unix.SECCOMP_RET_ERRNO,
		`"SCMP_ACT_TRACE"`:                  unix.SECCOMP_RET_TRACE | 1,
		`"SCMP_ACT_TRACE", "errnoRet": 777`: unix.SECCOMP_RET_TRACE | 777,
		`"SCMP_ACT_LOG"`:                    unix.SECCOMP_RET_LOG,
		`"SCMP_ACT_NOTIFY"`:                 unix.SECCOMP_RET_USER_NOTIF,
	} {
		f := compileJSON(t, "amd64", `{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
			"syscalls": [{"names": ["mount"], "action": `+action+`}]}`)
		answers(t, f, want, data{nr: 165, arch: x64})
		answers(t, f, allowed, data{nr: 164, arch: x64}, data{nr: 166, arch: x64}, data{nr: 9999, arch: x64})
		answers(t, f, badArch, data{nr: 21, arch: i386}, data{nr: 165, arch: 0})
		if f.Listener != strings.Contains(action, "NOTIFY") {
			t.Errorf("%s: Listener = %v", action, f.Listener)
		}
	}
}

func TestArchitectures(t *testing.T) {
	const profile = `{"defaultAction": "SCMP_ACT_ERRNO", "architectures": [ARCHES],
		"syscalls": [{"names": ["write", "ioctl", "no_such_call", "set_tls"], "action": "SCMP_ACT_ALLOW"}]}`
	f := compileJSON(t, "amd64", strings.Replace(profile, "ARCHES", `"SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_MIPS"`, 1))
	answers(t, f, allowed, data{nr: 1, arch: x64}, data{nr: 4, arch: i386}, data{nr: x32Bit | 1, arch: x64}, data{nr: x32Bit | 514, arch: x64})
	answers(t, f, eperm, data{nr: 2, arch: x64}, data{nr: 1, arch: i386}, data{nr: x32Bit | 16, arch: x64})
	answers(t, f, enosys, data{nr: 17, arch: x64}, data{nr: 55, arch: i386}, data{nr: x32Bit | 515, arch: x64}, data{nr: skippedCall, arch: x64})
	answers(t, f, badArch, data{nr: 64, arch: unix.AUDIT_ARCH_AARCH64})

	f = compileJSON(t, "amd64", strings.Replace(profile, "ARCHES", ``, 1))
	answers(t, f, allowed, data{nr: 1, arch: x64})
	answers(t, f, badArch, data{nr: 4, arch: i386}, data{nr: x32Bit | 1, arch: x64}, data{nr: skippedCall - 1, arch: x64})
	answers(t, f, enosys, data{nr: skippedCall, arch: x64}, data{nr: x32Bit - 1, arch: x64})

	f = compileJSON(t, "arm64", strings.Replace(profile, "ARCHES", `"SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"`, 1))
	arm, arm64 := uint32(unix.AUDIT_ARCH_ARM), uint32(unix.AUDIT_ARCH_AARCH64)
	answers(t, f, allowed, data{nr: 64, arch: arm64}, data{nr: 4, arch: arm}, data{nr: 0xf0005, arch: arm})
	answers(t, f, enosys, data{nr: 65, arch: arm64}, data{nr: 0xf0004, arch: arm}, data{nr: 0xf0006, arch: arm}, data{nr: 400, arch: arm})
	answers(t, f, badArch, data{nr: 1, arch: x64})
}

func TestOperators(t *testing.T) {
	const big = 0x1_0000_0005
	tests := []struct {
		op         string
		value, two string
		yes, no    []uint64
	}{
		{"EQ", "4294967301", "0", []uint64{big}, []uint64{5, big - 1, big + 1, 2*big - 5, 1 << 32}},
		{"NE", "4294967301", "0", []uint64{5, big - 1, 1 << 32}, []uint64{big}},
		{"LT", "4294967301", "0", []uint64{0, 0xffffffff, big - 1}, []uint64{big, big + 1, 2 << 32}},
		{"LE", "4294967301", "0", []uint64{0, 0xffffffff, big}, []uint64{big + 1, 2 << 32}},
		{"GE", "4294967301", "0", []uint64{big, big + 1, 2 << 32}, []uint64{0, 0xffffffff, big - 1}},
		{"GT", "4294967301", "0", []uint64{big + 1, 2 << 32}, []uint64{0, 0xffffffff, big}},
		{"MASKED_EQ", "4294967301", "5", []uint64{5, 7, 2<<32 | 0xf}, []uint64{big, 4, 0}},
		{"MASKED_EQ", "12", "0", []uint64{0, 3, 1 << 60}, []uint64{4, 8, 12, ^uint64(0)}},
		{"MASKED_EQ", "12", "255", []uint64{12, 15, ^uint64(0)}, []uint64{4, 8, 0}},
		{"MASKED_EQ", "0", "7", []uint64{0, 1, ^uint64(0)}, nil},
	}
	for _, test := range tests {
		f := compileJSON(t, "amd64", `{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"names": ["ioctl", "write"], "action": "SCMP_ACT_ALLOW",
			"args": [{"index": 5, "op": "SCMP_CMP_`+test.op+`", "value": `+test.value+`, "valueTwo": `+test.two+`}]}]}`)
		for _, v := range test.yes {
			answers(t, f, allowed, data{nr: 16, arch: x64, args: [6]uint64{5: v}})
		}
		for _, v := range test.no {
			answers(t, f, unix.SECCOMP_RET_KILL_THREAD, data{nr: 1, arch: x64, args: [6]uint64{5: v}})
		}
	}
}

func TestCombinations(t *testing.T) {
	arg := func(index, op, value string) string {
		return `{"index": ` + index + `, "op": "SCMP_CMP_` + op + `", "value": ` + value + `}`
	}
	rule := func(action string, args ...string) string {
		return `{"names": ["ioctl"], "action": "SCMP_ACT_` + action + `", "args": [` + strings.Join(args, ",") + `]}`
	}
	errno5 := func(args ...string) string { return rule(`ERRNO", "errnoRet": 5, "":"`, args...) }
	io := unix.SECCOMP_RET_ERRNO | uint32(5)
	tests := []struct {
		name  string
		rules []string
		a, b  uint64
		want  uint32
	}{
		{"two arguments: and", []string{rule("ALLOW", arg("0", "EQ", "1"), arg("1", "EQ", "2"))}, 1, 2, allowed},
		{"two arguments: and, one wrong", []string{rule("ALLOW", arg("0", "EQ", "1"), arg("1", "EQ", "2"))}, 1, 3, eperm},
		{"one argument twice: or", []string{rule("ALLOW", arg("0", "EQ", "1"), arg("0", "EQ", "2"))}, 2, 0, allowed},
		{"one argument twice: or, others too", []string{rule("ALLOW", arg("0", "EQ", "1"), arg("0", "EQ", "2"), arg("1", "EQ", "9"))}, 7, 9, allowed},
		{"unconditional first", []string{rule("ALLOW"), errno5(arg("0", "EQ", "1"))}, 1, 0, allowed},
		{"unconditional last", []string{errno5(arg("0", "EQ", "1")), rule("ALLOW")}, 1, 0, allowed},
		{"two unconditional", []string{rule("LOG"), rule("ALLOW")}, 0, 0, unix.SECCOMP_RET_LOG},
		{"as the default is void", []string{rule("ERRNO"), rule("ALLOW", arg("0", "EQ", "1"))}, 1, 0, allowed},
		{"equality before order", []string{rule("ALLOW", arg("0", "GT", "3")), errno5(arg("0", "EQ", "7"))}, 7, 0, io},
		{"else in order", []string{rule("ALLOW", arg("0", "GT", "3")), errno5(arg("1", "GT", "3"))}, 7, 7, allowed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := compileJSON(t, "amd64", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [`+strings.Join(test.rules, ",")+`]}`)
			answers(t, f, test.want, data{nr: 16, arch: x64, args: [6]uint64{test.a, test.b}})
		})
	}
}

// TestMultiplexed checks that what is denied on x86 cannot be had through
// socketcall or ipc.
func TestMultiplexed(t *testing.T) {
	const arches = `"architectures": ["SCMP_ARCH_X86"], `
	f := compileJSON(t, "amd64", `{`+arches+`"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
		{"names": ["semop"], "action": "SCMP_ACT_ERRNO"},
		{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 38}]}]}`)
	answers(t, f, eperm, data{nr: 102, arch: i386, args: [6]uint64{1}}, data{nr: 117, arch: i386, args: [6]uint64{0x10001}})
	answers(t, f, allowed, data{nr: 102, arch: i386, args: [6]uint64{2}}, data{nr: 117, arch: i386, args: [6]uint64{2}}, data{nr: 102, arch: x64, args: [6]uint64{1}})

	f = compileJSON(t, "amd64", `{`+arches+`"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
		{"names": ["bind"], "action": "SCMP_ACT_ALLOW"},
		{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]}]}`)
	answers(t, f, eperm, data{nr: 102, arch: i386, args: [6]uint64{1}})
	answers(t, f, allowed, data{nr: 102, arch: i386, args: [6]uint64{2}}, data{nr: 359, arch: i386, args: [6]uint64{1}})
}

func TestNewer(t *testing.T) {
	for def, want := range map[string]uint32{
		"ERRNO": enosys, "KILL": enosys, "TRAP": enosys,
		"ALLOW": allowed, "LOG": unix.SECCOMP_RET_LOG, "TRACE": unix.SECCOMP_RET_TRACE | 1,
	} {
		f := compileJSON(t, "amd64", `{"defaultAction": "SCMP_ACT_`+def+`", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_KILL_PROCESS"}]}`)
		answers(t, f, want, data{nr: 166, arch: x64}, data{nr: 500, arch: x64})
	}
	f := compileJSON(t, "amd64", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["set_tls"], "action": "SCMP_ACT_ALLOW"}]}`)
	answers(t, f, eperm, data{nr: 0, arch: x64}, data{nr: 500, arch: x64})
}

func TestFlags(t *testing.T) {
	const notify = `, "listenerPath": "/s", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]`
	for text, want := range map[string]uint{
		``:              unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		`, "flags": []`: 0,
		`, "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]`: unix.SECCOMP_FILTER_FLAG_LOG,
		`, "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]`:                       unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		`, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]`:               0,
		`, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]` + notify:      unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		notify: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	} {
		if f := compileJSON(t, "amd64", `{"defaultAction": "SCMP_ACT_ALLOW"`+text+`}`); f.Flags != want {
			t.Errorf("%s: flags %#x, want %#x", text, f.Flags, want)
		}
	}
}

func TestNoFilter(t *testing.T) {
	for _, s := range []*specs.LinuxSeccomp{nil, {}, {Architectures: []specs.Arch{specs.ArchX86}}} {
		if f, err := Compile(s); f != nil || err != nil {
			t.Errorf("Compile(%+v) = %v, %v, want nothing", s, f, err)
		}
	}
}

// errorTests are profiles that are not valid, and what is said about them.
var errorTests = map[string]string{
	`{"defaultAction": "SCMP_ACT_NO"}`:                                                                                                                `seccomp default: action "SCMP_ACT_NO": unknown`,
	`{"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"}`:                                                                                      `seccomp default: action SCMP_ACT_NOTIFY: not for the default`,
	`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}`:                                                                                    `seccomp default: errno 4096: above 4095`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}`:                                                                                       `seccomp default: action SCMP_ACT_ALLOW with errno 1: has none`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP"]}`:                                                                         `seccomp architecture "SCMP_ARCH_PDP": unknown`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SPEED"]}`:                                                                                         `seccomp flag "SPEED": unknown`,
	`{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}`:                                                                                 `seccomp default: action "": unknown`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536}]}`:                           `seccomp rule for ["read"]: errno 65536: above 65535`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}]}`: `seccomp rule for ["read"]: argument 6: the last is 5`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"op": "SCMP_CMP_LIKE"}]}]}`:           `seccomp rule for ["read"]: operator "SCMP_CMP_LIKE": unknown`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}]}`:              `seccomp rule for ["read" "write"]: action SCMP_ACT_NOTIFY: not for write`,
	`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}`:                                             `seccomp action SCMP_ACT_NOTIFY: no listenerPath`,
}

func TestErrors(t *testing.T) {
	for text, want := range errorTests {
		var s specs.LinuxSeccomp
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if _, err := Compile(&s); err == nil || err.Error() != want {
			t.Errorf("Compile(%s) = %v, want %s", text, err, want)
		}
	}
	if _, err := compileFor("vax", Default(nil)); err == nil {
		t.Error("a filter for a machine without a table")
	}
}

// TestTooLong checks the limit with conditions that differ for every call. arm64 has fewer
// calls, so there each gets two conditions more.
func TestTooLong(t *testing.T) {
	for goarch, args := range map[string][]specs.LinuxSeccompArg{"amd64": nil, "arm64": {
		{Index: 2, Op: specs.OpLessEqual, Value: 5 << 32}, {Index: 3, Op: specs.OpMaskedEqual, Value: 3<<32 | 3, ValueTwo: 1}}} {
		s := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
		args = append(args, specs.LinuxSeccompArg{Index: 0, Op: specs.OpGreaterThan, Value: 7 << 33},
			specs.LinuxSeccompArg{Index: 1, Op: specs.OpMaskedEqual, Value: 3<<32 | 3, ValueTwo: 1})
		for i := range syscalls {
			s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{syscalls[i].name}, Action: specs.ActErrno, Args: args})
		}
		if f, err := compileFor(goarch, s); err == nil || !strings.Contains(err.Error(), "the kernel takes 4096") {
			t.Errorf("compileFor(%s) = %v, %v, want an error", goarch, f, err)
		}
	}
}

// TestSyscallTable checks what lookup relies on.
func TestSyscallTable(t *testing.T) {
	if !slices.IsSortedFunc(syscalls[:], func(a, b systemCall) int { return strings.Compare(a.name, b.name) }) {
		t.Error("syscalls are not sorted")
	}
	for _, want := range []systemCall{
		{"read", [5]int32{0, 0, 3, 63, 3}, 0, 0},
		{"clone3", [5]int32{435, 435, 435, 435, 435}, 0, 0},
		{"socket", [5]int32{41, 41, 359, 198, 281}, 1, 0},
		{"shmctl", [5]int32{31, 31, 396, 195, 308}, 0, 24},
		{"ioctl", [5]int32{16, 514, 54, 29, 54}, 0, 0},
		{"set_tls", [5]int32{absent, absent, absent, absent, 0xf0005}, 0, 0},
	} {
		if got := lookup(want.name); got == nil || *got != want {
			t.Errorf("lookup(%q) = %v, want %v", want.name, got, want)
		}
	}
	if lookup("") != nil || lookup("zzz") != nil {
		t.Error("found a call that does not exist")
	}
}

// TestGolden pins a small profile and its program.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	got := explain(compileJSON(t, "amd64", string(text)))
	if *update {
		if err := os.WriteFile("testdata/small.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/small.golden")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("program is\n%s\nwant\n%s", got, want)
	}
}

// FuzzCompile feeds anything that is JSON: no panic, and no program that the
// kernel would refuse.
func FuzzCompile(f *testing.F) {
	for text := range errorTests {
		f.Add([]byte(text))
	}
	text, err := os.ReadFile("testdata/small.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, caps := range [][]string{nil, {"CAP_SYS_ADMIN"}} {
		text, _ := json.Marshal(Default(caps))
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s specs.LinuxSeccomp
		if json.Unmarshal(text, &s) != nil {
			return
		}
		for _, goarch := range []string{"amd64", "arm64"} {
			filter, err := compileFor(goarch, &s)
			if err != nil || filter == nil {
				continue
			}
			if err := valid(filter.Program); err != nil {
				t.Errorf("%v\n%s", err, explain(filter))
			}
			_ = explain(filter)
			for i := range arches {
				execute(filter.Program, data{nr: uint32(i), arch: arches[i].audit})
			}
		}
	})
}

// TestDeniesExecve: a filter with which no program can start is told from one with which
// some could; only the part about execve of it is loaded.
func TestDeniesExecve(t *testing.T) {
	rule := func(action specs.LinuxSeccompAction, name string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{"read", name}, Action: action, Args: args}
	}
	one := specs.LinuxSeccompArg{Index: 0, Value: 1, Op: specs.OpEqualTo}
	for _, c := range []struct {
		otherwise specs.LinuxSeccompAction
		rules     []specs.LinuxSyscall
		want      bool
	}{
		{specs.ActAllow, nil, false},
		{specs.ActErrno, nil, true},
		{specs.ActKillProcess, nil, true},
		{specs.ActTrap, nil, true},
		{specs.ActLog, nil, false},
		{specs.ActTrace, nil, false},
		{specs.ActErrno, []specs.LinuxSyscall{rule(specs.ActAllow, "execveat")}, true},
		{specs.ActErrno, []specs.LinuxSyscall{rule(specs.ActAllow, "execve")}, false},
		{specs.ActErrno, []specs.LinuxSyscall{rule(specs.ActNotify, "execve")}, false},
		{specs.ActErrno, []specs.LinuxSyscall{rule(specs.ActAllow, "execve", one)}, false},
		{specs.ActErrno, []specs.LinuxSyscall{rule(specs.ActKill, "execve", one), rule(specs.ActErrno, "execve")}, true},
		{specs.ActErrno, []specs.LinuxSyscall{rule(specs.ActKill, "execve"), rule(specs.ActAllow, "execve")}, true}, // the first decides
		{specs.ActAllow, []specs.LinuxSyscall{rule(specs.ActErrno, "execve")}, true},
		{specs.ActAllow, []specs.LinuxSyscall{rule(specs.ActErrno, "execve", one)}, false},
	} {
		s := &specs.LinuxSeccomp{DefaultAction: c.otherwise, Syscalls: c.rules, ListenerPath: "/agent"}
		if got := deniesExecve(s); got != c.want {
			t.Errorf("deniesExecve(default %s, rules %v) = %t, want %t", c.otherwise, c.rules, got, c.want)
		}
		f, err := Compile(s)
		only, _ := Compile(onlyExecve)
		if err != nil || reflect.DeepEqual(f, only) != c.want {
			t.Errorf("Compile(default %s, rules %v) = %v, %v; want the filter that denies execve alone: %t", c.otherwise, c.rules, f, err, c.want)
		}
	}
	if f, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{"NO"}}); err == nil {
		t.Errorf("Compile() = %v, want the error in what is left out", f)
	}
}
