// Package attacks carries out published attacks on container runtimes, against
// minirun, and asks a probe in a container what it can do to the host.
//
//	make attacks    both, with a table of each
//
// An attack is a fixture: one function, a line in the table of fixtures_test.go
// that names the vulnerability and the naive runtime that would have it, and a
// hostile program (package probe) or configuration. After each, the host must
// be what it was: see canary_test.go, which is itself tested by harming it.
//
// The probe (package probe) tries some thirty things, none of which harms even
// a host that lets it. The matrix in matrix_test.go runs it with all layers of
// a container, without each, and with each alone; SECURITY.md shows it.
//
// A few are carried out by tests of the packages that they are aimed at: they are
// in the table, and make attacks runs them. Not here: what has no counterpart
// in minirun (checkpoint and restore, krun's and passt's files, OCI hooks of
// others, BuildKit).
//
// The tests run in namespaces of their own (pid, mount, network, ipc, uts,
// cgroup): the host that is attacked is one that they made, with its files in a
// tmpfs.
package attacks
