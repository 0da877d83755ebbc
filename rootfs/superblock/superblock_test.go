package superblock

import (
	"slices"
	"testing"
)

// TestSplit: options as mount(2) takes them.
func TestSplit(t *testing.T) {
	for options, want := range map[string][]string{
		"":                        nil,
		",,":                      nil,
		"size=1m":                 {"size=1m"},
		"size=1m,mode=700,noswap": {"size=1m", "mode=700", "noswap"},
		`context="system_u:object_r:x:s0:c1,c2",size=1m`: {"context=system_u:object_r:x:s0:c1,c2", "size=1m"},
		`a="b`: {"a=b"},
	} {
		if got := split(options); !slices.Equal(got, want) {
			t.Errorf("split(%q) = %q, want %q", options, got, want)
		}
	}
}

// TestHas: the last word counts.
func TestHas(t *testing.T) {
	for want, list := range map[bool][][]string{
		true:  {{"iversion"}, {"noiversion", "ro", "iversion"}},
		false: {nil, {"noiversion"}, {"iversion", "noiversion"}, {"version"}},
	} {
		for _, options := range list {
			if got := has(options, "iversion"); got != want {
				t.Errorf("has(%q) = %t, want %t", options, got, want)
			}
		}
	}
}
