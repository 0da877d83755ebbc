package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Compiling turns steps into instructions, so that the child need not know what a step is.
// Everything that can be wrong with a step is found here, in the runtime, where an error can
// still be returned; the child checks nothing. All that the child will read or write
// lies in one mapping outside Go's heap, the arena:
//
//	results       8 bytes for each step
//	instructions  one for each step, those of one side together
//	programs      one for each side
//	message       the buffer for messages
//	memory        strings, structures, arrays
//
// Of the heap the child needs only the stack that it was born on (clone), and it
// gets no more of it.

// A compiled plan is ready to run, once.
type compiled struct {
	arena    []byte
	free     int // offset of the first free byte of the arena
	results  []uintptr
	programs []program           // by side
	code     []*instruction      // by step
	at       map[*Memory]uintptr // where a block lies
	patches  map[*Step][][]byte  // places in the arena that get the result of a step of the runtime
	stores   map[*Step]uintptr   // the address that gets the result of a step of the child
	fds      map[Inherited]int   // the descriptors that are open before the plan starts
}

// compile lays out the plan. fds are the numbers of the [Inherited] descriptors.
//
// The size is counted before, because the arena must not move: addresses in it are written
// into instructions. MAP_POPULATE gives it memory at once, which saves the child a page
// fault for each page.
func (p *Plan) compile(fds map[Inherited]int) (*compiled, error) {
	n := len(p.Steps)
	total := n*int(unsafe.Sizeof(uintptr(0))+unsafe.Sizeof(instruction{})) + sides*int(unsafe.Sizeof(program{})) + messageSize
	counted := map[*Memory]bool{}
	for _, s := range p.Steps {
		for _, a := range s.Args {
			total += room(a, counted)
		}
	}
	cloning.Lock() // hide reads the list of mappings
	arena, err := unix.Mmap(-1, 0, total, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	cloning.Unlock()
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes for the plan: %w", total, err)
	}
	c := &compiled{arena: arena, fds: fds, at: map[*Memory]uintptr{}, patches: map[*Step][][]byte{}, stores: map[*Step]uintptr{}}
	c.results = unsafe.Slice((*uintptr)(c.take(n*int(unsafe.Sizeof(uintptr(0))))), n)
	for i := range c.results {
		c.results[i] = noResult
	}
	c.place(p)
	for i, s := range p.Steps {
		if err := c.instruct(p, s, c.code[i]); err != nil {
			c.release()
			return nil, fmt.Errorf("step %d: %w", s.Index, err)
		}
	}
	for s, address := range c.stores {
		c.code[s.Index-1].store = address
	}
	return c, nil
}

// hide keeps the memory of this process from the processes that it clones, with
// MADV_DONTFORK (madvise(2)). They get code and constants, the plan, the command
// line, and their stack (clone). Two reasons: a program that manages to look into
// the child finds no secrets of the runtime, such as other containers' environment;
// and copying the page tables, and later each page that the runtime writes to,
// would take an eighth of a start. If something is missing after all, the child is killed by
// SIGSEGV at its first use, and the start fails with [ErrKilled].
//
// What can be written to is listed in /proc/self/maps (proc_pid_maps(5)):
//
//	c000000000-c000400000 rw-p 00000000 00:00 0
func (c *compiled) hide() error {
	if loaded, err := interpreted(); !hides || loaded || err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		addresses, rest, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(rest, "rw") || strings.HasSuffix(rest, " [stack]\n") {
			continue
		}
		from, to, _ := strings.Cut(addresses, "-")
		start, err := strconv.ParseUint(from, 16, 64)
		end, errEnd := strconv.ParseUint(to, 16, 64)
		if errors.Join(err, errEnd) != nil {
			return fmt.Errorf("/proc/self/maps: %q", line)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTFORK); errno != 0 {
			return fmt.Errorf("madvise %s: %w", addresses, errno)
		}
	}
	return unix.Madvise(c.arena, unix.MADV_DOFORK)
}

// interpreted says whether a dynamic loader started the program, as it does for
// -buildmode=pie. The loader has registered memory with the kernel that the child
// must have, as the C library does: see hides. getauxval(3), AT_BASE.
func interpreted() (bool, error) {
	const base = 7
	vector, err := unix.Auxv()
	return slices.ContainsFunc(vector, func(v [2]uintptr) bool { return v[0] == base && v[1] != 0 }), err
}

