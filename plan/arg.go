package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// This file is the arguments of steps. The kernel takes six registers (syscall(2)), each a
// number or an address. A plan is written before there are addresses, and often before a
// descriptor has its number; so an argument says where its value will come from.

// An Arg is one argument of a system call, as data: a [Num], a [Name], a
// [String], a [*Memory], or a descriptor ([FD]). What the kernel gets, a number
// or the address of prepared memory, is worked out when the plan is compiled.
// What a reader sees is worked out by package print.
type Arg interface{ argument() }

// An FD is a descriptor that a step takes: a [Num], a [*Step] that opened it,
// an [Inherited] one, or an [Offset] from one of these.
type FD interface {
	Arg
	descriptor()
}

// A Num is a number: a descriptor such as 0, 1, 2 or [CWD], a size, or flags.
type Num int

// CWD stands for the current directory (AT_FDCWD).
const CWD Num = unix.AT_FDCWD

// A Name is a number that is printed by its name in the man page. Package print
// knows the names of most arguments; a Name is for the others, and for a null
// pointer.
type Name struct {
	Value uintptr
	Text  string
}

// A String is the address of a NUL-terminated string. A NUL byte inside would end it early,
// for example a path that was checked as a whole; so [Plan.Err] reports one.
type String string

// An Inherited is a descriptor that the runtime holds when the plan starts, and
// that every process it clones inherits. Its number is looked up by this name in
// [Options].Inherited. A plan that is only printed or tested needs none.
type Inherited string

// An Offset is a descriptor number relative to another one: to close the range
// between two descriptors.
type Offset struct {
	From FD
	By   int
}

// A Memory is a block of memory that system calls read or fill: a struct, an array, a
// buffer. Bytes is its size and what it holds at first. Two steps with the same Memory
// share it: what one has filled, the other reads.
type Memory struct {
	Bytes  []byte
	Points map[int]*Memory // addresses of other blocks, by offset
	FDs    map[int]FD      // 64-bit descriptors, by offset
	FDs32  map[int]FD      // 32-bit descriptors, by offset
	Show   func() string   // in the notation of strace(1); nil: package print knows it
}

// A ChildPID is the process id of the child, for a step of the runtime that acts
// on the child: see [Plan.PID].
type ChildPID struct{}

func (Num) argument()       {}
func (Name) argument()      {}
func (String) argument()    {}
func (Inherited) argument() {}
func (Offset) argument()    {}
func (*Memory) argument()   {}
func (*Step) argument()     {}
func (ChildPID) argument()  {}

func (Num) descriptor()       {}
func (Inherited) descriptor() {}
func (Offset) descriptor()    {}
func (*Step) descriptor()     {}

// PID is the process that the plan makes, for calls that take a process id: 0,
// the caller itself, in a step of the child; a [ChildPID] in a step of the runtime,
// which may have a privilege that the child lacks.
func (p *Plan) PID() Arg {
	if p.side == Runtime {
		return ChildPID{}
	}
	return Num(0)
}

// Null is a null pointer.
var Null = Name{0, "NULL"}

// as is a [Memory].Show that returns a constant.
func as(text string) func() string { return func() string { return text } }

// optional is a string or, if empty, a null pointer.
func optional(s string) Arg {
	if s == "" {
		return Null
	}
	return String(s)
}

// words32 lays out 32-bit numbers one after the other, in the byte order of the machine, as
// they lie in a struct of the kernel's.
func words32(v ...uint32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, n := range v {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

// words64 does the same with 64-bit numbers.
func words64(v ...uint64) []byte {
	b := make([]byte, 0, 8*len(v))
	for _, n := range v {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	return b
}

// stringArray is a null-terminated array of strings, as execve(2) takes it.
func stringArray(list []string) *Memory {
	m := &Memory{Bytes: make([]byte, 8*(len(list)+1)), Points: map[int]*Memory{}}
	for i, s := range list {
		m.Points[8*i] = &Memory{Bytes: append([]byte(s), 0)}
	}
	return m
}
