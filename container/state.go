package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/owner"
	"minirun/cgroups/resctrl"
	"minirun/container/config"
	"minirun/container/files"
	"minirun/container/notify"
	"minirun/container/owned"
	"minirun/container/pidfd"
	"minirun/rootfs/image/private"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is what minirunc remembers about a container, and what of that is true now.
//
// No process of minirunc stays alive for a container, so each command starts from
// state.json. The file says what was true when it was written. Only the kernel knows what is
// true now, so Status asks it every time: a status is never written down.

// Errors on which callers branch. Their texts are those that container engines
// look for, so they must not change.
var (
	ErrNotExist   = errors.New("container does not exist")
	ErrExist      = errors.New("container with given ID already exists")
	ErrNotRunning = errors.New("container not running")
	ErrDamaged    = errors.New("damaged state")
)

// errID says which ids are allowed.
var errID = errors.New("want 1 to 255 letters, digits, or _+.-")

// A State is what is written down about a container, as state.json. New fills most of it in
// before the plan runs, cloned the process, Start the time.
type State struct {
	ID             string                 `json:"id"`
	pidfd.Identity                        // of the container process; Pid is 0 before it was cloned
	Bundle         string                 `json:"bundle"`
	Rootfs         string                 `json:"rootfs"`
	Cgroup         string                 `json:"cgroup,omitempty"`   // directory; "" if it has none of its own
	Mark           owner.Mark             `json:"mark,omitempty"`     // by which Cgroup and Class are known to be the container's still (package owner)
	Unit           string                 `json:"unit,omitempty"`     // the systemd scope whose group Cgroup is; "": we made the group
	UserUnit       bool                   `json:"userUnit,omitempty"` // Unit belongs to the user's own systemd
	Class          *resctrl.Class         `json:"class,omitempty"`    // of resctrl (cache and memory bandwidth); nil: none was asked for
	Created        time.Time              `json:"created"`
	Started        time.Time              `json:"started"` // zero before start
	Owner          int                    `json:"owner"`   // user id of whoever made the container
	Annotations    map[string]string      `json:"annotations,omitempty"`
	Namespaces     []specs.LinuxNamespace `json:"namespaces"`
	Hooks          *specs.Hooks           `json:"hooks,omitempty"`
	MemorySwap     *int64                 `json:"memorySwap,omitempty"` // resources.memory.swap as the last update asked for it; nil: as in config.json
}

// Paused is the status of a container whose processes are all stopped by the freezer. The
// runtime-spec has no word for it; this is runc's, which engines know.
const Paused specs.ContainerState = "paused"

// A Container is what is written down about a container, as a command has read it.
// While the command changes it, its directory must be locked ([Root.Lock]); to look at it,
// that is not needed ([Root.Load]).
type Container struct {
	State
	Warn   func(text string) // called for a failure that changes nothing for the container, such as of a poststop hook; may be nil
	Notify notify.Socket     // on which the program may say that it is ready

	root Root
	dir  string
	lock *private.Dir // the container's directory; nil if it is only read
	text []byte       // of state.json, as last read or written

	moved bool // processes are moved into the cgroup, not born there: see endedAtBirth
}

// idCharacters are those of a container id.
const idCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-"

// CheckID says what is wrong with a container id. The id becomes the name of a directory, so
// it must not have a slash in it, or be "." or "..".
func CheckID(id string) error {
	if strings.Trim(id, idCharacters) != "" || id == "" || id == "." || id == ".." || len(id) > 255 {
		return fmt.Errorf("container id %q: %w", id, errID)
	}
	return nil
}

// read reads state.json in the container's directory. If it is not there, create was killed
// between mkdir and the first write: that is a container with nothing in it, which delete
// can remove. A file that is not JSON is [ErrDamaged].
func (c *Container) read(in *private.Dir) error {
	text, err := in.ReadFile("state.json", private.Longest)
	if errors.Is(err, fs.ErrNotExist) {
		c.State = State{ID: c.ID}
		return nil
	} else if err != nil || c.text != nil && bytes.Equal(text, c.text) {
		return damaged(err)
	}
	var state State
	err = config.Decode(text, &state)
	if err == nil && state.ID != c.ID {
		err = fmt.Errorf("id %q: want that of the directory", state.ID)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, c.path("state.json"), err)
	}
	c.State, c.text = state, text
	return nil
}

