package cgroups

import "time"

// What the tests in package cgroups_test, which use package grouptest, need of
// the inside.

var (
	Mounts  = readMounts
	V1Mount = v1Mount
	Words   = readWords
	Pids    = readPids
	Line    = write
)

func (g *Group) WaitFor(event string, want uint64) error {
	return g.waitFor(event, want, 10*time.Second)
}
