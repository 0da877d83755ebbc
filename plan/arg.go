package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An Arg is one argument of a system call. What the kernel gets (a number, or
// the address of prepared memory) is worked out when the plan is compiled; what
// a reader sees is worked out when it is printed. A run prints nothing and so
// formats nothing.
type Arg struct {
	kind  argKind
	value uintptr
	text  string        // str: the string; given: the name; word: as printed
	show  func() string // mem: as printed; called only when printing
	from  *Step         // result: the step whose result is added to value
	names []named       // flags: their names
	mem   *memory       // memory: what the address points to
}

type argKind uint8

const (
	number  argKind = iota // decimal
	octal                  // a mode
	flags                  // names joined by |
	access                 // the same, for open(2)
	value                  // one name
	str                    // address of a NUL-terminated string
	mem                    // address of prepared memory
	result                 // what an earlier step returned
	given                  // a descriptor of the runtime's
	node                   // a file type and a mode
	device                 // a device number
	word                   // a number printed as text
	process                // the child's process id, in a step of the runtime
)

// memory is a prepared block that a system call reads or writes.
type memory struct {
	bytes  []byte
	points map[int]*memory // addresses of other blocks, by offset
	fds    map[int]FD      // 64-bit descriptors that the runtime opens, by offset
	narrow map[int]FD      // 32-bit descriptors, by offset; of the child's at most one
}

// String prints the argument as strace(1) would.
func (a Arg) String() string {
	switch a.kind {
	case octal:
		return fmt.Sprintf("%#03o", a.value)
	case flags:
		return flagString(a.value, a.names)
	case access:
		return openString(a.value)
	case node:
		kind := a.value & unix.S_IFMT
		return fmt.Sprintf("%s|%#03o", valueString(kind, fileTypes), a.value&^kind)
	case device:
		return "makedev(" + hex(unix.Major(uint64(a.value))) + ", " + hex(unix.Minor(uint64(a.value))) + ")"
	case value:
		return valueString(a.value, a.names)
	case str:
		return quote(a.text)
	case result:
		return resultName(a)
	case given:
		return "<" + a.text + ">" + offset(a.value)
	case word:
		return a.text
	case process:
		return "PID"
	case mem:
		return a.show()
	}
	if int32(a.value) == unix.AT_FDCWD {
		return "AT_FDCWD"
	}
	return strconv.FormatInt(int64(a.value), 10)
}

func resultName(a Arg) string {
	if a.from.Result == "" {
		return "$" + strconv.Itoa(a.from.Index) + offset(a.value)
	}
	return "<" + a.from.Result + ">" + offset(a.value)
}

func offset(v uintptr) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%+d", int(v))
}

// hex prints a number as C's "%#x" does, which differs from Go's for 0.
func hex(n uint32) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}

// quote writes a string the way strace does: C escapes in octal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c > '~':
			b.WriteString(octalEscape(c, i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9'))
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func octalEscape(c byte, digitFollows bool) string {
	if digitFollows {
		return fmt.Sprintf("\\%03o", c)
	}
	return fmt.Sprintf("\\%o", c)
}

// named is one bit (or one value) and its name in the man page.
type named struct {
	value uintptr
	name  string
}

// flagString prints the names of the bits in v, and what is left as a number.
func flagString(v uintptr, names []named) string {
	if v == 0 {
		if len(names) > 0 && names[0].value == 0 {
			return names[0].name
		}
		return "0"
	}
	var parts []string
	for _, n := range names {
		if n.value != 0 && v&n.value == n.value {
			parts = append(parts, n.name)
			v &^= n.value
		}
	}
	if v != 0 {
		parts = append(parts, fmt.Sprintf("%#x", v))
	}
	return strings.Join(parts, "|")
}

// valueString prints the one name of v.
func valueString(v uintptr, names []named) string {
	for _, n := range names {
		if n.value == v {
			return n.name
		}
	}
	return fmt.Sprintf("%#x", v)
}

// Number is an argument that is a number.
func Number(n int) Arg { return size(n) }

// Named is a number that is printed as name, a constant of the man page.
func Named(n uintptr, name string) Arg { return words(n, name) }

// PID is the process that the plan makes, for calls that take a process id: 0,
// the caller itself, in a step of the child; its number in a step of the runtime,
// which may have a privilege that the child lacks.
func (p *Plan) PID() Arg {
	if p.side == Runtime {
		return Arg{kind: process}
	}
	return size(0)
}

// Text is the address of a NUL-terminated string.
func Text(s string) Arg { return text(s) }

// Ref is a descriptor.
func Ref(fd FD) Arg { return fd.descriptor() }

// Block is the address of prepared memory that holds data. show prints it in the
// notation of strace(1); it is called only when the plan is printed.
func Block(data []byte, show func() string) Arg { return block(&memory{bytes: data}, show) }

func size(n int) Arg                          { return Arg{kind: number, value: uintptr(n)} }
func mode(m uint32) Arg                       { return Arg{kind: octal, value: uintptr(m)} }
func bits(v uintptr, names []named) Arg       { return Arg{kind: flags, value: v, names: names} }
func one(v uintptr, names []named) Arg        { return Arg{kind: value, value: v, names: names} }
func words(v uintptr, s string) Arg           { return Arg{kind: word, value: v, text: s} }
func text(s string) Arg                       { return Arg{kind: str, text: s} }
func null() Arg                               { return Arg{kind: word, text: "NULL"} }
func block(m *memory, show func() string) Arg { return Arg{kind: mem, mem: m, show: show} }
func out(text string, n int) Arg              { return block(&memory{bytes: make([]byte, n)}, as("["+text+"]")) }

// as shows a constant.
func as(text string) func() string { return func() string { return text } }

// optional is a string or, if empty, a null pointer.
func optional(s string) Arg {
	if s == "" {
		return null()
	}
	return text(s)
}

// words32 lays out 32-bit numbers as the kernel reads them.
func words32(v ...uint32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, n := range v {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

// words64 lays out 64-bit numbers as the kernel reads them.
func words64(v ...uint64) []byte {
	b := make([]byte, 0, 8*len(v))
	for _, n := range v {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	return b
}

// stringArray is a null-terminated array of strings, as execve(2) takes it.
func stringArray(list []string) *memory {
	m := &memory{bytes: make([]byte, 8*(len(list)+1)), points: map[int]*memory{}}
	for i, s := range list {
		m.points[8*i] = &memory{bytes: append([]byte(s), 0)}
	}
	return m
}
