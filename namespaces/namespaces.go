package namespaces

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A kind is one of the eight.
type kind struct {
	name specs.LinuxNamespaceType // in a spec
	file string                   // in /proc/PID/ns
	flag uint64                   // CLONE_NEW…
	long string                   // option of unshare(1)
}

// kinds in the order in which they are joined: the user namespace first, since
// it decides what one may do to the others.
var kinds = []kind{
	{specs.UserNamespace, "user", unix.CLONE_NEWUSER, "--user"},
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID, "--pid"},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET, "--net"},
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC, "--ipc"},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS, "--uts"},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP, "--cgroup"},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME, "--time"},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS, "--mount"},
}

// A Set is the namespaces of one container.
type Set struct {
	spec   *specs.Spec
	fresh  uint64             // CLONE_NEW… flags of those to make
	paths  map[uint64]string  // of those to join
	opened map[uint64]plan.FD // the same, once recorded
}

// A Host is what must be known of the runtime to write the plan.
type Host struct {
	Euid int // effective user id; not 0: id maps may need newuidmap(1)
}

// New reads the namespaces of a spec and what depends on them. Errors name the
// property.
func New(spec *specs.Spec) (*Set, error) {
	s, err := Of(spec.Linux.Namespaces)
	if err != nil {
		return nil, err
	}
	s.spec = spec
	return s, errors.Join(s.checkUser(), s.checkNames(), s.checkTime(), s.checkSysctls())
}

// Of reads a list of namespaces.
func Of(list []specs.LinuxNamespace) (*Set, error) {
	s := &Set{spec: &specs.Spec{Linux: &specs.Linux{}}, paths: map[uint64]string{}, opened: map[uint64]plan.FD{}}
	var seen uint64
	for i, n := range list {
		k := slices.IndexFunc(kinds, func(k kind) bool { return k.name == n.Type })
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
	if s.fresh&unix.CLONE_NEWNS == 0 && s.paths[unix.CLONE_NEWNS] == "" {
		return nil, errors.New("linux.namespaces: no mount namespace: the container's mounts would be the host's")
	}
	return s, nil
}

// Has says whether the container has a namespace of a kind that is not the
// runtime's: a new one, or one that it joins.
func (s *Set) Has(name specs.LinuxNamespaceType) bool { return s.Makes(name) || s.joins(name) }

// Makes says whether the container gets a new namespace of a kind.
func (s *Set) Makes(name specs.LinuxNamespaceType) bool { return s.fresh&flag(name) != 0 }

func (s *Set) joins(name specs.LinuxNamespaceType) bool { return s.paths[flag(name)] != "" }

func flag(name specs.LinuxNamespaceType) uint64 {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })].flag
}

// Flags are those for clone3. Not CLONE_NEWTIME: the child would be in the new
// time namespace at once, and from then on its clocks cannot be set.
func (s *Set) Flags() uint64 { return s.fresh &^ unix.CLONE_NEWTIME }

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

func (s *Set) checkNames() error {
	switch {
	case s.spec.Hostname != "" && !s.Has(specs.UTSNamespace):
		return fmt.Errorf("hostname %q: no uts namespace: it would be the host's", s.spec.Hostname)
	case s.spec.Domainname != "" && !s.Has(specs.UTSNamespace):
		return fmt.Errorf("domainname %q: no uts namespace: it would be the host's", s.spec.Domainname)
	case len(s.spec.Hostname) > 64 || len(s.spec.Domainname) > 64:
		return errors.New("hostname: at most 64 bytes, as uname(2) has room for")
	}
	return nil
}

func (s *Set) checkTime() error {
	for clock := range s.spec.Linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("linux.timeOffsets %q: want monotonic or boottime", clock)
		}
		if !s.Makes(specs.TimeNamespace) {
			return errors.New("linux.timeOffsets: no new time namespace")
		}
	}
	return nil
}

// Before records how the runtime opens the namespaces that are joined, and
// checks that each is of its kind: a container that was to join a network must
// not end up in somebody's user namespace.
func (s *Set) Before(p *plan.Plan) {
	for _, k := range kinds {
		path, ok := s.paths[k.flag]
		if !ok {
			continue
		}
		fd := p.Openat(plan.CWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0).As(k.file + " namespace")
		p.Ioctl(fd, unix.NS_GET_NSTYPE, 0).Expect(int(k.flag), fmt.Errorf("%s is not a %s namespace: %w", path, k.name, unix.EINVAL))
		s.opened[k.flag] = fd
	}
	if fd, ok := s.opened[unix.CLONE_NEWPID]; ok {
		p.Note("joining a pid namespace moves no process, it is where the next child will be born")
		p.Setns(fd, unix.CLONE_NEWPID)
	}
}

// OnThread calls start on a thread of its own, if the runtime's steps change
// the thread that makes them; the thread ends with it.
func (s *Set) OnThread(start func() (*plan.Process, error)) (process *plan.Process, err error) {
	if !s.joins(specs.PIDNamespace) && !s.entering() {
		return start()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the goroutine's end is the thread's
		process, err = start()
	}()
	<-done
	return process, err
}

// entering says whether the set was used for Exec: then its namespaces are
// already there, whatever the spec said of making them.
func (s *Set) entering() bool { return s.opened[0] != nil }

