package seccomp

// This file places instructions, from the last to the first.
//
// All jumps in classic BPF go forward, and a conditional one reaches 255
// instructions at most. Written front to back, a jump's distance is known only
// when its target has been placed, and by then it may be too far. Written
// back to front, every target is there already: each function here takes the
// places where its piece goes on and returns the place where it starts.

import (
	"slices"

	"golang.org/x/sys/unix"
)

// reach is how far a conditional jump may go here: two less than the kernel
// allows, because a stepping stone for one of its targets, or for each, may
// have to be placed between.
const reach = 255 - 2

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// Kinds of instructions: A is the one register, K the constant.
const (
	opLoad = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS  // A = word at offset K
	opAnd  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K // A &= K
	opJump = unix.BPF_JMP | unix.BPF_JA               // skip K
	opTest = unix.BPF_JMP | unix.BPF_K                // if A ... K skip Jt, else Jf
	opRet  = unix.BPF_RET | unix.BPF_K                // end with K
)

// A label is the place of an instruction, counted from the end of the program.
type label int

// An assembler holds the instructions so far, the last one first. Its zero
// value is an empty program, to which a ret must be added first.
type assembler struct {
	code []unix.SockFilter
	rets []label // one place for each value returned, the nearest
}

// program returns the instructions in the order of execution.
func (a *assembler) program() []unix.SockFilter {
	slices.Reverse(a.code)
	return a.code
}

// emit places one instruction.
func (a *assembler) emit(code uint16, jt, jf uint8, k uint32) label {
	a.code = append(a.code, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
	return label(len(a.code) - 1)
}

// skip is how many instructions lie between the next one to be placed and l.
func (a *assembler) skip(l label) int {
	return len(a.code) - 1 - int(l)
}

// ret ends the filter with a value. The instruction is shared, wherever it is.
func (a *assembler) ret(value uint32) label {
	for _, l := range a.rets {
		if a.code[l].K == value {
			return l
		}
	}
	return a.nearer(value)
}

// within returns l if at most limit instructions lie between, else a stepping
// stone: a copy of l if that is a ret, which saves a jump, else a long jump.
func (a *assembler) within(limit int, l label) label {
	if a.skip(l) <= limit {
		return l
	}
	if a.code[l].Code != opRet {
		return a.emit(opJump, 0, 0, uint32(a.skip(l)))
	}
	return a.nearer(a.code[l].K)
}

// nearer places another instruction that returns value; ret answers with this
// one from now on.
func (a *assembler) nearer(value uint32) label {
	for i, l := range a.rets {
		if a.code[l].K == value {
			a.rets[i] = a.emit(opRet, 0, 0, value)
			return a.rets[i]
		}
	}
	a.rets = append(a.rets, a.emit(opRet, 0, 0, value))
	return a.rets[len(a.rets)-1]
}

// jump goes to yes if A and k compare as op says (BPF_JEQ, BPF_JGT, BPF_JGE,
// BPF_JSET: any bit in common), else to no.
func (a *assembler) jump(op uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	yes, no = a.within(reach, yes), a.within(reach, no)
	return a.emit(opTest|op, uint8(a.skip(yes)), uint8(a.skip(no)), k)
}

// load reads the word at an offset in seccomp_data, and goes on at next.
func (a *assembler) load(offset uint32, next label) label {
	a.within(0, next)
	return a.emit(opLoad, 0, 0, offset)
}

// and masks what was read, and goes on at next.
func (a *assembler) and(mask uint32, next label) label {
	a.within(0, next)
	return a.emit(opAnd, 0, 0, mask)
}