// release unmaps the arena in the runtime; the child has its own copy.
func (c *compiled) release() {
	cloning.Lock()
	unix.Munmap(c.arena) // fails only for an address that is not mapped
	cloning.Unlock()
}

// take reserves n bytes of the arena, aligned to 8: the child reads and writes numbers of
// 8 bytes there, and some processors refuse those at another address.
func (c *compiled) take(n int) unsafe.Pointer {
	b := unsafe.Add(unsafe.Pointer(&c.arena[0]), c.free) // of none, it may be the end
	c.free += aligned(n)
	return b
}

// aligned is n, rounded up to a multiple of 8.
func aligned(n int) int { return (n + 7) &^ 7 }

// place gives every step its instruction, and every side its program. The instructions of one
// side lie one after the other, because the process of that side walks over them (walk); in
// the plan there are those of other sides between them. All programs share the results and
// the buffer for messages: a process has its own copy of both after clone3.
func (c *compiled) place(p *Plan) {
	code := unsafe.Slice((*instruction)(c.take(len(p.Steps)*int(unsafe.Sizeof(instruction{})))), len(p.Steps))
	c.programs = unsafe.Slice((*program)(c.take(sides*int(unsafe.Sizeof(program{})))), sides)
	c.code = make([]*instruction, len(p.Steps))
	message := uintptr(c.take(messageSize))
	for side := Runtime; side <= Child; side++ {
		program := &c.programs[side]
		program.results, program.message = uintptr(unsafe.Pointer(unsafe.SliceData(c.results))), message
		program.channel, program.copy = uintptr(c.fds[channelOf(side)]), noFD
		if fd, ok := c.fds[Copy]; ok {
			program.copy = uintptr(fd)
		}
		for i, s := range p.Steps {
			if s.Side == side {
				c.code[i] = &code[program.n]
				program.n++
				c.code[i].next = int32(program.n)
			}
		}
		if program.n > 0 {
			program.code = uintptr(unsafe.Pointer(&code[0]))
			code = code[program.n:]
		}
	}
}

// instruct compiles one step. Its arguments may be results of earlier steps, which have no
// value yet: from says which step to ask when the time comes. Verified compares memory that
// the step's last argument points to, so it is compiled after the arguments.
func (c *compiled) instruct(p *Plan, s *Step, in *instruction) error {
	if err := s.check(in); err != nil {
		return fmt.Errorf("%s: %w", s.Call, err)
	}
	in.number, in.step, in.needs = s.number, int32(s.Index-1), noStep
	in.exact, in.want, in.report, in.gate, in.quiet = s.exact, s.want, s.report, s.gate != "", s.quiet
	in.last = s.Else == nil
	for last := s; last != nil; last = last.Else {
		in.next = c.code[last.Index-1].next // after success, skip the alternatives
	}
	if s.If != nil {
		in.needs = int32(s.If.Index - 1)
	}
	for i, e := range s.Tolerated {
		in.tolerated[i] = uintptr(e)
	}
	if s.program {
		in.program = uintptr(unsafe.Pointer(&c.programs[p.born(s.Side)]))
	}
	for i := range in.from {
		in.from[i] = noStep
	}
	for i, a := range s.Args {
		if err := c.argument(in, i, a); err != nil {
			return err
		}
	}
	for i, v := range s.Verified {
		in.verify[i] = comparison{at: in.args[len(s.Args)-1] + uintptr(v.Offset), mask: v.Mask, want: v.Want}
	}
	return nil
}

// check refuses a step that does not fit in an instruction, or whose comparison would read
// outside of its memory. These are mistakes of whoever recorded the step, not of a user.
func (s *Step) check(in *instruction) error {
	switch {
	case s.Side == Runtime && (s.If != nil || s.Verified != nil):
		return errors.New("conditions are for the child: what the runtime does, it can decide as it writes the plan")
	case len(s.Args) > len(in.args):
		return fmt.Errorf("%d arguments, of at most %d", len(s.Args), len(in.args))
	case len(s.Tolerated) > len(in.tolerated):
		return fmt.Errorf("tolerates %d errnos, of at most %d", len(s.Tolerated), len(in.tolerated))
	case len(s.Verified) > len(in.verify):
		return fmt.Errorf("%d comparisons, of at most %d", len(s.Verified), len(in.verify))
	}
	for _, v := range s.Verified {
		if m, ok := s.Args[len(s.Args)-1].(*Memory); !ok || v.Offset < 0 || v.Offset+8 > len(m.Bytes) {
			return fmt.Errorf("the comparison at %d is not in the last argument", v.Offset)
		}
	}
	return nil
}

