package main

import (
	"fmt"
	"strings"
)

// wrongImports are the imports that point up or sideways:
//
//	cmd → container → namespaces, cgroups, rootfs, process → plan
//
// The four in the middle do not know each other. A package at the top does not
// know its own annexes, but for container, which calls them all; an annex knows
// its own room's top and plan's (but those of plan know each other).
func (h house) wrongImports() (wrong []string) {
	for _, p := range h {
		for _, to := range p.imports {
			if !allowed(p.dir, to) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s", p.dir, to))
			}
		}
	}
	return wrong
}

// allowed says whether a package may import another one. Both are folders from
// the project's root.
func allowed(from, to string) bool {
	room, annex, _ := strings.Cut(from, "/")
	toRoom, toAnnex, _ := strings.Cut(to, "/")
	switch {
	case !isRoom(toRoom):
		return false // cmd or examples
	case room == "container":
		return true // Go itself refuses circles
	case toRoom == "plan" && toAnnex == "":
		return true
	case room == "plan" && toRoom == "plan" && annex != "":
		return true // to watch a plan is to print it
	case toRoom != room || annex == "":
		return false
	}
	// an annex, of its own room: the top, or what is further below
	return toAnnex == "" || strings.HasPrefix(to, from+"/")
}

func isRoom(name string) bool {
	for _, r := range rooms {
		if r == name {
			return true
		}
	}
	return false
}
