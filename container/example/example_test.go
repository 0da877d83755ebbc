package example

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestThrottling: the processors that exist and have it, and nothing else.
func TestThrottling(t *testing.T) {
	sysfs := t.TempDir()
	for _, dir := range []string{"cpu0/thermal_throttle", "cpu1/topology", "cpu12/thermal_throttle", "cpufreq/thermal_throttle"} {
		if err := os.MkdirAll(filepath.Join(sysfs, "devices/system/cpu", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/sys/devices/system/cpu/cpu0/thermal_throttle", "/sys/devices/system/cpu/cpu12/thermal_throttle"}
	if got := Throttling(sysfs); !slices.Equal(got, want) {
		t.Errorf("Throttling = %q, want %q", got, want)
	}
	if got := Throttling(sysfs + "/none"); len(got) > 0 {
		t.Errorf("Throttling without a sysfs = %q", got)
	}
}

// TestMaskedPaths: what Docker has masked since its advisories GHSA-6fw5-f8r9-fgfm and
// GHSA-jq35-85cj-fj4p is masked.
func TestMaskedPaths(t *testing.T) {
	for _, path := range []string{"/proc/interrupts", "/sys/devices/virtual/powercap"} {
		if !slices.Contains(MaskedPaths, path) {
			t.Errorf("%s is not masked", path)
		}
	}
}
