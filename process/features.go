package process

import (
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// MemoryPolicy says which modes and flags of set_mempolicy(2) a spec can ask for.
func MemoryPolicy() *features.MemoryPolicy {
	return &features.MemoryPolicy{Modes: keys(memoryModes), Flags: keys(memoryFlags)}
}

// keys are those of a table, sorted.
func keys[K ~string, V any](table map[K]V) (list []string) {
	for _, k := range slices.Sorted(maps.Keys(table)) {
		list = append(list, string(k))
	}
	return list
}
