package seccomp

// This file turns the rules of a profile, which speak of names, into a list
// for one architecture, which speaks of numbers.

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// An outcome is what happens on one system call: the ret of the first clause
// that matches, or else its own. No match of its clauses is empty.
type outcome struct {
	clauses []clause
	ret     uint32
}

// A clause is a match and what the filter returns for it.
type clause struct {
	match match
	ret   uint32
}

// A span is a range of system call numbers with the same outcome. It ends
// where the next one starts.
type span struct {
	first uint32
	outcome
}

// numberSpans covers all numbers that can come with the arch field of a. That
// is simple but for x86_64, where x32's follow: its own, or those of nobody.
func (p *profile) numberSpans(a *arch, arches []*arch) []span {
	spans := p.spans(a)
	if a.name != specs.ArchX86_64 {
		return spans
	}
	for _, x := range arches {
		if x.bit != 0 {
			return append(spans, p.spans(x)...)
		}
	}
	skipped := spans[len(spans)-1].outcome
	spans = append(spans, span{x32Bit, outcome{ret: badArch}})
	return append(spans, span{skippedCall, skipped})
}

// spans covers all numbers of one architecture.
func (p *profile) spans(a *arch) []span {
	clauses, keys := p.clauses(a)
	last, newer := p.last(a, keys)
	list := append(make([]span, 0, 128), span{a.bit, outcome{ret: p.otherwise}})
	for len(keys) > 0 {
		nr, n := callOf(keys[0]), 1
		for n < len(keys) && callOf(keys[n]) == nr {
			n++
		}
		if nr > last {
			// A private call, beyond those that are newer than the profile.
			list = appendSpan(list, a.bit|uint32(last+1), outcome{ret: newer})
		}
		list = appendSpan(list, a.bit|uint32(nr), p.decide(clauses, keys[:n]))
		list = appendSpan(list, a.bit|uint32(nr+1), outcome{ret: p.otherwise})
		last = max(last, nr)
		keys = keys[n:]
	}
	return appendSpan(list, a.bit|uint32(last+1), outcome{ret: newer})
}

// appendSpan appends a span, merged with the one before where possible.
func appendSpan(list []span, first uint32, o outcome) []span {
	if list[len(list)-1].first == first {
		list = list[:len(list)-1]
	}
	if n := len(list); n > 0 && same(list[n-1].outcome, o) {
		return list
	}
	return append(list, span{first, o})
}

// same reports whether two outcomes come from the same rules.
func same(a, b outcome) bool {
	return a.ret == b.ret && slices.EqualFunc(a.clauses, b.clauses, func(x, y clause) bool {
		return x.ret == y.ret && &x.match[0] == &y.match[0]
	})
}

// last returns the largest number among the calls the profile names or has
// clauses for, and what happens on those above. Private calls do not count:
// their numbers say nothing about age. A profile that names nothing here is
// not older than anything.
func (p *profile) last(a *arch, keys []uint64) (last int32, newer uint32) {
	last = absent
	for _, k := range keys {
		if nr := callOf(k); nr < privateCalls {
			last = nr
		}
	}
	for _, call := range p.known {
		if nr := call.numbers[a.column]; nr < privateCalls {
			last = max(last, nr)
		}
	}
	if last == absent {
		return last, p.otherwise
	}
	return last, p.newer
}

// clauses returns the clauses for one architecture, in the profile's order,
// and a sorted list of keys, (number of the call) << 32 | (index of a clause).
// Sorting such numbers is many times faster than sorting structures.
func (p *profile) clauses(a *arch) ([]clause, []uint64) {
	var clauses []clause
	keys := make([]uint64, 0, len(p.known))
	for i := range p.rules {
		r := &p.rules[i]
		first := len(clauses)
		for _, m := range r.matches {
			clauses = append(clauses, clause{m, r.ret})
		}
		end := len(clauses)
		for _, call := range r.calls {
			for c := first; c < end; c++ {
				keys = appendKey(keys, call, a, c)
			}
			if m, ok := a.muxed(call); ok {
				for _, match := range p.behind(m, r) {
					keys = appendKey(keys, lookup(m.call), a, len(clauses))
					clauses = append(clauses, clause{match, r.ret})
				}
			}
		}
	}
	slices.Sort(keys)
	return clauses, keys
}

// callOf returns the number of the call in a key.
func callOf(key uint64) int32 { return int32(key >> 32) }

// appendKey adds the key of a call if the architecture has it.
func appendKey(keys []uint64, call *systemCall, a *arch, clause int) []uint64 {
	if call.numbers[a.column] == absent {
		return keys
	}
	return append(keys, uint64(call.numbers[a.column])<<32|uint64(clause))
}

// behind returns the match for a rule's call when made through a multiplexing
// one, where only the first argument can be seen. A rule with conditions
// then applies to all or to nothing, whichever is stricter.
func (p *profile) behind(m mux, r *rule) []match {
	unconditional := slices.ContainsFunc(r.matches, func(m match) bool { return len(m) == 0 })
	if !unconditional && !stricter(r.ret, p.otherwise) {
		return nil
	}
	return []match{{{arg: 0, test: equal, mask: m.mask, value: m.op}}}
}

// stricter compares two return values the way the kernel does when a process
// has several filters: as signed numbers, without the errno.
func stricter(a, b uint32) bool {
	return int32(a&unix.SECCOMP_RET_ACTION_FULL) < int32(b&unix.SECCOMP_RET_ACTION_FULL)
}

// decide combines the clauses for one call.
func (p *profile) decide(clauses []clause, keys []uint64) outcome {
	for _, k := range keys {
		if c := clauses[uint32(k)]; len(c.match) == 0 {
			return outcome{ret: c.ret}
		}
	}
	o := outcome{ret: p.otherwise, clauses: make([]clause, len(keys))}
	for i, k := range keys {
		o.clauses[i] = clauses[uint32(k)]
	}
	slices.SortStableFunc(o.clauses, func(a, b clause) int {
		return a.match.specificity() - b.match.specificity()
	})
	return o
}
