package seccomp

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/process"
)

// maxInstructions is BPF_MAXINSNS: the kernel refuses longer programs.
const maxInstructions = 4096

// badArch answers calls of architectures the profile does not name. A program
// has no business there. libseccomp kills the thread; without the thread the
// rest of the program would hang rather than end, so this kills the process.
const badArch = unix.SECCOMP_RET_KILL_PROCESS

// Compile translates the seccomp section of a config.json for the machine it
// runs on. For nil, and for a section with neither default action nor rules,
// there is no filter: nil without an error.
//
// Runtime-spec does not say how rules combine. These are the answers, those
// of libseccomp as runc uses it unless noted:
//
//   - A rule matches if all its conditions do. But if two of them are about
//     the same argument, any one suffices.
//   - A rule with the action of the default is void.
//   - Of the rules for one call, one without conditions decides alone; the
//     first, if there are several.
//   - Else they are tried in order, but those that only ask for equality first,
//     then those that mask. libseccomp orders overlapping rules by their
//     arguments too, in a way it does not document.
//   - Names of calls that no architecture has are ignored: profiles are
//     written for many kernels.
//   - Unless the default action lets calls happen, a call with a number above
//     all those in the profile is newer than the profile, and gets ENOSYS,
//     not the default: libc tries new calls first, and only this answer makes
//     it fall back to old ones.
//   - The native architecture is always included. Calls of others that are not
//     in the list kill the process.
//   - Where x86 has two ways to make a call (socketcall, ipc) a rule is about
//     both. The arguments of the second are out of sight, so a rule with
//     conditions covers it only if stricter than the default action.
//
// Without flags the section means SPEC_ALLOW, as for runc and crun; an empty
// list means none. TSYNC is accepted and not needed, the process that loads
// the filter having one thread. WAIT_KILLABLE_RECV without a listener is left
// out, since the kernel would refuse it.
//
// With a filter that denies every execve no program can start. If it denies all calls, as
// well, the child could not even say so. So of such a filter only that part is loaded: the
// child fails at execve with EPERM, which it can report, and ends.
//
// Errors name the action, operator, flag, architecture, argument or errno
// that is not valid, or say that the program is longer than the kernel takes.
// SCMP_ACT_NOTIFY needs a listenerPath, and is neither for the default nor for
// write, with which the container process reports its listener.
func Compile(s *specs.LinuxSeccomp) (*process.Filter, error) {
	filter, err := compileFor(runtime.GOARCH, s)
	if filter != nil && deniesExecve(s) {
		return compileFor(runtime.GOARCH, onlyExecve)
	}
	return filter, err
}

// compileFor is Compile for any machine.
func compileFor(goarch string, s *specs.LinuxSeccomp) (*process.Filter, error) {
	if s == nil || s.DefaultAction == "" && len(s.Syscalls) == 0 {
		return nil, nil
	}
	arches, err := archesOf(goarch, s.Architectures)
	if err != nil {
		return nil, err
	}
	p, err := parse(s)
	if err != nil {
		return nil, err
	}
	flags, err := flagsOf(s, p.listener)
	if err != nil {
		return nil, err
	}
	program := p.generate(arches)
	if len(program) > maxInstructions {
		return nil, fmt.Errorf("seccomp filter of %d instructions: the kernel takes %d", len(program), maxInstructions)
	}
	return &process.Filter{Program: program, Flags: flags, Listener: p.listener}, nil
}

// onlyExecve stands for every filter that denies execve.
var onlyExecve = &specs.LinuxSeccomp{
	DefaultAction: specs.ActAllow,
	Syscalls:      []specs.LinuxSyscall{{Names: []string{"execve"}, Action: specs.ActErrno}},
}

// deniesExecve says that a valid section lets no execve happen, whatever its arguments
// are. A rule without conditions decides alone, the first if there are several; one with
// conditions may let some happen, or leaves the others to the default.
func deniesExecve(s *specs.LinuxSeccomp) bool {
	may := func(a specs.LinuxSeccompAction) bool { return letsHappen(a) || a == specs.ActNotify }
	some := may(s.DefaultAction)
	for _, rule := range s.Syscalls {
		if !slices.Contains(rule.Names, "execve") || rule.Action == s.DefaultAction {
			continue
		}
		if len(rule.Args) == 0 {
			return !may(rule.Action)
		}
		some = some || may(rule.Action)
	}
	return !some
}

// flagsOf returns the flags for seccomp(2).
func flagsOf(s *specs.LinuxSeccomp, listener bool) (uint, error) {
	if s.Flags == nil && !listener {
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	var flags uint
	if s.Flags == nil {
		flags = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	if listener {
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	for _, name := range s.Flags {
		flag, err := flagOf(name)
		if err != nil {
			return 0, err
		}
		flags |= flag
	}
	if !listener {
		flags &^= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	return flags, nil
}

// flagOf returns the bit of one flag.
func flagOf(name specs.LinuxSeccompFlag) (uint, error) {
	switch name {
	case specs.LinuxSeccompFlagLog:
		return unix.SECCOMP_FILTER_FLAG_LOG, nil
	case specs.LinuxSeccompFlagSpecAllow:
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	case specs.LinuxSeccompFlagWaitKillableRecv:
		return unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, nil
	case "SECCOMP_FILTER_FLAG_TSYNC":
		// Not passed on: the kernel refuses it together with a listener.
		return 0, nil
	}
	return 0, fmt.Errorf("seccomp flag %q: unknown", name)
}

// generate writes the program:
//
//	if arch is the native one: search the spans of its numbers
//	if arch is the next:       ...
//	kill
//
// x32 has no line of its own: its numbers follow those of x86_64.
func (p *profile) generate(arches []*arch) []unix.SockFilter {
	g := generator{assembler: assembler{code: make([]unix.SockFilter, 0, 512)}}
	next := g.ret(badArch)
	var bodies []label
	var audits []uint32
	for _, a := range slices.Backward(arches) {
		if a.bit == 0 {
			bodies = append(bodies, g.body(a, p.numberSpans(a, arches)))
			audits = append(audits, a.audit)
		}
	}
	// All bodies first, then all tests: so the native body, placed last, is
	// right behind them.
	for i := range bodies {
		next = g.jump(unix.BPF_JEQ, audits[i], bodies[i], next)
	}
	g.load(offArch, next)
	return g.program()
}
