package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"minirun/namespaces"
	"minirun/plan"
	"minirun/process"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Exec starts one more process in a running container: born into its cgroup,
// in its namespaces, with an identity of its own. seccomp is the container's
// filter; nil for none.
func (c *Container) Exec(spec *specs.Process, seccomp *specs.LinuxSeccomp, o Options) (*plan.Process, error) {
	if !c.alive() || c.waiting() {
		return nil, fmt.Errorf("exec in %s: %w", c.ID, ErrNotRunning)
	}
	identity, err := process.New(spec, seccomp)
	if err != nil {
		return nil, err
	}
	pidfd, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("exec in %s: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	identity.Keep, identity.Outside = o.PreserveFDs, true
	if identity.NoSets, err = namespaces.SetgroupsDenied(c.Pid); err != nil {
		return nil, fmt.Errorf("exec in %s: %w", c.ID, err)
	}
	b := &builder{Container: c, spec: &specs.Spec{Process: spec, Linux: &specs.Linux{}}, options: o, identity: identity}
	p, err := b.enter(pidfd)
	if err != nil {
		return nil, b.explain(err)
	}
	return p, b.pidFile(p)
}

// open returns a pidfd that certainly refers to the container process.
func (c *Container) open() (int, error) {
	fd, err := unix.PidfdOpen(c.Pid, 0)
	if err != nil {
		return -1, err
	}
	if !c.alive() {
		unix.Close(fd)
		return -1, ErrNotRunning
	}
	return fd, nil
}

// joining starts a plan whose child is in the container's namespaces and
// cgroup. The container process is given as "container", a pidfd.
func (c *Container) joining(pidfd int) (*plan.Plan, *namespaces.Set, error) {
	set, err := namespaces.Of(c.Namespaces)
	if err != nil {
		return nil, nil, err
	}
	p := &plan.Plan{}
	p.On(plan.Runtime)
	clone := plan.Clone{PidFD: true}
	if c.Cgroup != "" {
		clone.Cgroup = p.Openat(plan.CWD, c.Cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	}
	set.Exec(p, plan.Given("container"), clone, namespaces.Host{Euid: os.Geteuid()})
	p.On(plan.Child)
	return p, set, nil
}

// enter writes and carries out the plan of a process that joins.
func (b *builder) enter(pidfd int) (*plan.Process, error) {
	p, set, err := b.joining(pidfd)
	if err != nil {
		return nil, err
	}
	b.namespaces = set
	if err := b.identity.Affinity(p); err != nil {
		return nil, err
	}
	if b.spec.Process.Terminal {
		p.Note("the terminal belongs to the container's devpts")
		b.identity.Terminal(p, p.Openat(plan.CWD, "/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0).As("ptmx"))
	} else {
		b.stdio(p)
	}
	b.identity.Early(p, procfs)
	b.identity.Become(p)
	p.Ready()
	b.identity.Exec(p)
	b.options.Look.Given = map[plan.Given]int{"container": pidfd}
	return b.start(p)
}

// procfs records a procfs of our own, attached nowhere.
func procfs(p *plan.Plan) plan.FD {
	fs := p.Fsopen("proc").As("fs")
	p.FsconfigCreate(fs)
	return p.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).As("procfs")
}

func (b *builder) pidFile(p *plan.Process) error {
	if b.options.PidFile == "" {
		return nil
	}
	return writeFile(b.options.PidFile, []byte(strconv.Itoa(p.Pid)), 0o644)
}

// Spec reads the container's config.json again: what exec starts from.
func (c *Container) Spec() (*specs.Spec, error) { return ReadSpec(filepath.Clean(c.Bundle)) }
