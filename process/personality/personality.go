// Package personality sets the execution domain of the container's process.
//
// personality(2) changes what the kernel tells a process about the machine. A
// 32-bit build on a 64-bit machine, say, wants uname(2) to answer i686: that is
// LINUX32, the one domain besides LINUX that a spec can ask for
// (config-linux.md, "Personality"). It takes no privilege, and execve keeps it.
//
// Man page: [personality(2)].
//
// [personality(2)]: https://man7.org/linux/man-pages/man2/personality.2.html
package personality

import (
	"fmt"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Personality is an argument of personality(2). Nil leaves it as it is.
type Personality int

var domains = map[specs.LinuxPersonalityDomain]Personality{specs.PerLinux: 0, specs.PerLinux32: 8}

// New checks linux.personality; nil without one.
func New(s *specs.LinuxPersonality) (*Personality, error) {
	if s == nil {
		return nil, nil
	}
	domain, ok := domains[s.Domain]
	if !ok {
		return nil, fmt.Errorf("linux.personality.domain %q: want LINUX or LINUX32", s.Domain)
	}
	if len(s.Flags) > 0 {
		return nil, fmt.Errorf("linux.personality.flags %q: no flags are defined", s.Flags)
	}
	return &domain, nil
}

// Record records the change.
func (d *Personality) Record(p *plan.Plan) {
	if d != nil {
		p.Call("personality", unix.SYS_PERSONALITY, plan.Num(int(*d)))
	}
}
