package cgroups

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// In cgroup v2 no file says which devices a group may use. The kernel asks an
// eBPF program instead, each time a process of the group makes or opens a
// device file:
//
//	struct bpf_cgroup_dev_ctx {
//		__u32 access_type;  // what it wants to do << 16 | character or block
//		__u32 major;
//		__u32 minor;
//	};
//
// It answers 1, or 0 for EPERM. We write that program from a list of what is
// allowed: whatever the spec forgets to deny is denied.

// Access to a device: BPF_DEVCG_ACC_….
const (
	mknod = 1 << iota
	reading
	writing
	everything = mknod | reading | writing
)

// Kinds of device: BPF_DEVCG_DEV_….
const (
	anyKind = iota
	block
	character
)

const wildcard = -1 // any major or minor number

// A deviceSet is one entry of the list.
type deviceSet struct {
	kind         uint32
	major, minor int64
}

// covers says whether every device of o is one of d.
func (d deviceSet) covers(o deviceSet) bool {
	return (d.kind == anyKind || d.kind == o.kind) && (d.major == wildcard || d.major == o.major) && (d.minor == wildcard || d.minor == o.minor)
}

// rule is a device and what may be done with it.
type rule struct {
	deviceSet
	access uint32
}

// alwaysAllowed are the devices that every container has, and making (not
// opening) any device file: a file system may be unpacked in a container.
var alwaysAllowed = []rule{
	{deviceSet{character, wildcard, wildcard}, mknod},
	{deviceSet{block, wildcard, wildcard}, mknod},
	{deviceSet{character, 1, 3}, everything},          // null
	{deviceSet{character, 1, 5}, everything},          // zero
	{deviceSet{character, 1, 7}, everything},          // full
	{deviceSet{character, 1, 8}, everything},          // random
	{deviceSet{character, 1, 9}, everything},          // urandom
	{deviceSet{character, 5, 0}, everything},          // tty
	{deviceSet{character, 5, 1}, everything},          // console
	{deviceSet{character, 5, 2}, everything},          // ptmx
	{deviceSet{character, 136, wildcard}, everything}, // pts/*
}

// AddDevices records how the runtime makes the program and attaches it to the
// group dir. Rules are those of linux.resources.devices, in their order; what
// none of them allows is denied, except what every container needs.
//
// Privileges: CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the initial user
// namespace. Linux 4.15; [bpf(2)], BPF_PROG_TYPE_CGROUP_DEVICE.
//
// [bpf(2)]: https://man7.org/linux/man-pages/man2/bpf.2.html
func AddDevices(p *plan.Plan, dir plan.FD, rules []specs.LinuxDeviceCgroup) error {
	allowed, list, err := combine(rules)
	if err != nil {
		return err
	}
	p.Note("which devices may be opened: a small program that the kernel asks")
	program := p.BpfProgLoad(unix.BPF_PROG_TYPE_CGROUP_DEVICE, "BPF_PROG_TYPE_CGROUP_DEVICE", assemble(allowed, list)).As("device filter")
	p.BpfProgAttach(dir, program, unix.BPF_CGROUP_DEVICE, "BPF_CGROUP_DEVICE")
	return nil
}

// combine turns rules, of which a later one overrides an earlier one, into a
// list of exceptions from one answer: a rule for all devices sets the answer.
func combine(rules []specs.LinuxDeviceCgroup) (allowed bool, list []rule, err error) {
	for i, r := range rules {
		d, access, err := parseRule(r)
		if err != nil {
			return false, nil, fmt.Errorf("linux.resources.devices[%d]%w", i, err)
		}
		if d == (deviceSet{anyKind, wildcard, wildcard}) && access == everything {
			allowed, list = r.Allow, nil
			continue
		}
		for _, one := range split(d) {
			if list, err = change(list, rule{one, access}, r.Allow == allowed); err != nil {
				return false, nil, fmt.Errorf("linux.resources.devices[%d]: %w", i, err)
			}
		}
	}
	if !allowed {
		list = append(list, alwaysAllowed...)
	}
	return allowed, list, nil
}

// split makes a rule for both kinds of device two.
func split(d deviceSet) []deviceSet {
	if d.kind != anyKind {
		return []deviceSet{d}
	}
	return []deviceSet{{block, d.major, d.minor}, {character, d.major, d.minor}}
}

