package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var (
	actions = []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread,
		specs.ActLog, specs.ActNotify, specs.ActTrace, specs.ActTrap}
	operators = []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpLessEqual,
		specs.OpLessThan, specs.OpMaskedEqual, specs.OpNotEqual}
	flags = []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow,
		specs.LinuxSeccompFlagWaitKillableRecv}
)

// Features says what a profile can ask for, and which of the flags this kernel has.
func Features() *features.Seccomp {
	return &features.Seccomp{
		Enabled: new(true), Actions: texts(actions), Operators: texts(operators), Archs: texts(specArches),
		KnownFlags: texts(flags),
		SupportedFlags: texts(slices.DeleteFunc(slices.Clone(flags), func(name specs.LinuxSeccompFlag) bool {
			bit, err := flagOf(name)
			return err != nil || !supported(bit)
		})),
	}
}

func texts[T ~string](list []T) (all []string) {
	for _, one := range list {
		all = append(all, string(one))
	}
	slices.Sort(all)
	return all
}

// supported asks the kernel for a flag, with a filter that is nowhere: EFAULT
// means that the flags were good. seccomp(2).
func supported(flag uint) bool {
	if flag == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV {
		flag |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flag), 0)
	return errno == unix.EFAULT
}
