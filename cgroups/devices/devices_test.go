package devices

import (
	"fmt"
	"math/rand/v2"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// filter runs a device filter as the kernel would: a machine for the operations
// that program.go uses. What the kernel's verifier would refuse is an error: jumps
// backwards or out of the program, registers that were never set, other
// operations.
func filter(code []uint64, kind, access, majorNumber, minorNumber uint32) (uint64, error) {
	context := map[int16]uint64{0: uint64(access<<16 | kind), 4: uint64(majorNumber), 8: uint64(minorNumber)}
	registers := map[uint64]uint64{1: 0}
	for at := 0; at < len(code); at++ {
		c := code[at]
		op, dst, src, offset, imm := c&0xff, c>>8&0xf, c>>12&0xf, int16(c>>16), uint64(int64(int32(c>>32)))
		read := func(r uint64) uint64 {
			if _, ok := registers[r]; !ok {
				panic(fmt.Sprintf("instruction %d reads r%d, which was never set", at, r))
			}
			return registers[r]
		}
		jump := false
		switch op {
		case loadWord:
			if src != 1 {
				return 0, fmt.Errorf("instruction %d loads from r%d", at, src)
			}
			registers[dst] = context[offset]
		case load64:
			if at+1 == len(code) || code[at+1]&0xffffffff != 0 {
				return 0, fmt.Errorf("instruction %d: half of a number is missing", at)
			}
			registers[dst] = c>>32 | code[at+1]
			at++
		case set:
			registers[dst] = imm
		case copyFrom:
			registers[dst] = read(src)
		case or:
			registers[dst] = read(dst) | read(src)
		case and:
			registers[dst] = read(dst) & imm
		case left:
			registers[dst] = read(dst) << imm
		case right:
			registers[dst] = read(dst) >> imm
		case jumpEqual:
			jump = read(dst) == read(src)
		case jumpOther:
			jump = read(dst) != read(src)
		case jumpZero:
			jump = read(dst) == 0
		case jumpSome:
			jump = read(dst) != 0
		case leave:
			return read(0), nil
		default:
			return 0, fmt.Errorf("instruction %d: operation %#x", at, op)
		}
		if offset < 0 || op&7 == 5 && at+1+int(offset) >= len(code) {
			return 0, fmt.Errorf("instruction %d jumps to nowhere", at)
		}
		if jump {
			at += int(offset)
		}
	}
	return 0, fmt.Errorf("the program has no end")
}

// permits is the same question, asked of the list: in a list of what is allowed
// one entry must allow all that is wanted, in one of what is denied none may
// deny any of it (cgroup-v1/devices.rst).
func permits(allowed bool, list []rule, kind, access, majorNumber, minorNumber uint32) bool {
	device := deviceSet{kind, int64(majorNumber), int64(minorNumber)}
	for _, r := range list {
		if !r.covers(device) {
			continue
		}
		if allowed && r.access&access != 0 {
			return false
		}
		if !allowed && access&^r.access == 0 {
			return true
		}
	}
	return allowed
}

func ruleOf(allow bool, kind string, majorNumber, minorNumber int64, access string) specs.LinuxDeviceCgroup {
	d := specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Access: access}
	if majorNumber >= 0 {
		d.Major = &majorNumber
	}
	if minorNumber >= 0 {
		d.Minor = &minorNumber
	}
	return d
}

