package rootfs

import (
	"slices"
	"testing"
)

// TestMountOptions: what is listed is known: none of it goes to the file system
// as data but what the kernel takes for every one.
func TestMountOptions(t *testing.T) {
	list := MountOptions()
	for _, name := range list {
		m := Mount{}
		if m.readOption(name); len(m.Options) > 0 && !slices.Contains(superblock, name) {
			t.Errorf("readOption(%q): options of the file system %q, want none", name, m.Options)
		}
	}
	for _, want := range []string{"ro", "rro", "rnosuid", "bind", "rbind", "rslave", "nosymfollow", "idmap", "tmpcopyup", "defaults"} {
		if !slices.Contains(list, want) {
			t.Errorf("MountOptions() = %q, want %q among them", list, want)
		}
	}
	if !slices.IsSorted(list) {
		t.Errorf("MountOptions() = %q, want them sorted", list)
	}
}
