package seccomp

// A second reading of profiles: straight from runtime-spec's types and the
// rules in the comment of Compile, one call at a time, and slow. The compiler
// is compared with it.

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// naive answers what a filter for s should return.
func naive(goarch string, s *specs.LinuxSeccomp, d data) uint32 {
	a := naiveArch(goarch, s, d)
	if a == nil {
		return badArch
	}
	def, _ := returnOf(s.DefaultAction, s.DefaultErrnoRet)
	var always, sometimes []uint32
	for _, specificity := range []int{0, 1, 2} {
		for _, r := range s.Syscalls {
			ret, _ := returnOf(r.Action, r.ErrnoRet)
			if ret == def {
				continue
			}
			for _, alternative := range naiveAlternatives(a, r, d, def) {
				if len(alternative) == 0 {
					always = append(always, ret)
				} else if naiveSpecificity(alternative) == specificity && naiveMatch(a, alternative, d) {
					sometimes = append(sometimes, ret)
				}
			}
		}
	}
	for _, ret := range append(always, sometimes...) {
		return ret
	}
	if naiveNewer(a, s, d, def) {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	return def
}

// naiveArch finds the architecture of a call; nil if the profile has it not.
func naiveArch(goarch string, s *specs.LinuxSeccomp, d data) *arch {
	native := map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64}[goarch]
	wanted := append([]specs.Arch{native}, s.Architectures...)
	x32 := d.arch == unix.AUDIT_ARCH_X86_64 && d.nr >= x32Bit
	if x32 && d.nr == skippedCall && !slices.Contains(wanted, specs.ArchX32) {
		x32 = false
	}
	for i := range arches {
		a := &arches[i]
		if a.goarch == goarch && a.audit == d.arch && (a.name == specs.ArchX32) == x32 && slices.Contains(wanted, a.name) {
			return a
		}
	}
	return nil
}

// naiveAlternatives returns the lists of conditions under which r applies to
// the call: none if it is about others.
func naiveAlternatives(a *arch, r specs.LinuxSyscall, d data, def uint32) [][]specs.LinuxSeccompArg {
	var list [][]specs.LinuxSeccompArg
	split := [][]specs.LinuxSeccompArg{r.Args}
	seen := map[uint]bool{}
	for _, arg := range r.Args {
		if seen[arg.Index] {
			split = nil
			for _, each := range r.Args {
				split = append(split, []specs.LinuxSeccompArg{each})
			}
			break
		}
		seen[arg.Index] = true
	}
	ret, _ := returnOf(r.Action, r.ErrnoRet)
	for _, name := range r.Names {
		call := lookup(name)
		if call == nil {
			continue
		}
		if nr := call.numbers[a.column]; nr != absent && uint32(nr)|a.bit == d.nr {
			list = append(list, split...)
		}
		if a.name != specs.ArchX86 || len(r.Args) > 0 && !stricter(ret, def) {
			continue
		}
		if call.socketcall > 0 && d.nr == 102 {
			list = append(list, []specs.LinuxSeccompArg{{Value: uint64(call.socketcall), Op: specs.OpEqualTo}})
		} else if call.ipc > 0 && d.nr == 117 {
			list = append(list, []specs.LinuxSeccompArg{{Value: 0xffff, ValueTwo: uint64(call.ipc), Op: specs.OpMaskedEqual}})
		}
	}
	return list
}

// naiveSpecificity is the rank of the least specific operator.
func naiveSpecificity(args []specs.LinuxSeccompArg) int {
	rank := 0
	for _, arg := range args {
		switch {
		case arg.Op == specs.OpMaskedEqual && arg.Value != ^uint64(0):
			rank = max(rank, 1)
		case arg.Op != specs.OpEqualTo && arg.Op != specs.OpMaskedEqual:
			rank = 2
		}
	}
	return rank
}

// naiveMatch applies the operators.
func naiveMatch(a *arch, args []specs.LinuxSeccompArg, d data) bool {
	for _, arg := range args {
		is, want, second := d.args[arg.Index], arg.Value, arg.ValueTwo
		if !a.wide {
			is, want, second = is&0xffffffff, want&0xffffffff, second&0xffffffff
		}
		ok := map[specs.LinuxSeccompOperator]bool{
			specs.OpEqualTo: is == want, specs.OpNotEqual: is != want,
			specs.OpLessThan: is < want, specs.OpLessEqual: is <= want,
			specs.OpGreaterThan: is > want, specs.OpGreaterEqual: is >= want,
			specs.OpMaskedEqual: is&want == second&want,
		}[arg.Op]
		if !ok {
			return false
		}
	}
	return true
}