// damaged makes [ErrDamaged] of an error that is about what was written down, and not about
// the machine, as EMFILE is.
func damaged(err error) error {
	if private.IsDamage(err) && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// Dir is the directory of the state.
func (c *Container) Dir() string { return c.dir }

// path is a file of the state, such as state.json.
func (c *Container) path(name string) string { return filepath.Join(c.dir, name) }

// Save writes the state, by rename(2): a command that reads at the same time gets the old
// text or the new one. c must be locked, since two writers would lose one's changes.
func (c *Container) Save() error {
	text, err := json.Marshal(c.State)
	if err != nil {
		return err
	}
	c.text = text
	return files.Replace(c.path("state.json"), text, 0o600)
}

// Status says where in its life the container is: creating, created, running,
// paused or stopped. If it cannot find out (EMFILE, EIO), that is an error and never
// "stopped", because a caller removes a stopped container next.
//
// The order of the questions matters. Without a process id, only a lock says whether create
// is still at work or was killed. A process that has ended is neither frozen nor created. A
// frozen container counts as paused even before start, as with runc. exec.fifo is there
// while the child waits. After that it takes a moment until the child executes the program;
// until then the status is creating again. /proc/PID/stat has a flag for it (procfs.Stat).
func (c *Container) Status() (specs.ContainerState, error) {
	if c.Pid == 0 && c.lock == nil {
		if locked, err := c.locked(); locked || err != nil {
			return specs.StateCreating, err
		}
	}
	process, err := c.Identity.Stat()
	if err != nil {
		return specs.StateStopped, ignore(err, pidfd.ErrEnded)
	}
	if frozen, err := c.frozen(); frozen || err != nil {
		return Paused, err
	}
	if _, err := os.Lstat(c.path("exec.fifo")); !errors.Is(err, fs.ErrNotExist) {
		return specs.StateCreated, err
	}
	if !process.Executed {
		return specs.StateCreating, nil
	}
	return specs.StateRunning, nil
}

// frozen says whether the processes are stopped by the freezer (cgroup.freeze). A group that
// is gone (ENOENT, ENODEV), or that cannot be seen in our mount namespace, does not count as
// frozen.
func (c *Container) frozen() (bool, error) {
	group, err := c.Group()
	if group == nil || err != nil {
		return false, err
	}
	frozen, err := group.Frozen()
	return frozen && err == nil, damaged(ignore(err, fs.ErrNotExist, unix.ENODEV))
}

// locked says whether another command is at work on the container.
func (c *Container) locked() (bool, error) {
	in, err := c.root.open(c.ID)
	if err != nil {
		return false, ignore(err, ErrNotExist)
	}
	defer in.Close()
	locked, err := in.Locked(c.ID)
	return locked, ignore(err, fs.ErrNotExist)
}

// ignore is err, or nil if err is one of those that are no failure here.
func ignore(err error, harmless ...error) error {
	if slices.ContainsFunc(harmless, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// Group is the container's own cgroup; nil if it has none, or none any more. By its path alone
// a command would find the group of a later container, which must not be harmed.
func (c *Container) Group() (*cgroups.Group, error) {
	group, err := owned.Group(c.Cgroup, c.Mark, c.Identity)
	return group, damaged(err)
}

// OCI is the state as the runtime-spec defines it (runtime.md, State).
func (c *Container) OCI() (specs.State, error) {
	status, err := c.Status()
	return c.oci(status), err
}

// oci is the state with a status that the caller knows. A hook is told the status of its point
// in the life, which Status could not find out in the middle of create. The pid of a stopped
// container is left out, since it may be another process's by now.
func (c *Container) oci(status specs.ContainerState) specs.State {
	s := specs.State{Version: specs.Version, ID: c.ID, Status: status, Bundle: c.Bundle, Annotations: c.Annotations}
	if status != specs.StateStopped {
		s.Pid = c.Pid
	}
	return s
}
