package devices

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file writes the eBPF program, and records the two calls of bpf(2) that load
// and attach it.

// Registers of the program. It packs a device into one number, kind<<32 |
// major<<20 | minor, as the kernel does for dev_t (linux/kdev_t.h). A rule with a
// wildcard is compared with a view: the same number without the part that does not
// matter.
const (
	answer   = iota // r0: what an exception returns
	ctx             // r1: struct bpf_cgroup_dev_ctx; later the device of a rule
	anyOf           // r2: view: the kind
	wanted          // r3: the access that is asked for
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

// assemble writes the program. All exceptions say the same, the opposite of the
// default: so one that matches is enough, and their order does not matter. The
// latest are tried first. Why so few jumps? Before the kernel accepts a program, it follows every way through it, so
// each jump costs a container's start some microseconds.
func (f *Filter) assemble() []uint64 {
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
		instruction(set, answer, 0, 0, bit(!f.allowed)),
	}
	var matches []int // the jumps that are taken if an exception matches
	for _, r := range slices.Backward(f.list) {
		if r.major > largestMajor || r.minor > largestMinor {
			continue // there can be no such device
		}
		code = append(code, r.assemble(f.allowed)...)
		matches = append(matches, len(code)-1)
	}
	code = append(code, instruction(set, answer, 0, 0, bit(f.allowed)))
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

// assemble writes one exception. Its last instruction is a jump, taken if the
// exception matches. byDefault says what is done without exceptions: if devices
// are allowed, the exception denies, and matches if it denies any of the wanted
// access. If they are denied, it allows, and must allow all of it.
func (r rule) assemble(byDefault bool) []uint64 {
	view, device := r.view()
	code := []uint64{instruction(load64, ctx, 0, 0, device&(1<<32-1)), device >> 32 << 32}
	if r.access == everything {
		return append(code, instruction(jumpEqual, view, ctx, 0, 0))
	}
	code = append(code, instruction(jumpOther, view, ctx, 3, 0), instruction(copyFrom, scratch, wanted, 0, 0))
	if byDefault {
		return append(code, instruction(and, scratch, 0, 0, uint64(r.access)), instruction(jumpSome, scratch, 0, 0, 0))
	}
	return append(code, instruction(and, scratch, 0, 0, uint64(everything&^r.access)), instruction(jumpZero, scratch, 0, 0, 0))
}

// view returns the register that the rule compares, and the value it must have.
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

// load records the loading of a program; its result is the program's descriptor.
// The license is "": the program calls no function of the kernel that asks for one.
func load(p *plan.Plan, code []uint64) *plan.Step {
	var program []byte
	for _, c := range code {
		program = binary.NativeEndian.AppendUint64(program, c)
	}
	attr := &plan.Memory{
		Bytes:  union(unix.BPF_PROG_TYPE_CGROUP_DEVICE, uint32(len(code))),
		Points: map[int]*plan.Memory{8: {Bytes: program}, 16: {Bytes: []byte{0}}},
	}
	return p.Call("bpf", unix.SYS_BPF, plan.Name{Value: unix.BPF_PROG_LOAD, Text: "BPF_PROG_LOAD"}, attr, plan.Num(unionSize)).Opens()
}

// attach records that a program is attached to a group, besides those that are
// attached already: the filters of the groups above still count.
func attach(p *plan.Plan, group, program plan.FD) {
	attr := &plan.Memory{
		Bytes: union(0, 0, unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI),
		FDs32: map[int]plan.FD{0: group, 4: program},
	}
	p.Call("bpf", unix.SYS_BPF, plan.Name{Value: unix.BPF_PROG_ATTACH, Text: "BPF_PROG_ATTACH"}, attr, plan.Num(unionSize))
}

// unionSize is the size of the whole union bpf_attr. A shorter one would do, but
// some kernels have written past its end.
const unionSize = 152

// union is a bpf_attr that begins with these numbers.
func union(numbers ...uint32) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return append(b, make([]byte, unionSize-len(b))...)
}
