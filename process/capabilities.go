package process

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// The kernel once knew two kinds of processes: root, who may do everything, and all
// others. capabilities(7) cut root's power into 41 pieces, such as CAP_CHOWN. A
// process has five sets of them. Permitted is what it may use, effective what it is
// using. execve(2) computes the new sets from the file, from the user, and from
// three more: bounding limits what a set-user-ID program can gain; inheritable
// together with a file's own set, and ambient by itself, outlive an execve.

// capabilities are the five sets; bit n is capability n.
type capabilities struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

// readCapabilities reads the sets of the spec; without any, the process has none
// at all. The kernel allows in some sets only what is in another one: the rest is
// left out.
func (i *Identity) readCapabilities() {
	spec, c := i.spec.Capabilities, &i.caps
	if spec == nil {
		return
	}
	c.bounding = i.readSet("bounding", spec.Bounding, ^uint64(0), "")
	c.permitted = i.readSet("permitted", spec.Permitted, ^uint64(0), "")
	c.effective = i.readSet("effective", spec.Effective, c.permitted, "not permitted")
	c.inheritable = i.readSet("inheritable", spec.Inheritable, c.bounding, "not in the bounding set")
	c.ambient = i.readSet("ambient", spec.Ambient, c.permitted&c.inheritable, "not permitted and inheritable")
}

// readSet turns names into bits. A name whose bit is not in allowed is left out;
// why says what is wrong with it.
func (i *Identity) readSet(name string, list []string, allowed uint64, why string) (set uint64) {
	var unknown, denied []string
	for _, c := range list {
		n := slices.Index(plan.Capabilities, c)
		switch {
		case n < 0:
			unknown = append(unknown, strconv.Quote(c))
		case allowed&(1<<n) == 0:
			denied = append(denied, c)
		default:
			set |= 1 << n
		}
	}
	i.warn("."+name, unknown, "no such capability")
	i.warn("."+name, denied, why)
	return set
}

// warn warns of capabilities that are left out, if there are any.
func (i *Identity) warn(set string, list []string, why string) {
	if len(list) > 0 {
		i.Warnings = append(i.Warnings, fmt.Sprintf("process.capabilities%s %s: %s: left out", set, strings.Join(list, ", "), why))
	}
}

// LimitCapabilities leaves out, with a warning, the capabilities that are not in
// available: the runtime cannot give what it does not have, as on a machine or in
// a user namespace with fewer of them than the author of the spec assumed.
func (i *Identity) LimitCapabilities(available uint64) {
	c := &i.caps
	var missing []string
	for n, name := range plan.Capabilities {
		if (c.bounding|c.permitted)&^available&(1<<n) != 0 {
			missing = append(missing, name)
		}
	}
	i.warn("", missing, "not minirun's to give")
	for _, set := range []*uint64{&c.bounding, &c.effective, &c.permitted, &c.inheritable, &c.ambient} {
		*set &= available
	}
}

// OwnCapabilities are the permitted capabilities of this process: those that it
// can leave to a child in its own user namespace (capget(2)).
func OwnCapabilities() (uint64, error) {
	var sets [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return uint64(sets[1].Permitted)<<32 | uint64(sets[0].Permitted), nil
}

// dropBounding records which capabilities the process and its children can
// never get, whatever they execute. It drops one more than this program knows of,
// in case that the kernel is newer.
func (i *Identity) dropBounding(p *plan.Plan) {
	p.Note("capabilities that no program in the container can ever gain (EINVAL: the kernel has fewer)")
	for c := range len(plan.Capabilities) + 1 {
		if i.caps.bounding&(1<<c) == 0 {
			p.Prctl(unix.PR_CAPBSET_DROP, uintptr(c)).Tolerate(unix.EINVAL)
		}
	}
}

// setCapabilities records the final sets. The inheritable set is empty unless the
// spec asks for it: with it, capabilities of a file could come back.
func (i *Identity) setCapabilities(p *plan.Plan) {
	p.Note("what is left of root's power: no capability but these")
	p.Capset(i.caps.effective, i.caps.permitted, i.caps.inheritable)
	if i.caps.ambient == 0 {
		return
	}
	p.Note("ambient capabilities outlive an execve by an ordinary user")
	for c := range len(plan.Capabilities) {
		if i.caps.ambient&(1<<c) != 0 {
			p.PrctlAmbient(unix.PR_CAP_AMBIENT_RAISE, uintptr(c))
		}
	}
}
