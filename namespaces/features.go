package namespaces

import "slices"

// Names are the namespaces that a spec can ask for, sorted.
func Names() (list []string) {
	for _, k := range kinds {
		list = append(list, string(k.name))
	}
	slices.Sort(list)
	return list
}
