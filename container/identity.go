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

// An identity is who a process of a container is: package process and the rooms
// below it, put together. The container process and one that joins it share it.
type identity struct {
	*process.Identity
	labels      labels.Labels
	scheduling  *scheduling.Scheduling
	personality *personality.Personality
	memory      *affinity.Memory
	cpus        *affinity.CPUs // of a process that joins

	// limitedByRuntime: the child is in a user namespace, where it lacks privileges
	// over the host that the runtime has. The runtime then sets the limits.
	limitedByRuntime bool
}

// newIdentity checks a process, and what linux says of the container's processes.
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
// /etc/passwd.
func (i *identity) home(open func() (io.ReadCloser, error)) error {
	return i.SetHome(func(uid uint32) (string, error) { return passwd.Home(uid, open) })
}

// become records who the process is, up to the point where only the program is
// missing. The current directory is the container's root.
func (i *identity) become(p *plan.Plan) {
	i.Session(p)
	i.WorkingDirectory(p)
	i.CloseDescriptors(p)
	i.limits(p)
	i.personality.Record(p)
	i.memory.Record(p)
	i.Credentials(p)
}

// limits records the resource limits and the scheduling.
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