// naiveNewer reports whether a call is newer than the profile: above all that
// it names, and not itself the subject of a rule.
func naiveNewer(a *arch, s *specs.LinuxSeccomp, d data, def uint32) bool {
	if letsHappen(s.DefaultAction) {
		return false
	}
	last := int64(-1)
	for _, r := range s.Syscalls {
		for _, name := range r.Names {
			call := lookup(name)
			if call == nil {
				continue
			}
			ret, _ := returnOf(r.Action, r.ErrnoRet)
			if int64(call.numbers[a.column]) == int64(d.nr&^a.bit) && ret != def {
				return false
			}
			if a.name == specs.ArchX86 && ret != def && (len(r.Args) == 0 || stricter(ret, def)) {
				if call.socketcall > 0 {
					last = max(last, 102)
				}
				if call.ipc > 0 {
					last = max(last, 117)
				}
			}
			if call.numbers[a.column] < privateCalls {
				last = max(last, int64(call.numbers[a.column]))
			}
		}
	}
	return last >= 0 && int64(d.nr&^a.bit) > last
}

// randomProfile returns a valid profile: a few names or hundreds, with many
// rules for the same call, so that they overlap.
func randomProfile(r *rand.Rand) *specs.LinuxSeccomp {
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess,
		specs.ActTrap, specs.ActTrace, specs.ActLog, specs.ActErrno, specs.ActAllow}
	s := &specs.LinuxSeccomp{DefaultAction: actions[r.IntN(len(actions))]}
	for _, a := range arches {
		if r.IntN(2) == 0 {
			s.Architectures = append(s.Architectures, a.name)
		}
	}
	few := []string{"socket", "semop", "accept", "write", "openat", "ioctl", "set_tls", "socketcall", "sync_file_range2", "no_such_call"}
	for range 1 + r.IntN(12) {
		rule := specs.LinuxSyscall{Action: actions[r.IntN(len(actions))]}
		for range 1 + r.IntN(3) {
			rule.Names = append(rule.Names, few[r.IntN(len(few))])
		}
		if r.IntN(4) == 0 {
			for range r.IntN(200) {
				rule.Names = append(rule.Names, syscalls[r.IntN(len(syscalls))].name)
			}
		}
		for range r.IntN(4) {
			rule.Args = append(rule.Args, randomArg(r))
		}
		s.Syscalls = append(s.Syscalls, rule)
	}
	return s
}

// interesting are values on both sides of where halves, signs and masks change.
var interesting = []uint64{0, 1, 2, 3, 17, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
	0x100000000, 0x100000001, 0x1ffffffff, 0x200000000, 0xffffffff00000000, ^uint64(0) - 1, ^uint64(0)}

// randomArg returns a valid condition.
func randomArg(r *rand.Rand) specs.LinuxSeccompArg {
	ops := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
		specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpMaskedEqual, specs.OpEqualTo}
	return specs.LinuxSeccompArg{
		Index: uint(r.IntN(3)), Op: ops[r.IntN(len(ops))],
		Value:    interesting[r.IntN(len(interesting))],
		ValueTwo: interesting[r.IntN(len(interesting))],
	}
}

// randomCall returns a call that a profile may well be about.
func randomCall(r *rand.Rand, s *specs.LinuxSeccomp) data {
	d := data{arch: arches[r.IntN(len(arches))].audit, nr: uint32(r.IntN(480))}
	if r.IntN(3) > 0 {
		names := s.Syscalls[r.IntN(len(s.Syscalls))].Names
		if call := lookup(names[r.IntN(len(names))]); call != nil {
			a := arches[r.IntN(len(arches))]
			d.arch, d.nr = a.audit, uint32(call.numbers[a.column])|a.bit
		}
	}
	switch r.IntN(20) {
	case 0:
		d.nr = interesting32[r.IntN(len(interesting32))]
	case 1, 2:
		d.nr = []uint32{102, 117, 41, 359}[r.IntN(4)]
	case 3:
		d.arch = r.Uint32()
	}
	for i := range d.args {
		d.args[i] = interesting[r.IntN(len(interesting))]
	}
	return d
}

// interesting32 are numbers of calls at the borders of ranges.
var interesting32 = []uint32{0, x32Bit - 1, x32Bit, x32Bit + 1, x32Bit + 512, 0x80000000, 0xbfffffff, 0xfffffffe, skippedCall, privateCalls, 0xf0005, 0xf0007}

// TestCompileAgreesWithNaive compares programs with the second reading.
func TestCompileAgreesWithNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const profiles = 1000
	compiled := 0
	for range profiles {
		s := randomProfile(r)
		goarch := []string{"amd64", "arm64"}[r.IntN(2)]
		f, err := compileFor(goarch, s)
		if err != nil && strings.Contains(err.Error(), "instructions") {
			continue // hundreds of calls, each with conditions of its own
		}
		if err != nil {
			t.Fatalf("compile %+v: %v", s, err)
		}
		compiled++
		if err := valid(f.Program); err != nil {
			t.Fatalf("compile %+v: %v\n%s", s, err, explain(f))
		}
		for range 40 {
			d := randomCall(r, s)
			got, _ := execute(f.Program, d)
			if want := naive(goarch, s, d); got != want {
				t.Fatalf("%s, profile %+v, call %+v = %s, want %s\n%s", goarch, s, d, returnName(got), returnName(want), explain(f))
			}
		}
	}
	if compiled < profiles*9/10 {
		t.Errorf("%d of %d profiles fit, want most", compiled, profiles)
	}
}
