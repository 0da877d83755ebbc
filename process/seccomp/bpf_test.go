package seccomp

// A machine for classic BPF as seccomp has it, and the checks the kernel makes
// before it accepts a program.

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// data is struct seccomp_data without the instruction pointer.
type data struct {
	nr, arch uint32
	args     [6]uint64
}

// bytes lays data out as the kernel does.
func (d data) bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, d.nr)
	b = binary.LittleEndian.AppendUint32(b, d.arch)
	b = binary.LittleEndian.AppendUint64(b, 0)
	for _, arg := range d.args {
		b = binary.LittleEndian.AppendUint64(b, arg)
	}
	return b
}

// execute runs a checked program; it returns the answer, and how many
// instructions it took.
func execute(program []unix.SockFilter, d data) (ret uint32, steps int) {
	input, a, pc := d.bytes(), uint32(0), 0
	for {
		ins := program[pc]
		pc, steps = pc+1, steps+1
		switch ins.Code {
		case opLoad:
			a = binary.LittleEndian.Uint32(input[ins.K:])
		case opAnd:
			a &= ins.K
		case opJump:
			pc += int(ins.K)
		case opRet:
			return ins.K, steps
		default:
			pc += branch(ins, a)
		}
	}
}

// branch returns how many instructions a test skips.
func branch(ins unix.SockFilter, a uint32) int {
	var yes bool
	switch ins.Code {
	case opTest | unix.BPF_JEQ:
		yes = a == ins.K
	case opTest | unix.BPF_JGT:
		yes = a > ins.K
	case opTest | unix.BPF_JGE:
		yes = a >= ins.K
	case opTest | unix.BPF_JSET:
		yes = a&ins.K != 0
	}
	if yes {
		return int(ins.Jt)
	}
	return int(ins.Jf)
}

// valid checks that a program is one the kernel would load: known
// instructions, words within the data, jumps within the program, a ret last.
func valid(program []unix.SockFilter) error {
	if n := len(program); n == 0 || n > maxInstructions {
		return fmt.Errorf("%d instructions", n)
	}
	if last := program[len(program)-1]; last.Code != opRet {
		return fmt.Errorf("last instruction is %#v", last)
	}
	for i, ins := range program {
		if err := validInstruction(ins, len(program)-i-1); err != nil {
			return fmt.Errorf("instruction %d %#v: %w", i, ins, err)
		}
	}
	return nil
}

// validInstruction checks one instruction with rest more behind it.
func validInstruction(ins unix.SockFilter, rest int) error {
	tests := []uint16{unix.BPF_JEQ, unix.BPF_JGT, unix.BPF_JGE, unix.BPF_JSET}
	switch {
	case ins.Code == opLoad && (ins.K%4 != 0 || ins.K >= 64):
		return fmt.Errorf("offset %d", ins.K)
	case ins.Code == opJump && uint64(ins.K) >= uint64(rest):
		return fmt.Errorf("jump out of the program")
	case ins.Code == opLoad, ins.Code == opAnd, ins.Code == opJump, ins.Code == opRet:
		return nil
	case !slices.Contains(tests, ins.Code&^opTest):
		return fmt.Errorf("unknown code")
	case int(max(ins.Jt, ins.Jf)) >= rest:
		return fmt.Errorf("jump out of the program")
	}
	return nil
}
