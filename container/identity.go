package container

import (
	"errors"
	"io"

	"minirun/plan"
	"minirun/process"
	"minirun/process/affinity"
	"minirun/process/labels"
	"minirun/process/passwd"
	"minirun/process/personality"
	"minirun/process/scheduling"
	"minirun/process/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file puts together package process and its annexes. Each of them records one
// part of what a process is before it becomes the program; here is their order.

// An identity is who a process of a container is: user and groups, capabilities, limits,
// labels, filter. New and Exec use it alike, each with the specs.Process of its own.
type identity struct {
	*process.Identity
	labels      labels.Labels
	scheduling  *scheduling.Scheduling
	personality *personality.Personality
	memory      *affinity.Memory
	cpus        *affinity.CPUs // only Exec records it; nil: none were asked for

	// limitedByRuntime: the child is in a user namespace, where it lacks privileges
	// over the host that the runtime has, such as CAP_SYS_RESOURCE for raising a
	// limit. The runtime then sets the limits by prlimit(2) while the child waits.
	limitedByRuntime bool
}

// newIdentity checks process p of the spec, and those parts of linux that hold for every
// process of the container: filter, personality and memory policy. Nothing is asked of the
// machine here. The filter is compiled first, because process.New decides by it when it is
// loaded.
func newIdentity(p *specs.Process, linux *specs.Linux) (*identity, error) {
	i := &identity{labels: labels.New(p)}
	filter, err := seccomp.Compile(linux.Seccomp)
	if err != nil {
		return nil, err
	}
	if i.Identity, err = process.New(p, filter); err != nil {
		return nil, err
	}
	if i.scheduling, err = scheduling.New(p); err != nil {
		return nil, err
	}
	var errs [3]error
	i.cpus, errs[0] = affinity.NewCPUs(p.ExecCPUAffinity)
	i.personality, errs[1] = personality.New(linux.Personality)
	i.memory, errs[2] = affinity.NewMemory(linux.MemoryPolicy)
	return i, errors.Join(errs[:]...)
}

// home sets the variable HOME, where it is missing, from the container's own
// /etc/passwd, which open opens. The text of that file comes from the image, so
// package passwd takes it for hostile.
func (i *identity) home(open func() (io.ReadCloser, error)) error {
	return i.SetHome(func(uid uint32) (string, error) { return passwd.Home(uid, open) })
}

// become records who the process is, up to the point where only the program is
// missing. The current directory is the container's root.
//
// The order: limits, scheduling and memory policy may need privileges (CAP_SYS_RESOURCE,
// CAP_SYS_NICE), so they come before Credentials, which drops these. The seccomp filter is
// part of Credentials or of Execve, so it does not see the calls before.
func (i *identity) become(p *plan.Plan) {
	i.Session(p)
	i.WorkingDirectory(p)
	i.CloseDescriptors(p)
	i.limits(p)
	i.personality.Record(p)
	i.memory.Record(p)
	i.Credentials(p)
}

// limits records the resource limits and the scheduling, by the child itself, or by the
// runtime while the child waits at a gate (limitedByRuntime). oom_score_adj is set here
// only in the second case; otherwise builder.plan has it at the child's first steps.
func (i *identity) limits(p *plan.Plan) {
	switch {
	case !i.limitedByRuntime:
		i.Limits(p)
		i.scheduling.Record(p)
	case i.HasLimits() || i.scheduling != nil:
		p.Note("in a user namespace a process cannot raise its limits above those that it was born with: the runtime sets them")
		p.Gate("limits", func() {
			i.Limits(p)
			i.scheduling.OOMScore(p)
			i.scheduling.Record(p)
		})
	}
}
