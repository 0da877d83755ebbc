package container

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/cgroups/resources"
	"minirun/plan"
)

// Update changes the limits of a container; what r does not mention stays as it
// is, and so do the rules for devices, whatever r says of them. c must be locked.
//
// memory.swap counts memory as well, while cgroup v2 counts swap alone. To keep
// the sum as it is, a new memory.limit changes what is left of it for swap, and
// for that the sum is remembered.
func (c *Container) Update(r *specs.LinuxResources) error {
	switch s, err := c.Status(); {
	case err != nil:
		return fmt.Errorf("update %s: %w", c.ID, err)
	case s == specs.StateStopped || s == specs.StateCreating:
		return fmt.Errorf("update %s: container is %s: %w", c.ID, s, ErrNotRunning)
	case c.Cgroup == "":
		return fmt.Errorf("update %s: it has no cgroup of its own to limit", c.ID)
	}
	r = c.keepSum(r)
	if err := c.limit(r); err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	if r.Memory == nil || r.Memory.Limit == nil && r.Memory.Swap == nil {
		return nil
	}
	c.MemorySwap = memorySwap(r)
	return c.save()
}

// limit writes and carries out the plan of an update. It has no undo: if the kernel
// refuses a limit, those before it stay.
func (c *Container) limit(r *specs.LinuxResources) error {
	limits, err := resources.Change(c.group(), r)
	if err != nil || len(limits) == 0 {
		return err
	}
	p := &plan.Plan{}
	if u := c.systemd(); u != nil {
		u.Update(p, limits)
	}
	if err := c.group().Update(p, limits); err != nil {
		return err
	}
	_, err = p.Start(plan.Options{})
	return err
}

// keepSum adds the remembered sum where r has a new limit for memory alone.
func (c *Container) keepSum(r *specs.LinuxResources) *specs.LinuxResources {
	if r.Memory == nil || r.Memory.Limit == nil || *r.Memory.Limit <= 0 || c.MemorySwap == 0 || memorySwap(r) != 0 {
		return r
	}
	with, memory := *r, *r.Memory
	memory.Swap, with.Memory = &c.MemorySwap, &memory
	return &with
}

// memorySwap is resources.memory.swap, or 0.
func memorySwap(r *specs.LinuxResources) int64 {
	if r == nil || r.Memory == nil || r.Memory.Swap == nil {
		return 0
	}
	return *r.Memory.Swap
}

// Share changes the container's shares of the processors' caches and memory
// bandwidth: lines for resctrl's schemata. c must be locked.
func (c *Container) Share(schemata []string) error {
	p := &plan.Plan{}
	err := c.Class.Update(p, schemata)
	if err == nil {
		_, err = p.Start(plan.Options{})
	}
	if err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	return nil
}
