package process

import (
	"fmt"
	"slices"
	"strings"

	"minirun/plan"
)

// DefaultCapabilities are those that run IMAGE leaves to root in a container:
// Docker's fourteen. They let a package manager and a server work, and touch
// nothing that has no namespace.
var DefaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// AddDrop changes a list of capabilities as --cap-add and --cap-drop say: names
// with or without CAP_, in upper or lower case, or ALL. What is both added and
// dropped is dropped; but drop ALL only means to start with none.
func AddDrop(list, add, drop []string) ([]string, error) {
	add, err := names(add)
	if err != nil {
		return nil, err
	}
	if drop, err = names(drop); err != nil {
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

// names completes and checks capability names.
func names(list []string) ([]string, error) {
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
