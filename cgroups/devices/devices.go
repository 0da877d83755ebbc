package devices

import (
	"fmt"
	"slices"
	"strings"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file turns the rules of the spec into one list of exceptions.

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

// covers says whether every device of o is also one of d.
func (d deviceSet) covers(o deviceSet) bool {
	return (d.kind == anyKind || d.kind == o.kind) && (d.major == wildcard || d.major == o.major) && (d.minor == wildcard || d.minor == o.minor)
}

// A rule is a set of devices and what may be done with them.
type rule struct {
	deviceSet
	access uint32
}

// alwaysAllowed are the devices that every container has. It may also make (not
// open) any device file, so that a file system can be unpacked in a container. The
// machine's console, 5:1, is not allowed: a container's console is a
// pseudo-terminal. net/tun is, as in runc: opening it gives nothing without
// CAP_NET_ADMIN, and with it only an interface in the container's own network.
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

// A Filter is what a group may do with devices.
type Filter struct {
	allowed bool   // the answer for devices without an exception
	list    []rule // the exceptions
}

// mostRules is far more than anybody needs. The kernel does not load a program for
// many more, and the time to combine them grows with their square.
const mostRules = 4096

// New reads linux.resources.devices. A later rule overrides an earlier one. What
// no rule allows is denied, except what every container needs. Without resources (nil)
// there is no rule.
func New(resources *specs.LinuxResources) (*Filter, error) {
	var rules []specs.LinuxDeviceCgroup
	if resources != nil {
		rules = resources.Devices
	}
	if len(rules) > mostRules {
		return nil, fmt.Errorf("linux.resources.devices: %d rules, want at most %d", len(rules), mostRules)
	}
	f := &Filter{}
	for i, r := range rules {
		d, access, err := parseRule(r)
		if err != nil {
			return nil, fmt.Errorf("linux.resources.devices[%d]%w", i, err)
		}
		if d == (deviceSet{anyKind, wildcard, wildcard}) && access == everything {
			f.allowed, f.list = r.Allow, nil // a rule for all devices: it sets the answer
			continue
		}
		for _, one := range split(d) {
			if r.Allow != f.allowed {
				f.except(rule{one, access})
			} else if err := f.withdraw(rule{one, access}); err != nil {
				return nil, fmt.Errorf("linux.resources.devices[%d]: %w", i, err)
			}
		}
	}
	if !f.allowed {
		f.list = append(f.list, alwaysAllowed...)
	}
	return f, nil
}

// Record records how the runtime loads the program and attaches it to the group
// dir. A nil Filter records nothing.
//
// Privileges: CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the initial user
// namespace.
func (f *Filter) Record(p *plan.Plan, dir plan.FD) {
	if f == nil {
		return
	}
	p.Note("which devices may be opened: a small program that the kernel asks")
	filter := load(p, f.assemble()).As("device filter")
	attach(p, dir, filter)
}

// split makes two rules of one for both kinds of device.
func split(d deviceSet) []deviceSet {
	if d.kind != anyKind {
		return []deviceSet{d}
	}
	return []deviceSet{{block, d.major, d.minor}, {character, d.major, d.minor}}
}

// except adds an exception, or extends the one for the same devices.
func (f *Filter) except(r rule) {
	if i := slices.IndexFunc(f.list, func(e rule) bool { return e.deviceSet == r.deviceSet }); i >= 0 {
		f.list[i].access |= r.access
		return
	}
	f.list = append(f.list, r)
}

// withdraw takes a rule that says the same as the answer out of the exceptions
// that it covers. A list of exceptions cannot say "all minors but one", so a rule
// that covers only a part of an exception is an error.
func (f *Filter) withdraw(r rule) error {
	left := f.list[:0]
	for _, e := range f.list {
		switch {
		case r.covers(e.deviceSet):
			e.access &^= r.access
		case e.covers(r.deviceSet) && e.access&r.access != 0:
			return fmt.Errorf("takes a part of an earlier rule back, which one list cannot say")
		}
		if e.access != 0 {
			left = append(left, e)
		}
	}
	f.list = left
	return nil
}

// parseRule reads one rule: which devices, and what may be done with them.
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
