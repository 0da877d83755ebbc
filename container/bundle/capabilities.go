package bundle

import (
	"fmt"
	"slices"
	"strings"

	"minirun/plan"
)

// defaultCapabilities are those that root has in a container of run IMAGE:
// Docker's fourteen. They let a package manager and a server work, and give no
// power over anything outside the container's namespaces.
var defaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// addDrop changes a list of capabilities as --cap-add and --cap-drop say: names
// with or without CAP_, in upper or lower case, or ALL. What is both added and
// dropped is dropped; but drop ALL only means to start with none.
func addDrop(list, add, drop []string) ([]string, error) {
	add, err := capabilityNames(add)
	if err != nil {
		return nil, err
	}
	if drop, err = capabilityNames(drop); err != nil {
		return nil, err
	}
	var kept []string
	for _, c := range plan.Capabilities {
		in := slices.Contains(list, c) && !slices.Contains(drop, "ALL") || slices.Contains(add, "ALL") || slices.Contains(add, c)
		if in && !slices.Contains(drop, c) {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// capabilityNames completes and checks capability names.
func capabilityNames(list []string) ([]string, error) {
	var full []string
	for _, c := range list {
		name := strings.ToUpper(c)
		if name != "ALL" {
			name = "CAP_" + strings.TrimPrefix(name, "CAP_")
			if !slices.Contains(plan.Capabilities, name) {
				return nil, fmt.Errorf("capability %q: no such capability", c)
			}
		}
		full = append(full, name)
	}
	return full, nil
}
