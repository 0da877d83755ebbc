// Package update changes the limits of a container that runs: minirunc update.
package update

import (
	"errors"
	"fmt"

	"minirun/cgroups/resources"
	"minirun/cgroups/systemd"
	"minirun/container"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Resources changes the limits of a container. What r does not mention stays as
// it is. So do the rules for devices, whatever r says of them: engines send them
// along, and runc leaves them alone too. c must be locked.
//
// memory.swap of the runtime-spec counts memory and swap together, while cgroup v2
// counts swap alone. To keep the sum as it is, a new memory.limit changes how much of
// the sum is left for swap. The kernel does not know the sum, so the state keeps it.
func Resources(c *container.Container, r *specs.LinuxResources) error {
	switch s, err := c.Status(); {
	case err != nil:
		return fmt.Errorf("update %s: %w", c.ID, err)
	case s == specs.StateStopped || s == specs.StateCreating:
		return fmt.Errorf("update %s: container is %s: %w", c.ID, s, container.ErrNotRunning)
	}
	sum, err := memorySwap(c)
	if err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	r = keepSum(sum, r)
	if err := limit(c, r); err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	if r.Memory == nil || r.Memory.Limit == nil && r.Memory.Swap == nil {
		return nil
	}
	sum = asked(r)
	c.MemorySwap = &sum
	return c.Save()
}

// limit writes and carries out the plan of an update. It has no undo: if the kernel
// refuses a limit, those before it stay.
func limit(c *container.Container, r *specs.LinuxResources) error {
	group, err := c.Group()
	if err != nil {
		return err
	} else if group == nil {
		return errors.New("it has no cgroup of its own to limit")
	}
	limits, err := resources.Change(group, r)
	if err != nil || len(limits) == 0 {
		return err
	}
	p := &plan.Plan{}
	if c.Unit != "" {
		(&systemd.Unit{Name: c.Unit, User: c.UserUnit}).Update(p, group, limits)
	}
	if err := group.Update(p, limits); err != nil {
		return err
	}
	_, err = p.Start(plan.Options{Notation: print.Step})
	return err
}

// memorySwap is the sum of memory and swap as it was last asked for, by an update
// or by config.json; 0 if it was not.
func memorySwap(c *container.Container) (int64, error) {
	if c.MemorySwap != nil {
		return *c.MemorySwap, nil
	}
	spec, err := c.Spec()
	if err != nil {
		return 0, err
	}
	return asked(spec.Linux.Resources), nil
}

// asked is resources.memory.swap, or 0.
func asked(r *specs.LinuxResources) int64 {
	if r == nil || r.Memory == nil || r.Memory.Swap == nil {
		return 0
	}
	return *r.Memory.Swap
}

// keepSum adds the sum to r if r has a new limit for memory alone.
func keepSum(sum int64, r *specs.LinuxResources) *specs.LinuxResources {
	if r.Memory == nil || r.Memory.Limit == nil || *r.Memory.Limit <= 0 || sum == 0 || asked(r) != 0 {
		return r
	}
	with, memory := *r, *r.Memory
	memory.Swap, with.Memory = &sum, &memory
	return &with
}

// Schemata changes the container's shares of the processors' caches and memory
// bandwidth: lines for resctrl's schemata. c must be locked.
func Schemata(c *container.Container, lines []string) error {
	p := &plan.Plan{}
	err := c.Class.Update(p, lines, c.Mark)
	if err == nil {
		_, err = p.Start(plan.Options{Notation: print.Step})
	}
	if err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	return nil
}
