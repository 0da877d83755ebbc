package namespaces

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file says which namespaces there are and reads them from a spec; steps.go
// records how the container process gets new ones.

// A Kind is one of the eight kinds of namespace.
type Kind struct {
	Name specs.LinuxNamespaceType // in a spec
	File string                   // in /proc/PID/ns
	Flag uint64                   // CLONE_NEW…, for clone3, unshare and setns
}

// Kinds are listed in the order in which they are joined: the mount namespace
// last, because with it a process leaves the host's /proc.
var Kinds = []Kind{
	{specs.UserNamespace, "user", unix.CLONE_NEWUSER},
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET},
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS},
}

// A Set is the namespaces of one container. Its steps are recorded once.
type Set struct {
	spec  *specs.Spec
	facts plan.Facts
	made  uint64 // CLONE_NEW… flags of the new ones

	// Of the joined ones:
	paths   map[specs.LinuxNamespaceType]string
	hosts   map[specs.LinuxNamespaceType]bool   // true: it is the runtime's own, and so the host's
	changes map[specs.LinuxNamespaceType]string // the property of the spec that changes it: see Require

	cgroupLater bool // see DeferCgroup
}

// New reads the namespaces of a spec, and its id maps and names. Errors name the
// property. isHosts says whether a path is the runtime's own namespace of a kind,
// which is the host's; nil means that none is.
func New(spec *specs.Spec, facts plan.Facts, isHosts func(path string, kind Kind) bool) (*Set, error) {
	if spec.Linux == nil {
		return nil, errors.New("linux: missing")
	}
	s, err := List(spec.Linux.Namespaces)
	if err != nil {
		return nil, err
	}
	s.spec, s.facts = spec, facts
	for _, k := range Kinds {
		s.hosts[k.Name] = s.Joins(k.Name) && isHosts != nil && isHosts(s.paths[k.Name], k)
	}
	if err := errors.Join(s.checkUser(), s.checkNames()); err != nil {
		return nil, err
	}
	return s, nil
}

// List reads a list of namespaces alone, such as that of a running container.
func List(list []specs.LinuxNamespace) (*Set, error) {
	s := &Set{
		spec:  &specs.Spec{Linux: &specs.Linux{}},
		paths: map[specs.LinuxNamespaceType]string{}, hosts: map[specs.LinuxNamespaceType]bool{}, changes: map[specs.LinuxNamespaceType]string{},
	}
	for i, n := range list {
		flag := flagOf(n.Type)
		switch {
		case flag == 0:
			return nil, fmt.Errorf("linux.namespaces[%d].type %q: no such namespace", i, n.Type)
		case s.Makes(n.Type) || s.Joins(n.Type):
			return nil, fmt.Errorf("linux.namespaces[%d].type %q: given twice", i, n.Type)
		case n.Path == "":
			s.made |= flag
		case !filepath.IsAbs(n.Path):
			return nil, fmt.Errorf("linux.namespaces[%d].path %q: not an absolute path", i, n.Path)
		default:
			s.paths[n.Type] = n.Path
		}
	}
	return s, nil
}

// flagOf is the CLONE_NEW… flag of a kind; 0 if there is no such kind.
func flagOf(name specs.LinuxNamespaceType) uint64 {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return 0
	}
	return Kinds[i].Flag
}

// Makes says whether the container gets a new namespace of a kind.
func (s *Set) Makes(name specs.LinuxNamespaceType) bool { return s.made&flagOf(name) != 0 }

// Joins says whether the container joins an existing namespace of a kind.
func (s *Set) Joins(name specs.LinuxNamespaceType) bool { return s.paths[name] != "" }

// Path is the file of the namespace that the container joins; "" if it joins none
// of this kind.
func (s *Set) Path(name specs.LinuxNamespaceType) string { return s.paths[name] }

// Has says whether the container has a namespace of a kind that is not the
// host's: a new one, or one that it joins.
func (s *Set) Has(name specs.LinuxNamespaceType) bool {
	return s.Makes(name) || s.Joins(name) && !s.hosts[name]
}

// Require is for a property of the spec that changes something in a namespace. It
// returns an error if the container has no namespace of that kind but the
// host's, because then the host would be changed.
func (s *Set) Require(name specs.LinuxNamespaceType, property string) error {
	s.changes[name] = property
	switch {
	case s.Has(name):
		return nil
	case s.Joins(name):
		return s.HostsError(name)
	}
	return fmt.Errorf("%s: no %s namespace", property, name)
}

// HostsError is the failure of a container that changes something in the
// namespace that it joins, if that turns out to be the host's. It is nil for a
// container that changes nothing there: that one may join the host's.
func (s *Set) HostsError(name specs.LinuxNamespaceType) error {
	property, ok := s.changes[name]
	if !ok {
		return nil
	}
	return fmt.Errorf("%s: %s is the host's own %s namespace", property, s.paths[name], name)
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
	return errors.Join(IDMap(l.UIDMappings).check("uidMappings"), IDMap(l.GIDMappings).check("gidMappings"))
}

func (s *Set) checkNames() error {
	for _, n := range []struct{ property, value string }{{"hostname", s.spec.Hostname}, {"domainname", s.spec.Domainname}} {
		if n.value == "" {
			continue
		}
		property := fmt.Sprintf("%s %q", n.property, n.value)
		if err := s.Require(specs.UTSNamespace, property); err != nil {
			return fmt.Errorf("%w: it would be the host's", err)
		}
		if len(n.value) > 64 {
			return fmt.Errorf("%s: longer than the 64 bytes that uname(2) has room for", property)
		}
	}
	return nil
}

// InitialUser says whether this process is in the initial user namespace, the
// only one whose root has privileges over the host. Its inode number is always the same
// (include/linux/proc_ns.h, PROC_USER_INIT_INO). Without /proc the answer is yes.
func InitialUser() bool {
	var s unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &s) != nil || s.Ino == 0xEFFFFFFD
}

// SetgroupsDenied says whether setgroups(2) is forbidden in the user namespace of
// a process, as it is in one that an ordinary user has made alone
// (user_namespaces(7)).
func SetgroupsDenied(pid int) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/setgroups", pid))
	return string(text) == "deny\n", err
}
