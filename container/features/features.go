// Package features says what a config.json can ask of minirun: minirunc features.
package features

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go/features"

	"minirun/cgroups/systemd"
	"minirun/namespaces"
	"minirun/plan"
	"minirun/process/affinity"
	"minirun/process/seccomp"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// All is the runtime-spec's list of what a config.json can ask for (features.md).
// It is about the program; what the machine can do, minirun doctor says.
func All() *features.Features {
	return &features.Features{
		OCIVersionMin: "1.0.0", OCIVersionMax: specs.Version,
		MountOptions: rootfs.MountOptions(),
		Hooks:        []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},

		PotentiallyUnsafeConfigAnnotations: []string{systemd.Annotation},
		Linux: &features.Linux{
			Namespaces: namespaceNames(), Capabilities: plan.Capabilities,
			Cgroup:  &features.Cgroup{V1: new(false), V2: new(true), Systemd: new(true), SystemdUser: new(true), Rdma: new(true)},
			Seccomp: seccomp.Features(),

			Apparmor: &features.Apparmor{Enabled: new(true)}, Selinux: &features.Selinux{Enabled: new(true)},
			IntelRdt:        &features.IntelRdt{Enabled: new(true), Schemata: new(true), Monitoring: new(true)},
			MemoryPolicy:    affinity.MemoryFeatures(),
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: new(true)}},
			NetDevices:      &features.NetDevices{Enabled: new(true)},
		},
	}
}

// namespaceNames are the kinds of namespaces, sorted.
func namespaceNames() (list []string) {
	for _, k := range namespaces.Kinds {
		list = append(list, string(k.Name))
	}
	slices.Sort(list)
	return list
}
