package seccomp

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestFeatures: what is listed is what a profile can have.
func TestFeatures(t *testing.T) {
	f := Features()
	if len(f.Actions) != 9 || len(f.Operators) != 7 || len(f.KnownFlags) != 4 {
		t.Errorf("Features() = %d actions, %d operators, %d flags; want 9, 7, 4", len(f.Actions), len(f.Operators), len(f.KnownFlags))
	}
	for _, name := range f.Actions {
		if _, err := returnOf(specs.LinuxSeccompAction(name), nil); err != nil {
			t.Errorf("action %s: %v", name, err)
		}
	}
	for _, name := range f.Operators {
		if _, err := conditionOf(specs.LinuxSeccompArg{Op: specs.LinuxSeccompOperator(name)}); err != nil {
			t.Errorf("operator %s: %v", name, err)
		}
	}
	for _, name := range f.KnownFlags {
		if _, err := flagOf(specs.LinuxSeccompFlag(name)); err != nil {
			t.Errorf("flag %s: %v", name, err)
		}
	}
	for _, name := range f.Archs {
		if _, err := archesOf("amd64", []specs.Arch{specs.Arch(name)}); err != nil {
			t.Errorf("architecture %s: %v", name, err)
		}
	}
	for _, name := range []string{"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"} { // Linux 4.17
		if !slices.Contains(f.SupportedFlags, name) {
			t.Errorf("SupportedFlags = %q, want %s among them", f.SupportedFlags, name)
		}
	}
	if supported(1 << 30) {
		t.Error("supported(1<<30) = true, want false: no kernel has that flag")
	}
}