// argument compiles argument i of a step.
func (c *compiled) argument(in *instruction, i int, a Arg) (err error) {
	switch a := a.(type) {
	case Num:
		in.args[i] = uintptr(a)
	case Name:
		in.args[i] = a.Value
	case String:
		in.args[i] = c.bytes(append([]byte(a), 0))
	case *Memory:
		in.args[i], err = c.memory(a)
	case *Step:
		in.from[i] = int32(a.Index - 1)
	case ChildPID:
		in.from[i] = childPID
	case Inherited:
		in.args[i], err = c.descriptor(a)
	case Offset:
		err = c.argument(in, i, a.From)
		in.args[i] += uintptr(a.By)
	}
	return err
}

// descriptor is the number of a descriptor that is open before the plan starts.
func (c *compiled) descriptor(name Inherited) (uintptr, error) {
	fd, ok := c.fds[name]
	if !ok {
		return 0, fmt.Errorf("descriptor <%s> was not given", string(name))
	}
	return uintptr(fd), nil
}

// bytes copies b into the arena, and returns its address there.
func (c *compiled) bytes(b []byte) uintptr {
	p := c.take(len(b))
	copy(unsafe.Slice((*byte)(p), len(b)), b)
	return uintptr(p)
}

// memory lays out a block and what it points to, and returns its address. A block that
// several steps share is laid out once.
func (c *compiled) memory(m *Memory) (uintptr, error) {
	if at, ok := c.at[m]; ok {
		return at, nil
	}
	start := c.free
	at := c.bytes(m.Bytes)
	c.at[m] = at
	for offset, other := range m.Points {
		address, err := c.memory(other)
		if err != nil {
			return 0, err
		}
		binary.NativeEndian.PutUint64(c.arena[start+offset:], uint64(address))
	}
	for offset, fd := range m.FDs {
		if err := c.fill(c.arena[start+offset:][:8], fd); err != nil {
			return 0, err
		}
	}
	for offset, fd := range m.FDs32 {
		if err := c.fill(c.arena[start+offset:][:4], fd); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// fill puts a descriptor at its place in the arena: now if its number is known,
// else when the step that opens it is done.
func (c *compiled) fill(place []byte, fd FD) error {
	switch fd := fd.(type) {
	case *Step:
		if fd.Side == Runtime {
			c.patches[fd] = append(c.patches[fd], place)
		} else {
			c.stores[fd] = uintptr(unsafe.Pointer(&place[0]))
		}
	case Inherited:
		n, err := c.descriptor(fd)
		put(place, n)
		return err
	case Num:
		put(place, uintptr(fd))
	}
	return nil
}

// put writes a number as wide as its place: descriptors are 32 bits in some structs
// (cmsg(3)) and 64 in others (struct clone_args).
func put(place []byte, n uintptr) {
	if len(place) == 4 {
		binary.NativeEndian.PutUint32(place, uint32(n))
		return
	}
	binary.NativeEndian.PutUint64(place, uint64(n))
}

// pointer is where a block lies, for the runtime to read what the kernel has filled in.
func (c *compiled) pointer(m *Memory) unsafe.Pointer {
	return unsafe.Pointer(&c.arena[c.at[m]-uintptr(unsafe.Pointer(&c.arena[0]))])
}

// room is the number of bytes of the arena that the argument takes, without the
// blocks that are counted already: steps may share them.
func room(a Arg, counted map[*Memory]bool) int {
	switch a := a.(type) {
	case String:
		return aligned(len(a) + 1)
	case *Memory:
		if counted[a] {
			return 0
		}
		counted[a] = true
		n := aligned(len(a.Bytes))
		for _, other := range a.Points {
			n += room(other, counted)
		}
		return n
	}
	return 0
}
