package namespaces

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file says which namespaces there are and reads them from a spec;
// join.go records how the container process gets into them.

// A kind is one of the eight.
type kind struct {
	name  specs.LinuxNamespaceType // in a spec
	file  string                   // in /proc/PID/ns
	flag  uint64                   // CLONE_NEW…
	long  string                   // option of unshare(1)
	early bool                     // a thread of the runtime's can join it, for its child
}

// kinds in the order in which they are joined: mounts last, since with them
// goes the host's /proc.
var kinds = []kind{
	{specs.UserNamespace, "user", unix.CLONE_NEWUSER, "--user", false},
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID, "--pid", true},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET, "--net", true},
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC, "--ipc", true},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS, "--uts", true},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP, "--cgroup", false},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME, "--time", false},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS, "--mount", false},
}

// A Set is the namespaces of one container. It is recorded once.
type Set struct {
	spec   *specs.Spec
	fresh  uint64                // CLONE_NEW… flags of those to make
	paths  map[uint64]string     // of those to join
	ours   uint64                // those of them that are the runtime's own, and so the host's
	needed map[uint64]string     // for which property it must not be: see needs
	opened map[uint64]*plan.Step // those to join, once recorded
	thread bool                  // recorded steps change the runtime's thread
	moved  bool                  // see Moved
}

// A Host is what must be known of the runtime to write the plan.
type Host struct {
	Euid     int  // effective user id; not 0: id maps may need newuidmap(1)
	Confined bool // root, but of a user namespace: what belongs to the host it can leave, and never join again
	NoSets   bool // confined, and setgroups(2) is denied to us ourselves

	// Ours says whether a path is the runtime's own namespace of a kind: see
	// [Ours]. nil: none is.
	Ours func(path string, name specs.LinuxNamespaceType) bool
}

// Ours says whether a path is the namespace that the runtime itself is in. There
// are many for one: /proc/self/ns/net, /proc/1/ns/net, what somebody mounted on
// a file. The number of the file tells (namespaces(7)). Of what cannot be looked
// at it is not known; that cannot be joined either.
func Ours(path string, name specs.LinuxNamespaceType) bool {
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil {
		return false
	}
	same, err := isOwn(s, kinds[index(name)])
	return same && err == nil
}

// isOwn compares with the namespace of the calling thread.
func isOwn(s unix.Stat_t, k kind) (bool, error) {
	var own unix.Stat_t
	if err := unix.Stat(ownPath(k), &own); err != nil {
		return false, fmt.Errorf("stat %s: %w", ownPath(k), err)
	}
	return s.Dev == own.Dev && s.Ino == own.Ino, nil
}

func ownPath(k kind) string { return "/proc/thread-self/ns/" + k.file }

// New reads the namespaces of a spec, and what depends on them: id maps, names,
// clocks, kernel parameters. Errors name the property.
func New(spec *specs.Spec, host Host) (*Set, error) {
	if spec.Linux == nil {
		return nil, errors.New("linux: missing")
	}
	s, err := Of(spec.Linux.Namespaces)
	if err != nil {
		return nil, err
	}
	s.spec = spec
	for _, k := range kinds {
		if path := s.paths[k.flag]; path != "" && host.Ours != nil && host.Ours(path, k.name) {
			s.ours |= k.flag
		}
	}
	if err := errors.Join(s.checkUser(), s.checkMounts(), s.checkNames(), s.checkTime(), s.checkSysctls(), s.checkDevices()); err != nil {
		return nil, err
	}
	return s, nil
}

// Of reads a list of namespaces alone: those of a container that is there already.
func Of(list []specs.LinuxNamespace) (*Set, error) {
	s := &Set{spec: &specs.Spec{Linux: &specs.Linux{}}, paths: map[uint64]string{}, needed: map[uint64]string{}, opened: map[uint64]*plan.Step{}}
	var seen uint64
	for i, n := range list {
		k := index(n.Type)
		switch {
		case k < 0:
			return nil, fmt.Errorf("linux.namespaces[%d].type %q: no such namespace", i, n.Type)
		case seen&kinds[k].flag != 0:
			return nil, fmt.Errorf("linux.namespaces[%d].type %q: given twice", i, n.Type)
		case n.Path == "":
			s.fresh |= kinds[k].flag
		case !filepath.IsAbs(n.Path):
			return nil, fmt.Errorf("linux.namespaces[%d].path %q: not an absolute path", i, n.Path)
		default:
			s.paths[kinds[k].flag] = n.Path
		}
		seen |= kinds[k].flag
	}
	return s, nil
}

// Has says whether the container has a namespace of a kind that is not the
// runtime's: a new one, or one that it joins.
func (s *Set) Has(name specs.LinuxNamespaceType) bool {
	return s.Makes(name) || s.joins(name) && s.ours&bit(name) == 0
}

// needs is the error of a property that changes what is in a namespace, if the
// container has none of that kind but the host's. If it has, [Set.Before] makes
// sure of it once more: by then a path may lead elsewhere.
func (s *Set) needs(name specs.LinuxNamespaceType, property string) error {
	switch {
	case !s.Has(name) && s.joins(name):
		return oursError(property, s.paths[bit(name)], name)
	case !s.Has(name):
		return fmt.Errorf("%s: no %s namespace", property, name)
	}
	s.needed[bit(name)] = property
	return nil
}

func oursError(property, path string, name specs.LinuxNamespaceType) error {
	return fmt.Errorf("%s: %s is the host's own %s namespace", property, path, name)
}

