package systemd

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
	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/plan"
)

// This file talks to systemd over D-Bus (org.freedesktop.systemd1(5)).

// timeout is how long systemd may take for a job.
const timeout = 30 * time.Second

// ErrNotRunning says that there is no systemd to ask.
var ErrNotRunning = errors.New("systemd does not run here")

// Booted returns an error if systemd is not the host's init (sd_booted(3)).
func Booted() error {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	return nil
}

// Find returns the group below which systemd makes the groups of its units, as a
// path below the hierarchy's mount. For the host's systemd that is "/", unless it
// was started in another group; for a user's it is the group that the user's
// systemd was given. Nothing is changed.
func Find(user bool) (string, error) {
	m, err := connect(user, timeout)
	if err != nil {
		return "", err
	}
	defer m.Close()
	text, err := m.GetManagerProperty("ControlGroup")
	var group dbus.Variant
	if err == nil {
		group, err = dbus.ParseVariant(text, dbus.SignatureOf("")) // the library returns GVariant's text form
	}
	if err != nil {
		return "", fmt.Errorf("systemd: its ControlGroup: %w", m.cause(err))
	}
	return cmp.Or(group.Value().(string), "/"), nil
}

// NewGroup is [New], and returns the group that systemd will make for the unit. find
// is [Find] or, in a test, something that gives the same answer everywhere.
//
// The group is an ordinary one, so all that is not said here goes to it by its
// directory, and systemd is not asked. What differs for the container:
//
//	create   the child is not born in its group: it waits at a gate to be moved there
//	update   systemd is told the limits, too
//	delete   systemd removes the unit, and with it the group
func NewGroup(h *cgroups.Hierarchy, cgroupsPath, id string, annotations map[string]string, user bool,
	find func(user bool) (string, error)) (*Unit, *cgroups.Group, error) {
	u, err := New(cgroupsPath, id, annotations, user)
	if err != nil {
		return nil, nil, err
	}
	top, err := find(user)
	if err != nil {
		return nil, nil, err
	}
	u.top = filepath.Join(h.Mount, top)
	g, err := h.Group(top + u.Path())
	return u, g, err
}

// Add records how systemd makes the group g and what is written to it then. It is
// for a gate at which the container process waits, still in the runtime's group. If
// the host cannot set a limit, the steps are there all the same, with the error.
func (u *Unit) Add(p *plan.Plan, g *cgroups.Group, limits []cgroups.Write) (plan.FD, error) {
	_, needed, missing := cgroups.Controllers(u.top, limits)
	p.Note("systemd makes the group, and moves the process that waits at this gate into it")
	p.Do(u.start(limits), func(child *plan.Process) error { return u.Start(g, child.Pid, limits) }).
		Undo(fmt.Sprintf("StopUnit(%q)", u.Name), func() error { return errors.Join(g.Kill(), u.Stop()) })
	u.handDown(p, g, needed)
	return g.Limit(p, limits), missing
}

// handDown records that the levels from u.top to the group hand down the controllers
// that systemd does not know (systemd.resource-control(5), "Delegate="). systemd
// hands the others down by itself.
func (u *Unit) handDown(p *plan.Plan, g *cgroups.Group, needed []string) {
	known := func(controller string) bool {
		return slices.Contains([]string{"cpu", "cpuset", "io", "memory", "pids"}, controller)
	}
	others := slices.DeleteFunc(slices.Clone(needed), known)
	if len(others) == 0 {
		return
	}
	var levels []string
	for dir := filepath.Dir(g.Dir); len(dir) >= len(u.top) && dir != "/"; dir = filepath.Dir(dir) {
		levels = append(levels, dir)
	}
	p.Note("systemd hands down only the controllers that it knows")
	for _, dir := range slices.Backward(levels) {
		file := p.Openat(plan.CWD, filepath.Join(dir, "cgroup.subtree_control"), unix.O_WRONLY|unix.O_CLOEXEC, 0).As("cgroup.subtree_control")
		for _, c := range others {
			p.Write(file, "+"+c)
		}
		p.Close(file)
	}
}

// start is the call as the plan prints it.
func (u *Unit) start(limits []cgroups.Write) string {
	return fmt.Sprintf("StartTransientUnit(%q, \"replace\", {%s})", u.Name, printed(u.properties(0, limits)))
}

func printed(list []property) string {
	words := make([]string, len(list))
	for i, p := range list {
		if words[i] = p.String(); p.Name == "PIDs" {
			words[i] = "PIDs=[the container process]"
		}
	}
	return strings.Join(words, ", ")
}

// Start asks systemd to make the unit's group with a process in it, and waits until
// that is done.
func (u *Unit) Start(g *cgroups.Group, pid int, limits []cgroups.Write) error {
	err := u.job("start", func(m *manager, done chan<- string) (int, error) {
		return m.StartTransientUnitContext(m.ctx, u.Name, "replace", toDBus(u.properties(pid, limits)), done)
	})
	if err != nil {
		return err
	}
	pids, err := g.Procs()
	if err == nil && !slices.Contains(pids, pid) {
		err = fmt.Errorf("process %d is not in %s", pid, g.Dir)
	}
	if err != nil {
		unix.Kill(pid, unix.SIGKILL) // our own child: nobody else has its number
		return errors.Join(fmt.Errorf("systemd: start %s: its group is not where it should be: %w", u.Name, err), u.Stop())
	}
	return nil
}

