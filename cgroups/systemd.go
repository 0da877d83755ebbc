package cgroups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file asks systemd for a group, over D-Bus (org.freedesktop.systemd1(5)):
//
//	runtime                                              systemd
//	StartTransientUnit("minirun-web.scope", …, PIDs) ->  queues a job
//	                                                 <-  the job's path
//	                                                     makes the group, moves the processes into it
//	                                                 <-  signal JobRemoved(job, "done")
//
// A scope begins with processes that are there. So the container process is
// cloned in the runtime's group, and waits at a gate until systemd has moved it.
// Its cgroup namespace comes after that: it begins at the group in which it is made.

// patient is how long systemd may take for a job.
const patient = 30 * time.Second

// ErrNoSystemd says that there is no systemd to ask.
var ErrNoSystemd = errors.New("systemd does not run here")

// Booted says why there is no systemd, if there is none (sd_booted(3)).
func Booted() error {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoSystemd, err)
	}
	return nil
}

// FindSystemd returns the group below which systemd makes those of its units,
// as a path below the hierarchy's mount: "/" for the host's, unless it began
// elsewhere, and for a user's own the one that it was given. Nothing is changed.
func FindSystemd(user bool) (string, error) {
	m, err := connect(user, patient)
	if err != nil {
		return "", err
	}
	defer m.Close()
	text, err := m.GetManagerProperty("ControlGroup")
	var group dbus.Variant
	if err == nil {
		group, err = dbus.ParseVariant(text, dbus.SignatureOf("")) // the library gives it in GVariant's text form
	}
	if err != nil {
		return "", fmt.Errorf("systemd: its ControlGroup: %w", m.why(err))
	}
	return cmp.Or(group.Value().(string), "/"), nil
}

