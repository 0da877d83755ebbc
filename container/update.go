package container

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
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
	if err := c.limitUnit(r); err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	if err := c.group().Update(r); err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	if r.Memory == nil || r.Memory.Limit == nil && r.Memory.Swap == nil {
		return nil
	}
	c.MemorySwap = memorySwap(r)
	return c.save()
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
	if err := c.Class.Update(schemata); err != nil {
		return fmt.Errorf("update %s: %w", c.ID, err)
	}
	return nil
}
