package cgroups

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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

const service = "org.freedesktop.systemd1"

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
	m, err := connect(user)
	if err != nil {
		return "", err
	}
	defer m.Close()
	c := m.method("")
	c.method, c.arguments = "org.freedesktop.DBus.Properties.Get", []any{service + ".Manager", "ControlGroup"}
	got, err := m.call(c)
	if err == nil && got.body.signature() != "s" {
		err = errMessage
	}
	if err != nil {
		return "", fmt.Errorf("systemd: its ControlGroup: %w", err)
	}
	return cmp.Or(got.body.text(), "/"), nil
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
	err := u.job("StartTransientUnit", u.Name, "replace", u.properties(id, pid, list), noUnits{})
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
	err := u.job("StopUnit", u.Name, "replace")
	var answer *busError
	if errors.As(err, &answer) && answer.name == service+".NoSuchUnit" {
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
	m, err := connect(u.User)
	if err != nil {
		return err
	}
	defer m.Close()
	if _, err := m.call(m.method("SetUnitProperties", u.Name, true, all)); err != nil {
		return fmt.Errorf("systemd: set properties of %s: %w", u.Name, err)
	}
	return nil
}

// job calls a method that queues a job, and waits for its end.
func (u *Unit) job(method string, args ...any) error {
	m, err := connect(u.User)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.job(method, args...); err != nil {
		return fmt.Errorf("systemd: %s %s: %w", method, u.Name, err)
	}
	return nil
}

// A manager is a connection to a systemd.
type manager struct{ *bus }

func (m manager) method(name string, arguments ...any) call {
	return call{service, "/org/freedesktop/systemd1", service + ".Manager." + name, arguments}
}

// job waits for two messages, of which the second may come first: what the job
// is called, and that it is done.
func (m manager) job(method string, arguments ...any) error {
	serial, err := m.send(m.method(method, arguments...))
	job, results := "", map[string]string{}
	for err == nil && results[job] == "" {
		var got *message
		if got, err = m.next(); err != nil {
			break
		}
		switch {
		case got.reply == serial:
			if err = got.failure(); err == nil {
				job = got.body.text()
			}
		case got.kind == signal && got.member == service+".Manager.JobRemoved":
			got.body.number()
			path := got.body.text()
			got.body.text() // the unit
			results[path] = got.body.text()
		}
	}
	if err == nil && results[job] != "done" {
		err = fmt.Errorf("its job: %s", results[job])
	}
	return err
}

// connect connects to systemd itself, as systemctl does, which for the host's
// only root may; or else by way of the message bus.
func connect(user bool) (manager, error) {
	uid, err := outside(os.Geteuid())
	if err != nil {
		return manager{}, err
	}
	direct, address := "unix:path=/run/systemd/private", cmp.Or(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path=/run/dbus/system_bus_socket")
	if user {
		dir := "unix:path=" + url.PathEscape(cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", uid)))
		direct, address = dir+"/systemd/private", cmp.Or(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), dir+"/bus")
	}
	b, err := dial(direct, uid, patient)
	if err == nil {
		return manager{b}, nil
	}
	b, busErr := dial(address, uid, patient)
	if busErr == nil {
		m := manager{b}
		if busErr = m.subscribe(); busErr == nil {
			return m, nil
		}
		b.Close()
	}
	return manager{}, fmt.Errorf("%w: %w, %w", ErrNoSystemd, err, busErr)
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

// subscribe lets the message bus pass systemd's signals on to us.
func (m manager) subscribe() error {
	const path, bus = "/org/freedesktop/DBus", "org.freedesktop.DBus"
	for _, c := range []call{
		{bus, path, bus + ".Hello", nil},
		{bus, path, bus + ".AddMatch", []any{"type='signal',interface='" + service + ".Manager',member='JobRemoved'"}},
		m.method("Subscribe"),
	} {
		if _, err := m.call(c); err != nil {
			return err
		}
	}
	return nil
}
