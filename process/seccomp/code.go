package seccomp

// This file generates the code of a filter: a search for the number of the
// call, then, for the few calls where they matter, comparisons of arguments.
// As everything is placed back to front (see asm.go), what is tried first is
// generated last.

import (
	"slices"

	"golang.org/x/sys/unix"
)

// A generator writes the code for a profile.
type generator struct {
	assembler

	// wide says that arguments have 64 bits. A needs two loads for one then,
	// being a 32-bit register. Else only the lower half of a condition counts:
	// a profile's ^0 is -1 on any architecture.
	wide bool

	// placed are the outcomes with clauses that have code already. A rule for
	// many calls needs its conditions only once.
	placed []placed
}

// A placed outcome is one with its code.
type placed struct {
	outcome
	at label
}

// body places the code for one architecture.
func (g *generator) body(a *arch, spans []span) label {
	g.wide, g.placed = a.wide, nil
	return g.load(offNr, g.search(spans))
}

// search finds the span of the number in A by halving the list: about eight
// comparisons for a profile that names hundreds of calls.
func (g *generator) search(spans []span) label {
	if len(spans) == 1 {
		return g.outcome(spans[0].outcome)
	}
	mid := len(spans) / 2
	above := g.search(spans[mid:])
	below := g.search(spans[:mid])
	return g.jump(unix.BPF_JGE, spans[mid].first, above, below)
}

// outcome goes to the code of an outcome, after placing it if need be.
func (g *generator) outcome(o outcome) label {
	if len(o.clauses) == 0 {
		return g.ret(o.ret)
	}
	for _, p := range g.placed {
		if same(p.outcome, o) {
			return p.at
		}
	}
	at := g.clauses(o)
	g.placed = append(g.placed, placed{o, at})
	return at
}

// clauses tries the clauses in turn.
func (g *generator) clauses(o outcome) label {
	next := g.ret(o.ret)
	for end := len(o.clauses); end > 0; {
		start := end - 1
		for start > 0 && alike(o.clauses[start-1], o.clauses[start]) {
			start--
		}
		if end-start > 1 {
			next = g.oneOf(o.clauses[start:end], next)
		} else {
			c := o.clauses[start]
			next = g.match(c.match, g.ret(c.ret), next)
		}
		end = start
	}
	return next
}

// alike reports whether two clauses ask the same, but for the lower half of the
// value that the argument must equal.
func alike(a, b clause) bool {
	if len(a.match) != 1 || len(b.match) != 1 || a.ret != b.ret {
		return false
	}
	x, y := a.match[0], b.match[0]
	return x.test == equal && y.test == equal && !x.not && !y.not &&
		x.arg == y.arg && x.mask == y.mask && x.value>>32 == y.value>>32
}

// oneOf tests clauses that are alike. A profile allows dozens of address
// families to socket(2); this loads the argument once for all.
func (g *generator) oneOf(list []clause, no label) label {
	yes, next := g.ret(list[0].ret), no
	for _, c := range slices.Backward(list) {
		next = g.jump(unix.BPF_JEQ, uint32(c.match[0].value), yes, next)
	}
	c := list[0].match[0]
	if mask := uint32(c.mask); mask != 0xffffffff {
		next = g.and(mask, next)
	}
	return g.upper(c, g.load(lowerHalf(c.arg), next), no)
}

// match goes on at yes if all conditions hold, else at no.
func (g *generator) match(m match, yes, no label) label {
	for _, c := range slices.Backward(m) {
		yes = g.condition(c, yes, no)
	}
	return yes
}

// condition goes on at yes if c holds, else at no.
func (g *generator) condition(c condition, yes, no label) label {
	if c.not {
		yes, no = no, yes
	}
	if c.test != equal {
		return g.order(c, yes, no)
	}
	lower := g.masked(lowerHalf(c.arg), uint32(c.mask), uint32(c.value), yes, no)
	return g.upper(c, lower, no)
}

// upper tests the upper half of an equality, if there is one.
func (g *generator) upper(c condition, yes, no label) label {
	if !g.wide {
		return yes
	}
	return g.masked(upperHalf(c.arg), uint32(c.mask>>32), uint32(c.value>>32), yes, no)
}

// masked tests whether a word, masked, has a value. A mask of zero leaves
// nothing to test, the value having been masked too.
func (g *generator) masked(offset, mask, value uint32, yes, no label) label {
	switch {
	case mask == 0:
		return yes
	case mask == 0xffffffff:
		return g.load(offset, g.jump(unix.BPF_JEQ, value, yes, no))
	case value == 0:
		return g.load(offset, g.jump(unix.BPF_JSET, mask, no, yes))
	}
	return g.load(offset, g.and(mask, g.jump(unix.BPF_JEQ, value, yes, no)))
}

// order tests whether an argument is greater (or equal). The upper halves
// decide unless they are the same.
func (g *generator) order(c condition, yes, no label) label {
	op := uint16(unix.BPF_JGT)
	if c.test == greaterEqual {
		op = unix.BPF_JGE
	}
	lower := g.load(lowerHalf(c.arg), g.jump(op, uint32(c.value), yes, no))
	if !g.wide {
		return lower
	}
	upper := uint32(c.value >> 32)
	same := g.jump(unix.BPF_JEQ, upper, lower, no)
	return g.load(upperHalf(c.arg), g.jump(unix.BPF_JGT, upper, yes, same))
}

// lowerHalf is the offset of the lower 32 bits of an argument, which come first
// on the little-endian machines this package knows.
func lowerHalf(arg int) uint32 { return uint32(offArgs + 8*arg) }

// upperHalf is the offset of the upper 32 bits of an argument.
func upperHalf(arg int) uint32 { return lowerHalf(arg) + 4 }