// TestDeviceRules: rules of a spec, and what may then be done.
func TestDeviceRules(t *testing.T) {
	none, all := ruleOf(false, "a", -1, -1, "rwm"), ruleOf(true, "a", -1, -1, "rwm")
	type access struct {
		kind         uint32
		major, minor uint32
		access       uint32
		want         bool
	}
	for name, c := range map[string]struct {
		rules []specs.LinuxDeviceCgroup
		tries []access
	}{
		"nothing said": {nil, []access{{character, 1, 3, reading | writing, true}, {character, 5, 1, reading, false}, {block, 8, 0, reading, false},
			{block, 8, 0, mknod, true}, {character, 200, 7, mknod, true}, {character, 136, 55, everything, true}, {character, 10, 200, everything, true}, {character, 10, 201, reading, false}}},
		"none": {[]specs.LinuxDeviceCgroup{none}, []access{{character, 1, 5, reading, true}, {character, 1, 1, reading, false}}},
		"all":  {[]specs.LinuxDeviceCgroup{all}, []access{{block, 8, 0, everything, true}, {character, 4095, 1<<20 - 1, everything, true}}},
		"all but one": {[]specs.LinuxDeviceCgroup{all, ruleOf(false, "b", 8, 0, "w")}, []access{{block, 8, 0, reading, true}, {block, 8, 0, writing, false},
			{block, 8, 0, reading | writing, false}, {block, 8, 1, writing, true}, {character, 8, 0, writing, true}}},
		"all, then none": {[]specs.LinuxDeviceCgroup{all, none}, []access{{block, 8, 0, reading, false}}},
		"one": {[]specs.LinuxDeviceCgroup{none, ruleOf(true, "c", 10, 229, "rw")}, []access{{character, 10, 229, reading | writing, true}, {character, 10, 201, reading, false},
			{character, 11, 229, reading, false}, {block, 10, 229, reading, false}}},
		"a major":      {[]specs.LinuxDeviceCgroup{ruleOf(true, "b", 8, -1, "r")}, []access{{block, 8, 17, reading, true}, {block, 8, 17, writing, false}, {block, 9, 17, reading, false}}},
		"a minor":      {[]specs.LinuxDeviceCgroup{ruleOf(true, "c", -1, 77, "")}, []access{{character, 3, 77, everything, true}, {character, 3, 78, reading, false}}},
		"a kind":       {[]specs.LinuxDeviceCgroup{ruleOf(true, "b", -1, -1, "r")}, []access{{block, 8, 17, reading, true}, {character, 8, 17, reading, false}}},
		"both kinds":   {[]specs.LinuxDeviceCgroup{ruleOf(true, "a", 10, 5, "r")}, []access{{block, 10, 5, reading, true}, {character, 10, 5, reading, true}, {block, 10, 6, reading, false}}},
		"in two rules": {[]specs.LinuxDeviceCgroup{ruleOf(true, "c", 10, 5, "r"), ruleOf(true, "c", 10, 5, "w")}, []access{{character, 10, 5, reading | writing, true}, {character, 10, 5, reading, true}}},
		"taken back":   {[]specs.LinuxDeviceCgroup{ruleOf(true, "c", 10, 5, "rw"), ruleOf(false, "c", 10, 5, "w")}, []access{{character, 10, 5, reading, true}, {character, 10, 5, writing, false}}},
		"neighbours": {[]specs.LinuxDeviceCgroup{ruleOf(true, "c", 1, 0, "r"), ruleOf(true, "b", 0, 1<<20-1, "r")}, []access{{character, 0, 1 << 19, reading, false}, {character, 2, 0, reading, false},
			{character, 1, 0, reading, true}, {block, 1, 1<<19 - 1, reading, false}, {block, 0, 1<<20 - 1, reading, true}}},
		"no such device": {[]specs.LinuxDeviceCgroup{ruleOf(true, "c", 1<<31, 5, "rw")}, []access{{character, 0, 5, reading, false}}},
	} {
		f, err := New(&specs.LinuxResources{Devices: c.rules})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		code := f.assemble()
		for _, a := range c.tries {
			got, err := filter(code, a.kind, a.access, a.major, a.minor)
			if err != nil || (got == 1) != a.want || got > 1 {
				t.Errorf("%s: %+v is %d, %v", name, a, got, err)
			}
		}
	}
}

// TestDeviceRulesRefused: one line that names the rule.
func TestDeviceRulesRefused(t *testing.T) {
	for want, rules := range map[string][]specs.LinuxDeviceCgroup{
		`linux.resources.devices[0].type "x": want a, b or c`:                                         {ruleOf(true, "x", 1, 1, "r")},
		`linux.resources.devices[0].access "rx": want letters of rwm`:                                 {ruleOf(true, "c", 1, 1, "rx")},
		`linux.resources.devices[0]: 4294967296:1 is no device number`:                                {ruleOf(true, "c", 1<<32, 1, "r")},
		`linux.resources.devices[1]: takes a part of an earlier rule back, which one list cannot say`: {ruleOf(true, "c", 10, -1, "rw"), ruleOf(false, "c", 10, 5, "w")},
		`linux.resources.devices: 4097 rules, want at most 4096`:                                      make([]specs.LinuxDeviceCgroup, 4097),
	} {
		if _, err := New(&specs.LinuxResources{Devices: rules}); err == nil || err.Error() != want {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
}

// FuzzDevices: for any list, the program says what the list says.
func FuzzDevices(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(77), uint64(3))
	f.Fuzz(func(t *testing.T, one, two uint64) {
		random := rand.New(rand.NewPCG(one, two))
		number := func() int64 { return []int64{-1, 0, 1, 5, 7, 136, 4095, 1<<20 - 1, 1 << 20}[random.IntN(9)] }
		var rules []specs.LinuxDeviceCgroup
		for range random.IntN(8) {
			rules = append(rules, ruleOf(random.IntN(2) == 0, []string{"a", "b", "c", ""}[random.IntN(4)], number(), number(), []string{"r", "w", "m", "rw", "rwm", ""}[random.IntN(6)]))
		}
		filtered, err := New(&specs.LinuxResources{Devices: rules})
		if err != nil {
			return
		}
		code := filtered.assemble()
		for range 200 {
			kind, access := uint32(1+random.IntN(2)), uint32(1+random.IntN(7))
			majorNumber, minorNumber := uint32(max(0, number()))&largestMajor, uint32(max(0, number()))&largestMinor
			got, err := filter(code, kind, access, majorNumber, minorNumber)
			if want := permits(filtered.allowed, filtered.list, kind, access, majorNumber, minorNumber); err != nil || (got == 1) != want {
				t.Fatalf("with %v, access %d to %d %d:%d is %d, %v; want %v", filtered.list, access, kind, majorNumber, minorNumber, got, err, want)
			}
		}
	})
}