// Makes says whether the container gets a new namespace of a kind.
func (s *Set) Makes(name specs.LinuxNamespaceType) bool { return s.fresh&bit(name) != 0 }

// Between says whether the container process is born of a process in between
// (see [Set.Clone]): then the runtime gets to know its id only at a gate.
func (s *Set) Between(host Host) bool {
	return s.joins(specs.UserNamespace) || host.Confined && len(s.paths) > 0
}

func (s *Set) joins(name specs.LinuxNamespaceType) bool { return s.paths[bit(name)] != "" }

func bit(name specs.LinuxNamespaceType) uint64 { return kinds[index(name)].flag }

// index is a kind's place in kinds; -1 if there is no such kind.
func index(name specs.LinuxNamespaceType) int {
	return slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
}

// Moved says that the child is not born in its cgroup, but moved there while it
// waits at a gate: a cgroup namespace comes after that ([Set.Settle]), since it
// begins at the group in which it is made. To be called before Clone.
func (s *Set) Moved() { s.moved = true }

// flags are those for clone3. Not CLONE_NEWTIME: the child would be in the new
// time namespace at once, and from then on its clocks cannot be set.
func (s *Set) flags() uint64 {
	flags := s.fresh &^ unix.CLONE_NEWTIME
	if s.moved {
		flags &^= unix.CLONE_NEWCGROUP
	}
	return flags
}

// Unshare is the command that makes the same namespaces.
func (s *Set) Unshare() string {
	words := []string{"unshare"}
	for _, k := range kinds {
		if s.fresh&k.flag != 0 {
			words = append(words, k.long)
		}
	}
	return strings.Join(append(words, "--fork"), " ")
}

func (s *Set) checkUser() error {
	l := s.spec.Linux
	if len(l.UIDMappings)+len(l.GIDMappings) > 0 && !s.Has(specs.UserNamespace) {
		return errors.New("linux.uidMappings: no user namespace to map ids in")
	}
	if s.Has(specs.UserNamespace) && !s.Has(specs.MountNamespace) {
		return errors.New("linux.namespaces: a user namespace but no mount namespace: its root may mount nothing in the host's")
	}
	if s.Makes(specs.UserNamespace) && (len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0) {
		return errors.New("linux.uidMappings: a new user namespace needs mappings of users and groups")
	}
	return errors.Join(checkMap("uidMappings", l.UIDMappings), checkMap("gidMappings", l.GIDMappings))
}

// checkMap refuses what the kernel would refuse with no more than EINVAL.
func checkMap(name string, m []specs.LinuxIDMapping) error {
	const most = 340 // user_namespaces(7)
	if len(m) > most {
		return fmt.Errorf("linux.%s: %d lines, of at most %d", name, len(m), most)
	}
	for i, a := range m {
		if a.Size == 0 || uint64(a.ContainerID)+uint64(a.Size) > 1<<32-1 || uint64(a.HostID)+uint64(a.Size) > 1<<32-1 {
			return fmt.Errorf("linux.%s[%d].size %d: want 1 or more, and no id above 4294967294", name, i, a.Size)
		}
		for _, b := range m[:i] {
			if overlap(a.ContainerID, a.Size, b.ContainerID, b.Size) || overlap(a.HostID, a.Size, b.HostID, b.Size) {
				return fmt.Errorf("linux.%s[%d]: overlaps an earlier one", name, i)
			}
		}
	}
	return nil
}

func overlap(a, n, b, m uint32) bool {
	return uint64(a) < uint64(b)+uint64(m) && uint64(b) < uint64(a)+uint64(n)
}

// checkMounts refuses to join the host's mount namespace: what is mounted for
// the container would be for all, and pivot_root would change everybody's root.
// Without one in the spec, the container shares the host's mounts harmlessly.
func (s *Set) checkMounts() error {
	if !s.joins(specs.MountNamespace) {
		return nil
	}
	if err := s.needs(specs.MountNamespace, "linux.namespaces"); err != nil {
		return fmt.Errorf("%w: its root would be changed", err)
	}
	return nil
}

func (s *Set) checkNames() error {
	for _, n := range []struct{ property, value string }{{"hostname", s.spec.Hostname}, {"domainname", s.spec.Domainname}} {
		if n.value == "" {
			continue
		}
		property := fmt.Sprintf("%s %q", n.property, n.value)
		if err := s.needs(specs.UTSNamespace, property); err != nil {
			return fmt.Errorf("%w: it would be the host's", err)
		}
		if len(n.value) > 64 {
			return fmt.Errorf("%s: longer than the 64 bytes that uname(2) has room for", property)
		}
	}
	return nil
}

func (s *Set) checkTime() error {
	for clock, offset := range s.spec.Linux.TimeOffsets {
		switch {
		case clock != "monotonic" && clock != "boottime":
			return fmt.Errorf("linux.timeOffsets %q: want monotonic or boottime", clock)
		case offset.Nanosecs >= 1e9:
			return fmt.Errorf("linux.timeOffsets.%s.nanosecs %d: a second or more", clock, offset.Nanosecs)
		case !s.Makes(specs.TimeNamespace):
			return errors.New("linux.timeOffsets: no new time namespace")
		}
	}
	return nil
}

// InitialUser says whether this process is in the user namespace that the kernel
// began with: only there is root the host's. That has always the same number
// (include/linux/proc_ns.h, PROC_USER_INIT_INO). Without /proc we are.
func InitialUser() bool {
	var s unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &s) != nil || s.Ino == 0xEFFFFFFD
}