// Enter records the child's first steps.
func (s *Set) Enter(p *plan.Plan, host Host) {
	if s.Makes(specs.UserNamespace) {
		p.Note("who is who: only from outside can it be said which users the new user namespace has")
		p.Gate("id maps", func() { s.writeMaps(p, host) })
	}
	for _, k := range kinds {
		if fd, ok := s.opened[k.flag]; ok && k.flag != unix.CLONE_NEWPID {
			p.Setns(fd, int(k.flag))
		}
	}
	if s.Has(specs.UserNamespace) {
		s.becomeRoot(p)
	}
	p.Note("from here on no process of the container can look into this one (ptrace, /proc), until execve")
	p.Prctl(unix.PR_SET_DUMPABLE, 0)
	s.clocks(p)
	if s.spec.Hostname != "" {
		p.Sethostname(s.spec.Hostname)
	}
	if s.spec.Domainname != "" {
		p.Setdomainname(s.spec.Domainname)
	}
	if s.Makes(specs.NetworkNamespace) {
		loopback(p)
	}
}

// becomeRoot records how the child becomes root of its user namespace. It has
// all capabilities there in any case; but the files that it makes should
// belong to somebody.
func (s *Set) becomeRoot(p *plan.Plan) {
	if s.joins(specs.UserNamespace) || mapped(0, s.spec.Linux.GIDMappings) {
		p.Setresgid(0)
	}
	if s.joins(specs.UserNamespace) || mapped(0, s.spec.Linux.UIDMappings) {
		p.Setresuid(0)
	}
}

func mapped(id uint32, list []specs.LinuxIDMapping) bool {
	return slices.ContainsFunc(list, func(m specs.LinuxIDMapping) bool { return overlap(id, 1, m.ContainerID, m.Size) })
}

// clocks records a new time namespace. The one who unshares it stays outside:
// the offsets must be set before the first process enters. execve enters.
func (s *Set) clocks(p *plan.Plan) {
	if !s.Makes(specs.TimeNamespace) {
		return
	}
	p.Note("a time namespace: its clocks are set before execve enters it")
	p.Unshare(unix.CLONE_NEWTIME)
	for clock, offset := range s.spec.Linux.TimeOffsets {
		f := p.Openat(plan.CWD, "/proc/self/timens_offsets", unix.O_WRONLY|unix.O_CLOEXEC, 0).As("timens_offsets")
		p.Write(f, fmt.Sprintf("%s %d %d\n", clock, offset.Secs, offset.Nanosecs))
		p.Close(f)
	}
}

// loopback records that the loopback device goes up: in a new network
// namespace it is there, but down.
func loopback(p *plan.Plan) {
	p.Note("a new network namespace has a loopback device, which is down")
	socket := p.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).As("socket")
	request := make([]byte, 40) // struct ifreq
	copy(request, "lo")
	binary.NativeEndian.PutUint16(request[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	p.IoctlMemory(socket, unix.SIOCSIFFLAGS, request, `{ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING}`).
		Shell("ip link set lo up")
	p.Close(socket)
}

// Exec records how a process joins a running container whose namespaces the
// set lists; container is a pidfd of its process. It ends with the clone3 that
// c describes.
func (s *Set) Exec(p *plan.Plan, container plan.FD, c plan.Clone, host Host) {
	s.opened[0] = container
	own := s.all()
	if own&unix.CLONE_NEWUSER != 0 && host.Euid != 0 {
		s.execNested(p, container, own, c)
		return
	}
	if own&unix.CLONE_NEWPID != 0 {
		p.Note("joining a pid namespace moves no process, it is where the next child will be born")
		p.Setns(container, unix.CLONE_NEWPID)
	}
	p.Clone3(c)
	p.On(plan.Child)
	p.Setns(container, int(own&^unix.CLONE_NEWPID))
	s.joined(p, own)
}

// execNested joins with a process in between: an ordinary user may join the
// pid namespace only from within the user namespace, and a process with
// threads, as ours is, may not join a user namespace. The process in between
// is no parent of the new one; we are.
func (s *Set) execNested(p *plan.Plan, container plan.FD, own uint64, c plan.Clone) {
	c.PidFD = false
	cgroup := c.Cgroup
	c.Cgroup = nil
	p.Note("a process without threads, which may join the user namespace, and with it the rest")
	p.Clone3(plan.Clone{Cgroup: cgroup})
	p.On(plan.Monitor)
	p.Setns(container, int(own))
	c.Flags |= unix.CLONE_PARENT
	p.Clone3(c).Reported()
	p.CloseRange(plan.Num(0), 0, nil)
	p.ExitGroup(0)
	p.On(plan.Child)
	s.joined(p, own)
}

// joined records what follows in the child.
func (s *Set) joined(p *plan.Plan, own uint64) {
	if own&unix.CLONE_NEWUSER != 0 {
		p.Setresgid(0)
		p.Setresuid(0)
	}
	p.Note("from here on no process of the container can look into this one (ptrace, /proc), until execve")
	p.Prctl(unix.PR_SET_DUMPABLE, 0)
}

// all are the flags of every namespace that is not the runtime's.
func (s *Set) all() uint64 {
	flags := s.fresh
	for f := range s.paths {
		flags |= f
	}
	return flags
}

func idMap(m []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, l := range m {
		b.WriteString(strconv.FormatUint(uint64(l.ContainerID), 10) + " " + strconv.FormatUint(uint64(l.HostID), 10) + " " + strconv.FormatUint(uint64(l.Size), 10) + "\n")
	}
	return b.String()
}