// Stop removes the unit. End its processes before, because systemd takes its time
// for that. A unit that systemd does not know is a success.
func (u *Unit) Stop() error {
	err := u.job("stop", func(m *manager, done chan<- string) (int, error) {
		return m.StopUnitContext(m.ctx, u.Name, "replace", done)
	})
	if isNoSuchUnit(err) {
		return nil
	}
	return err
}

// Forget stops a unit that is empty by now, and whose group is the directory dir; name "" is
// no unit. It is no error if no systemd can be asked, such as the one of a user who has
// logged out: then nobody remembers the unit either.
func Forget(name string, user bool, dir string) error {
	if name == "" {
		return nil
	}
	u := &Unit{Name: name, User: user}
	its, err := u.has(dir)
	if err == nil && its {
		err = u.Stop()
	}
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	return err
}

// has asks whether a group is the unit's. The name of a unit alone does not say whose it is:
// a group can be left when systemd has forgotten its unit, and another container, with a
// group in another slice, can have that name by then.
func (u *Unit) has(dir string) (bool, error) {
	m, err := connect(u.User, timeout)
	if err != nil {
		return false, err
	}
	defer m.Close()
	property, err := m.GetUnitTypePropertyContext(m.ctx, u.Name, "Scope", "ControlGroup")
	if isNoSuchUnit(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("systemd: the ControlGroup of %s: %w", u.Name, m.cause(err))
	}
	group, _ := property.Value.Value().(string)
	if group == "" {
		return false, nil // its processes have ended
	}
	h, err := cgroups.Find()
	return err == nil && dir == filepath.Join(h.Mount, group), err
}

// isNoSuchUnit says whether systemd has answered that it does not know a unit.
func isNoSuchUnit(err error) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && answer.Name == "org.freedesktop.systemd1.NoSuchUnit"
}

// Update records that systemd is told the new limits, so that it does not write
// back the old ones when it is reloaded. It goes before [cgroups.Group.Update]: that
// writes all limits exactly, and its errors say why the kernel refuses one. It is not told if
// the group is not that of the unit any more.
func (u *Unit) Update(p *plan.Plan, g *cgroups.Group, limits []cgroups.Write) {
	all := limitProperties(limits)
	if len(all) == 0 {
		return
	}
	p.Do(fmt.Sprintf("SetUnitProperties(%q, true, {%s})", u.Name, printed(all)), func(*plan.Process) error {
		if its, err := u.has(g.Dir); !its || err != nil {
			return err
		}
		m, err := connect(u.User, timeout)
		if err != nil {
			return err
		}
		defer m.Close()
		if err := m.SetUnitPropertiesContext(m.ctx, u.Name, true, toDBus(all)...); err != nil {
			return fmt.Errorf("systemd: set properties of %s: %w", u.Name, m.cause(err))
		}
		return nil
	})
}

// toDBus converts properties to the library's type.
func toDBus(list []property) (all []systemd.Property) {
	for _, p := range list {
		all = append(all, systemd.Property{Name: p.Name, Value: dbus.MakeVariant(p.Value)})
	}
	return all
}

// job asks for something that systemd queues, and waits until it is done.
func (u *Unit) job(what string, ask func(*manager, chan<- string) (int, error)) error {
	m, err := connect(u.User, timeout)
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
	errHungUp = errors.New("systemd hung up")
	errSilent = errors.New("no answer from systemd")
)

// connect connects to systemd itself, as systemctl does (for the host's systemd only
// root may), or else through the message bus. It waits for no answer longer than
// limit.
func connect(user bool, limit time.Duration) (*manager, error) {
	direct, address := "unix:path=/run/systemd/private", cmp.Or(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path=/run/dbus/system_bus_socket")
	if user {
		uid, err := hostID(os.Geteuid())
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
	return nil, fmt.Errorf("%w: %w, %w", ErrNotRunning, err, busErr)
}

// dial opens one connection, to systemd itself or to the message bus, which must be
// greeted. Who we are the other side reads from the socket.
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
		return nil, fmt.Errorf("%s: %w", address, m.cause(err))
	}
	context.AfterFunc(c.Context(), func() { m.cancel(errHungUp) })
	return c, nil
}

func (m *manager) Close() {
	m.Conn.Close()
	m.cancel(nil)
}

// job waits for the answer that the job is queued, and for its end.
func (m *manager) job(ask func(*manager, chan<- string) (int, error)) error {
	done := make(chan string, 1)
	if _, err := ask(m, done); err != nil {
		return m.cause(err)
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

// cause returns the reason for an error, unless it is systemd's own answer.
func (m *manager) cause(err error) error {
	var answer dbus.Error
	cause := context.Cause(m.ctx)
	switch {
	case errors.As(err, &answer):
		return err
	case cause != nil:
		return cause
	case slices.ContainsFunc([]error{io.EOF, dbus.ErrClosed, unix.EPIPE, unix.ECONNRESET}, func(e error) bool { return errors.Is(err, e) }):
		return errHungUp // the context is about to be cancelled with it
	}
	return err
}

// hostID is the number that a user of our user namespace has for systemd, which
// runs outside: root of a user namespace is an ordinary user there.
// /proc/self/uid_map has lines such as
//
//	0 1000 1
//
// with the first number inside, the first number outside, and how many there are
// (user_namespaces(7)).
func hostID(uid int) (int, error) {
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
