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
// opening) any device file: a file system may be unpacked in a container. Not
// 5:1, the machine's console: a container's is a pseudo-terminal. But a tunnel's
// device, as runc: it is good for nothing without CAP_NET_ADMIN, and then for the
// container's own network.
var alwaysAllowed = []rule{
	{deviceSet{character, wildcard, wildcard}, mknod},
	{deviceSet{block, wildcard, wildcard}, mknod},
	{deviceSet{character, 1, 3}, everything},          // null
	{deviceSet{character, 1, 5}, everything},          // zero
	{deviceSet{character, 1, 7}, everything},          // full
	{deviceSet{character, 1, 8}, everything},          // random
	{deviceSet{character, 1, 9}, everything},          // urandom
	{deviceSet{character, 5, 0}, everything},          // tty
	{deviceSet{character, 5, 2}, everything},          // ptmx
	{deviceSet{character, 10, 200}, everything},       // net/tun
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

// change adds a rule to the exceptions, to the one of the same devices if there
// is one; or, if it says what is the answer for the rest anyway, takes it out of
// those that it covers.
func change(list []rule, r rule, remove bool) ([]rule, error) {
	if !remove {
		if i := slices.IndexFunc(list, func(e rule) bool { return e.deviceSet == r.deviceSet }); i >= 0 {
			list = slices.Clone(list)
			list[i].access |= r.access
			return list, nil
		}
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

// Registers of the program. A device is one number, kind<<32 | major<<20 | minor,
// as dev_t is in the kernel (linux/kdev_t.h); the views of it are what is left if
// something in it does not matter.
const (
	answer   = iota // r0: of an exception
	ctx             // r1: struct bpf_cgroup_dev_ctx; later what is looked for
	anyOf           // r2: view: the kind
	wanted          // r3: access
	major           // r4: shifted
	minor           // r5
	exact           // r6: view: the device
	anyMinor        // r7: view: kind and major
	anyMajor        // r8: view: kind and minor
	scratch         // r9
)

const (
	kindShift, majorShift      = 32, 20
	largestMajor, largestMinor = 1<<12 - 1, 1<<20 - 1
)

// instruction encodes one eBPF instruction.
func instruction(op, dst, src uint64, offset int, imm uint64) uint64 {
	return op | dst<<8 | src<<12 | uint64(uint16(offset))<<16 | imm<<32
}

// Operations of eBPF that the program uses.
const (
	loadWord  = 0x61 // dst = *(u32 *)(src + offset)
	load64    = 0x18 // dst = imm; its upper half is in the next instruction
	set       = 0xb7 // dst = imm
	copyFrom  = 0xbf // dst = src
	or        = 0x4f // dst |= src
	and       = 0x57 // dst &= imm
	left      = 0x67 // dst <<= imm
	right     = 0x77 // dst >>= imm
	jumpEqual = 0x1d // if dst == src, skip offset instructions
	jumpOther = 0x5d // if dst != src, skip offset instructions
	jumpZero  = 0x15 // if dst == 0, skip offset instructions
	jumpSome  = 0x55 // if dst != 0, skip offset instructions
	leave     = 0x95 // return r0
)

// assemble writes the program: the last exception that matches decides. Why so
// terse? The kernel goes through every way that the program can take before it
// lets it be, and so each jump costs a container's start some microseconds.
func assemble(allowed bool, list []rule) []uint64 {
	code := []uint64{
		instruction(loadWord, anyOf, ctx, 0, 0),
		instruction(copyFrom, wanted, anyOf, 0, 0),
		instruction(right, wanted, 0, 0, 16),
		instruction(and, anyOf, 0, 0, 0xffff),
		instruction(left, anyOf, 0, 0, kindShift),
		instruction(loadWord, major, ctx, 4, 0),
		instruction(left, major, 0, 0, majorShift),
		instruction(loadWord, minor, ctx, 8, 0),
		instruction(copyFrom, anyMinor, anyOf, 0, 0), instruction(or, anyMinor, major, 0, 0),
		instruction(copyFrom, exact, anyMinor, 0, 0), instruction(or, exact, minor, 0, 0),
		instruction(copyFrom, anyMajor, anyOf, 0, 0), instruction(or, anyMajor, minor, 0, 0),
		instruction(set, answer, 0, 0, bit(!allowed)),
	}
	var matches []int // the jumps that are taken if an exception matches
	for _, r := range slices.Backward(list) {
		if r.major > largestMajor || r.minor > largestMinor {
			continue // there can be no such device
		}
		code = append(code, r.assemble(allowed)...)
		matches = append(matches, len(code)-1)
	}
	code = append(code, instruction(set, answer, 0, 0, bit(allowed)))
	for _, i := range matches {
		code[i] |= instruction(0, 0, 0, len(code)-i-1, 0)
	}
	return append(code, instruction(leave, 0, 0, 0, 0))
}

func bit(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}

// assemble writes one exception. Its last instruction is a jump, which is taken
// if the exception matches. One that allows must allow all that is wanted; one
// that denies needs only some of it.
func (r rule) assemble(allowed bool) []uint64 {
	view, device := r.view()
	code := []uint64{instruction(load64, ctx, 0, 0, device&(1<<32-1)), device >> 32 << 32}
	if r.access == everything {
		return append(code, instruction(jumpEqual, view, ctx, 0, 0))
	}
	code = append(code, instruction(jumpOther, view, ctx, 3, 0), instruction(copyFrom, scratch, wanted, 0, 0))
	if allowed {
		return append(code, instruction(and, scratch, 0, 0, uint64(r.access)), instruction(jumpSome, scratch, 0, 0, 0))
	}
	return append(code, instruction(and, scratch, 0, 0, uint64(everything&^r.access)), instruction(jumpZero, scratch, 0, 0, 0))
}

// view is the register that holds what the rule looks at, and what it must hold.
func (r rule) view() (register, device uint64) {
	device = uint64(r.kind) << kindShift
	switch {
	case r.major == wildcard && r.minor == wildcard:
		return anyOf, device
	case r.minor == wildcard:
		return anyMinor, device | uint64(r.major)<<majorShift
	case r.major == wildcard:
		return anyMajor, device | uint64(r.minor)
	}
	return exact, device | uint64(r.major)<<majorShift | uint64(r.minor)
}