// change adds a rule to the exceptions or, if it says what is the answer for
// the rest anyway, takes it out of those that it covers.
func change(list []rule, r rule, remove bool) ([]rule, error) {
	if !remove {
		return append(list, r), nil
	}
	kept := list[:0:0]
	for _, e := range list {
		switch {
		case r.covers(e.deviceSet):
			e.access &^= r.access
		case e.covers(r.deviceSet) && e.access&r.access != 0:
			return nil, fmt.Errorf("takes a part of an earlier rule back, which one list cannot say")
		}
		if e.access != 0 {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

func parseRule(r specs.LinuxDeviceCgroup) (d deviceSet, access uint32, err error) {
	kinds := map[string]uint32{"": anyKind, "a": anyKind, "b": block, "c": character}
	kind, ok := kinds[r.Type]
	if !ok {
		return d, 0, fmt.Errorf(".type %q: want a, b or c", r.Type)
	}
	d = deviceSet{kind, wildcard, wildcard}
	if r.Major != nil {
		d.major = *r.Major
	}
	if r.Minor != nil {
		d.minor = *r.Minor
	}
	if d.major < wildcard || d.minor < wildcard || d.major > 1<<32-1 || d.minor > 1<<32-1 {
		return d, 0, fmt.Errorf(": %d:%d is no device number", d.major, d.minor)
	}
	for _, letter := range r.Access {
		bit := strings.IndexRune("mrw", letter)
		if bit < 0 {
			return d, 0, fmt.Errorf(".access %q: want letters of rwm", r.Access)
		}
		access |= 1 << bit
	}
	if r.Access == "" {
		access = everything
	}
	return d, access, nil
}

// Registers of the program.
const (
	r0 = iota // the answer
	r1        // the context
	r2        // kind
	r3        // access
	r4        // major
	r5        // minor
	r6        // scratch
)

// instruction encodes one eBPF instruction.
func instruction(op, dst, src uint64, offset int16, imm uint32) uint64 {
	return op | dst<<8 | src<<12 | uint64(uint16(offset))<<16 | uint64(imm)<<32
}

// Operations of eBPF that the program uses.
const (
	loadWord = 0x61 // dst = *(u32 *)(src + offset)
	and32    = 0x54 // dst &= imm
	shift32  = 0x74 // dst >>= imm
	copy32   = 0xbc // dst = src
	set      = 0xb7 // dst = imm
	jumpNot  = 0x55 // if dst != imm, skip offset instructions
	leave    = 0x95 // return r0
)

// assemble writes the program: the first exception that matches decides.
func assemble(allowed bool, list []rule) []uint64 {
	code := []uint64{
		instruction(loadWord, r2, r1, 0, 0), instruction(and32, r2, 0, 0, 0xffff),
		instruction(loadWord, r3, r1, 0, 0), instruction(shift32, r3, 0, 0, 16),
		instruction(loadWord, r4, r1, 4, 0),
		instruction(loadWord, r5, r1, 8, 0),
	}
	for _, r := range slices.Backward(list) {
		code = append(code, r.assemble(allowed)...)
	}
	return append(code, answer(allowed)...)
}

func answer(allowed bool) []uint64 {
	yes := uint32(0)
	if allowed {
		yes = 1
	}
	return []uint64{instruction(set, r0, 0, 0, yes), instruction(leave, 0, 0, 0, 0)}
}

// assemble writes one exception: tests, each of which skips the rest, and the
// answer. An exception that allows must allow all that is wanted; one that
// denies needs only some of it.
func (r rule) assemble(allowed bool) []uint64 {
	type test struct{ register, value uint64 }
	var tests []test
	tests = append(tests, test{r2, uint64(r.kind)})
	if r.major != wildcard {
		tests = append(tests, test{r4, uint64(r.major)})
	}
	if r.minor != wildcard {
		tests = append(tests, test{r5, uint64(r.minor)})
	}
	end := answer(!allowed)
	var wants []uint64
	switch {
	case r.access == everything:
	case !allowed:
		wants = []uint64{instruction(copy32, r6, r3, 0, 0), instruction(and32, r6, 0, 0, everything&^r.access),
			instruction(jumpNot, r6, 0, int16(len(end)), 0)}
	default:
		wants = []uint64{instruction(copy32, r6, r3, 0, 0), instruction(and32, r6, 0, 0, r.access),
			instruction(jumpNot, r6, 0, 1, 0), instruction(jumpAlways, 0, 0, int16(len(end)), 0)}
	}
	rest := append(wants, end...)
	var code []uint64
	for i, t := range tests {
		code = append(code, instruction(jumpNot, t.register, 0, int16(len(tests)-i-1+len(rest)), uint32(t.value)))
	}
	return append(code, rest...)
}

const jumpAlways = 0x05 // skip offset instructions
