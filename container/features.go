package container

import (
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"minirun/cgroups/systemd"
	"minirun/namespaces"
	"minirun/plan"
	"minirun/process"
	"minirun/process/seccomp"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Features says what a config.json can ask of us (runtime-spec, features.md).
// It speaks of the program, not of the machine: that is what doctor is for.
func Features() *features.Features {
	f := &features.Features{
		OCIVersionMin: "1.0.0", OCIVersionMax: specs.Version,
		MountOptions: rootfs.MountOptions(),

		PotentiallyUnsafeConfigAnnotations: []string{systemd.Annotation},
		Linux: &features.Linux{
			Namespaces: namespaces.Names(), Capabilities: plan.Capabilities,
			Cgroup:  &features.Cgroup{V1: new(false), V2: new(true), Systemd: new(true), SystemdUser: new(true), Rdma: new(true)},
			Seccomp: seccomp.Features(),

			Apparmor: &features.Apparmor{Enabled: new(true)}, Selinux: &features.Selinux{Enabled: new(true)},
			IntelRdt:        &features.IntelRdt{Enabled: new(true), Schemata: new(true), Monitoring: new(true)},
			MemoryPolicy:    process.MemoryPolicy(),
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: new(true)}},
			NetDevices:      &features.NetDevices{Enabled: new(true)},
		},
	}
	for _, at := range points {
		f.Hooks = append(f.Hooks, at.kind)
	}
	return f
}
