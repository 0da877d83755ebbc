package seccomp

// This file reads and checks a profile. What leaves it is valid, and in as
// few forms as possible: seven operators become three tests.

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	maxErrno = 4095   // the kernel's MAX_ERRNO; it would cap larger ones
	maxTrace = 0xffff // what fits into SECCOMP_RET_DATA
)

// A profile is the checked form of a seccomp section.
type profile struct {
	otherwise uint32 // what the filter returns for calls without a rule
	newer     uint32 // for calls newer than the profile
	rules     []rule
	known     []*systemCall // all the calls it names
	listener  bool
}

// A rule says what happens on some calls: ret, if one of matches does.
type rule struct {
	calls   []*systemCall
	ret     uint32
	matches []match
}

// A match is a list of conditions that must all hold. Empty, it always does.
type match []condition

// A condition compares one argument: (argument & mask) test value, inverted if
// not is set.
type condition struct {
	arg   int
	test  test
	not   bool
	mask  uint64
	value uint64
}

// A test is a way to compare two unsigned numbers.
type test int

const (
	equal test = iota
	greater
	greaterEqual
)

// parse checks everything in the section but architectures and flags.
func parse(s *specs.LinuxSeccomp) (*profile, error) {
	ret, err := returnOf(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("seccomp default: %w", err)
	}
	if s.DefaultAction == specs.ActNotify {
		return nil, fmt.Errorf("seccomp default: action %s: not for the default", s.DefaultAction)
	}
	p := &profile{otherwise: ret, newer: ret}
	if !letsHappen(s.DefaultAction) {
		p.newer = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	p.known = make([]*systemCall, 0, len(syscalls))
	for i := range s.Syscalls {
		if err := p.addRule(&s.Syscalls[i]); err != nil {
			return nil, fmt.Errorf("seccomp rule for %q: %w", s.Syscalls[i].Names, err)
		}
	}
	if s.ListenerMetadata != "" && s.ListenerPath == "" {
		return nil, errors.New("seccomp listenerMetadata: without a listenerPath")
	}
	if p.listener && s.ListenerPath == "" {
		return nil, fmt.Errorf("seccomp action %s: no listenerPath", specs.ActNotify)
	}
	return p, nil
}

// letsHappen reports whether calls with this action can have an effect. TRACE
// is one: the tracer decides, and a good one knows new calls.
func letsHappen(action specs.LinuxSeccompAction) bool {
	return action == specs.ActAllow || action == specs.ActLog || action == specs.ActTrace
}

// addRule checks one entry and keeps it if it does something.
func (p *profile) addRule(s *specs.LinuxSyscall) error {
	ret, err := returnOf(s.Action, s.ErrnoRet)
	if err != nil {
		return err
	}
	if len(s.Names) == 0 {
		return errors.New("no names")
	}
	if s.Action == specs.ActNotify {
		if slices.Contains(s.Names, "write") {
			return fmt.Errorf("action %s: not for write", s.Action)
		}
		p.listener = true
	}
	matches, err := matchesOf(s.Args)
	if err != nil {
		return err
	}
	first := len(p.known)
	for _, name := range s.Names {
		if call := lookup(name); call != nil {
			p.known = append(p.known, call)
		}
	}
	if ret != p.otherwise {
		p.rules = append(p.rules, rule{p.known[first:], ret, matches})
	}
	return nil
}

// returnOf translates an action to what a filter returns for it: the action in
// the upper half and, for two of them, an errno in the lower.
func returnOf(action specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	switch action {
	case specs.ActErrno:
		return withErrno(unix.SECCOMP_RET_ERRNO, errno, maxErrno)
	case specs.ActTrace:
		return withErrno(unix.SECCOMP_RET_TRACE, errno, maxTrace)
	}
	ret, err := plainReturn(action)
	if err == nil && errno != nil {
		return 0, fmt.Errorf("action %s with errno %d: has none", action, *errno)
	}
	return ret, err
}

// plainReturn translates the actions that have no errno.
func plainReturn(action specs.LinuxSeccompAction) (uint32, error) {
	switch action {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	}
	return 0, fmt.Errorf("action %q: unknown", action)
}

// withErrno adds an errno, EPERM if none is given, to an action.
func withErrno(ret uint32, errno *uint, limit uint) (uint32, error) {
	if errno == nil {
		return ret | uint32(unix.EPERM), nil
	}
	if *errno > limit {
		return 0, fmt.Errorf("errno %d: above %d", *errno, limit)
	}
	return ret | uint32(*errno), nil
}

// matchesOf translates the conditions of one rule: one match with all of them,
// or, if two are about the same argument, a match for each.
func matchesOf(args []specs.LinuxSeccompArg) ([]match, error) {
	all := make(match, 0, len(args))
	for _, arg := range args {
		c, err := conditionOf(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if !repeats(all) {
		return []match{all}, nil
	}
	var each []match
	for i := range all {
		each = append(each, all[i:i+1])
	}
	return each, nil
}

// repeats reports whether two conditions are about the same argument.
func repeats(m match) bool {
	var seen [6]bool
	for _, c := range m {
		if seen[c.arg] {
			return true
		}
		seen[c.arg] = true
	}
	return false
}

// conditionOf translates one condition. LT and LE are GE and GT inverted. For
// MASKED_EQ the mask comes first and the wanted value second; bits that the
// mask leaves out of the argument are left out of the value too.
func conditionOf(a specs.LinuxSeccompArg) (condition, error) {
	if a.Index > 5 {
		return condition{}, fmt.Errorf("argument %d: the last is 5", a.Index)
	}
	c := condition{arg: int(a.Index), mask: ^uint64(0), value: a.Value}
	switch a.Op {
	case specs.OpEqualTo:
	case specs.OpNotEqual:
		c.not = true
	case specs.OpGreaterThan:
		c.test = greater
	case specs.OpLessEqual:
		c.test, c.not = greater, true
	case specs.OpGreaterEqual:
		c.test = greaterEqual
	case specs.OpLessThan:
		c.test, c.not = greaterEqual, true
	case specs.OpMaskedEqual:
		c.mask, c.value = a.Value, a.ValueTwo&a.Value
	default:
		return condition{}, fmt.Errorf("operator %q: unknown", a.Op)
	}
	return c, nil
}

// specificity orders the matches of one call: 0 for those that only ask for
// equality, 1 for those that mask, 2 for the rest.
func (m match) specificity() int {
	most := 0
	for _, c := range m {
		switch {
		case c.test != equal || c.not:
			most = 2
		case c.mask != ^uint64(0):
			most = max(most, 1)
		}
	}
	return most
}