// AddUnit is Add for a group that systemd makes. It is recorded for a gate at
// which the container process waits, as yet in the runtime's group. base is
// what [FindSystemd] found.
func (g *Group) AddUnit(p *plan.Plan, u *Unit, base, id string, r *specs.LinuxResources) (plan.FD, error) {
	list, err := writes(r)
	if err != nil {
		return nil, err
	}
	top := filepath.Join(g.top, base)
	available, err := fields(top, "cgroup.controllers")
	if err != nil {
		return nil, err
	}
	if w := lacking(list, available); w != nil {
		return nil, fmt.Errorf("%s: %w", w, whoHolds(w.controller(), top))
	}
	p.Note("systemd makes the group, and moves the process there that waits at this gate")
	p.Do(u.start(id, list), func(child *plan.Process) error { return u.Start(g, id, child.Pid, list) }).
		Undo(fmt.Sprintf("StopUnit(%q)", u.Name), func() error { return errors.Join(g.Kill(), u.Stop()) })
	if slices.ContainsFunc(list, func(w write) bool { return !w.Optional && !known(w.controller()) }) {
		p.Note("systemd hands down only the controllers that it knows")
		p.Do("hand the others down to "+g.Dir, func(*plan.Process) error { return g.handDown(list) })
	}
	dir := p.Openat(plan.CWD, g.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	for _, w := range list {
		g.limit(p, dir, w)
	}
	return dir, nil
}

// known says whether systemd hands a controller down by itself (systemd.resource-control(5), "Delegate=").
func known(controller string) bool {
	return slices.Contains([]string{"", "cpu", "cpuset", "io", "memory", "pids"}, controller)
}

func (g *Group) handDown(list []write) error {
	levels, err := g.survey()
	if err != nil {
		return err
	}
	if err := handDown(levels, list); err != nil {
		return err
	}
	give(levels)
	return nil
}

// start is the call as the plan prints it.
func (u *Unit) start(id string, list []write) string {
	var words []string
	for _, q := range u.properties(id, 0, list) {
		if q.Name == "PIDs" {
			words = append(words, "PIDs=[the container process]")
		} else {
			words = append(words, q.String())
		}
	}
	return fmt.Sprintf("StartTransientUnit(%q, \"replace\", {%s})", u.Name, strings.Join(words, ", "))
}

// Start lets systemd make the unit's group with a process in it, and waits
// until that is done.
func (u *Unit) Start(g *Group, id string, pid int, list []write) error {
	err := u.job("start", func(m *manager, done chan<- string) (int, error) {
		return m.StartTransientUnitContext(m.ctx, u.Name, "replace", sent(u.properties(id, pid, list)), done)
	})
	if err != nil {
		return err
	}
	pids, err := numbers(g.Dir, "cgroup.procs")
	if err == nil && !slices.Contains(pids, pid) {
		err = fmt.Errorf("process %d is not in %s", pid, g.Dir)
	}
	if err != nil {
		unix.Kill(pid, unix.SIGKILL) // our own child: the number cannot be another's
		return errors.Join(fmt.Errorf("systemd: start %s: its group is not where it should be: %w", u.Name, err), u.Stop())
	}
	return nil
}

// Stop removes the unit. Whatever still runs in it systemd ends in its own way,
// which can take long; so end it before. A unit that is gone is success.
func (u *Unit) Stop() error {
	err := u.job("stop", func(m *manager, done chan<- string) (int, error) {
		return m.StopUnitContext(m.ctx, u.Name, "replace", done)
	})
	var answer dbus.Error
	if errors.As(err, &answer) && answer.Name == "org.freedesktop.systemd1.NoSuchUnit" {
		return nil
	}
	return err
}

// Limit tells systemd what the limits in r are from now on. It is to be called
// before [Group.Update], which is exact, and says why the kernel refuses one.
func (u *Unit) Limit(g *Group, r *specs.LinuxResources) error {
	r, err := g.complete(r)
	if err != nil {
		return err
	}
	list, err := writes(r)
	if err != nil {
		return err
	}
	all := limits(list)
	if len(all) == 0 {
		return nil
	}
	if err := g.checkMemory(r); err != nil { // what systemd writes may kill as well
		return err
	}
	m, err := connect(u.User, patient)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.SetUnitPropertiesContext(m.ctx, u.Name, true, sent(all)...); err != nil {
		return fmt.Errorf("systemd: set properties of %s: %w", u.Name, m.why(err))
	}
	return nil
}

// sent are the properties as the library sends them.
func sent(list []property) (all []systemd.Property) {
	for _, p := range list {
		all = append(all, systemd.Property{Name: p.Name, Value: dbus.MakeVariant(p.Value)})
	}
	return all
}

// job asks for something that systemd queues, and waits for its end.
func (u *Unit) job(what string, ask func(*manager, chan<- string) (int, error)) error {
	m, err := connect(u.User, patient)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.job(ask); err != nil {
		return fmt.Errorf("systemd: %s %s: %w", what, u.Name, err)
	}
	return nil
}

// A manager is a connection to a systemd, until it ends or its time is up.
type manager struct {
	*systemd.Conn
	ctx    context.Context
	cancel context.CancelCauseFunc
}

var (
	errGone   = errors.New("systemd hung up")
	errSilent = errors.New("no answer from systemd")
)

// connect connects to systemd itself, as systemctl does, which for the host's
// only root may; or else by way of the message bus. No answer is waited for
// longer than limit.
func connect(user bool, limit time.Duration) (*manager, error) {
	direct, address := "unix:path=/run/systemd/private", cmp.Or(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path=/run/dbus/system_bus_socket")
	if user {
		uid, err := outside(os.Geteuid())
		if err != nil {
			return nil, err
		}
		dir := "unix:path=" + dbus.EscapeBusAddressValue(cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", uid)))
		direct, address = dir+"/systemd/private", cmp.Or(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), dir+"/bus")
	}
	m := &manager{}
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	time.AfterFunc(limit, func() { m.cancel(errSilent) })
	var err, busErr error
	m.Conn, err = systemd.NewConnection(func() (*dbus.Conn, error) { return m.dial(direct, nil) })
	if err == nil {
		return m, nil
	}
	m.Conn, busErr = systemd.NewConnection(func() (*dbus.Conn, error) { return m.dial(address, (*dbus.Conn).Hello) })
	if busErr == nil {
		return m, nil
	}
	m.cancel(nil)
	return nil, fmt.Errorf("%w: %w, %w", ErrNoSystemd, err, busErr)
}

// dial opens one connection, as the user that the socket says we are: to systemd
// itself, or to the message bus, which wants to be greeted.
func (m *manager) dial(address string, greet func(*dbus.Conn) error) (*dbus.Conn, error) {
	c, err := dbus.Dial(address, dbus.WithContext(m.ctx))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	err = c.Auth([]dbus.Auth{dbus.AuthExternal("")})
	if err == nil && greet != nil {
		err = greet(c)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", address, m.why(err))
	}
	context.AfterFunc(c.Context(), func() { m.cancel(errGone) })
	return c, nil
}

func (m *manager) Close() {
	m.Conn.Close()
	m.cancel(nil)
}

// job waits for the answer that there is a job, and for its end.
func (m *manager) job(ask func(*manager, chan<- string) (int, error)) error {
	done := make(chan string, 1)
	if _, err := ask(m, done); err != nil {
		return m.why(err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("its job: %s", result)
		}
		return nil
	case <-m.ctx.Done():
		return context.Cause(m.ctx)
	}
}

// why is the reason for an error that is none of systemd's answers.
func (m *manager) why(err error) error {
	var answer dbus.Error
	cause := context.Cause(m.ctx)
	switch {
	case errors.As(err, &answer):
		return err
	case cause != nil:
		return cause
	case slices.ContainsFunc([]error{io.EOF, dbus.ErrClosed, unix.EPIPE, unix.ECONNRESET}, func(e error) bool { return errors.Is(err, e) }):
		return errGone // of which the context is about to hear
	}
	return err
}

// outside is our number as systemd knows it: root of a user namespace is
// somebody else around that. /proc/self/uid_map has lines such as
//
//	0 1000 1
//
// from the first number inside to the first outside, so many of them
// (user_namespaces(7)).
func outside(uid int) (int, error) {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		var inside, out, count int
		if _, err := fmt.Sscan(line, &inside, &out, &count); err == nil && uid >= inside && uid-inside < count {
			return out + uid - inside, nil
		}
	}
	return uid, nil
}
