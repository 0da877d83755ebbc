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
	"minirun/cgroups/resctrl"
	"minirun/container/config"
	"minirun/container/files"
	"minirun/container/notify"
	"minirun/container/pidfd"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Errors on which callers branch. Their texts are those that container engines
// look for.
var (
	ErrNotExist   = errors.New("container does not exist")
	ErrExist      = errors.New("container with given ID already exists")
	ErrNotRunning = errors.New("container not running")
	ErrDamaged    = errors.New("damaged state")
)

// errID is what is wrong with an id.
var errID = errors.New("want 1 to 255 letters, digits, or _+.-")

// A State is what is written down about a container.
type State struct {
	ID          string                 `json:"id"`
	Pid         int                    `json:"pid"`       // of the container process; 0 before it was cloned
	StartTime   uint64                 `json:"startTime"` // of that process, in clock ticks after boot; tells it from a later one with its pid
	Bundle      string                 `json:"bundle"`
	Rootfs      string                 `json:"rootfs"`
	Cgroup      string                 `json:"cgroup,omitempty"`   // directory; "" if it has none of its own
	Unit        string                 `json:"unit,omitempty"`     // the systemd scope whose group Cgroup is; "": we made the group
	UserUnit    bool                   `json:"userUnit,omitempty"` // Unit belongs to the user's own systemd
	Class       *resctrl.Class         `json:"class,omitempty"`    // of resctrl; nil: none was asked for
	Created     time.Time              `json:"created"`
	Started     time.Time              `json:"started"` // zero before start
	Owner       int                    `json:"owner"`   // user id
	Annotations map[string]string      `json:"annotations,omitempty"`
	Namespaces  []specs.LinuxNamespace `json:"namespaces"`
	Hooks       *specs.Hooks           `json:"hooks,omitempty"`
	MemorySwap  *int64                 `json:"memorySwap,omitempty"` // resources.memory.swap as the last update asked for it; nil: as in config.json
}

// Paused is the status of a container whose processes are all stopped; the
// runtime-spec has no word for it, runc and its callers have this.
const Paused specs.ContainerState = "paused"

// A Container is what is written down about a container, as a command has read it.
// While the command changes it, its directory is locked.
type Container struct {
	State
	Warn   func(text string) // told of what went wrong but changes nothing; may be nil
	Notify notify.Socket     // on which the program may say that it is ready

	dir  string
	lock *os.File // nil if it is only read
	text []byte   // of state.json, as last read or written
}

// idCharacters are those of a container id.
const idCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-"

// CheckID says what is wrong with a container id: it becomes a file name.
func CheckID(id string) error {
	if strings.Trim(id, idCharacters) != "" || id == "" || id == "." || id == ".." || len(id) > 255 {
		return fmt.Errorf("container id %q: %w", id, errID)
	}
	return nil
}

// read reads state.json. If it is not there, create was killed between mkdir and the
// first write: that is a container with nothing in it.
func (c *Container) read() error {
	text, err := os.ReadFile(c.path("state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		c.State = State{ID: c.ID}
		return nil
	} else if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR) { // a stray file, or a directory
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	} else if err != nil || c.text != nil && bytes.Equal(text, c.text) {
		return err
	}
	var state State
	if err := config.Decode(text, &state); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, c.path("state.json"), err)
	}
	c.State, c.text = state, text
	return nil
}

// Dir is the directory of the state.
func (c *Container) Dir() string { return c.dir }

func (c *Container) path(name string) string { return filepath.Join(c.dir, name) }

// Save writes the state: whole, or not at all. c must be locked.
func (c *Container) Save() error {
	text, err := json.Marshal(c.State)
	if err != nil {
		return err
	}
	c.text = text
	return files.Replace(c.path("state.json"), text, 0o600)
}

// Status says where in its life the container is: creating, created, running,
// paused or stopped. If we cannot find out (EMFILE, EIO), that is an error and never
// "stopped", because the next thing done to a stopped container is to remove it.
func (c *Container) Status() (specs.ContainerState, error) {
	if c.Pid == 0 && c.lock == nil {
		if locked, err := c.locked(); locked || err != nil {
			return specs.StateCreating, err
		}
	}
	process, err := pidfd.Stat(c.Pid, c.StartTime)
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

// frozen says whether the processes are stopped. A group that is gone, or that we
// cannot see from where we are, does not count as frozen.
func (c *Container) frozen() (bool, error) {
	if c.Cgroup == "" {
		return false, nil
	}
	frozen, err := c.group().Frozen()
	return frozen && err == nil, ignore(err, fs.ErrNotExist, unix.ENODEV)
}

// locked says whether another command is at work on the container.
func (c *Container) locked() (bool, error) {
	f, err := os.Open(c.dir)
	if err != nil {
		return false, ignore(err, fs.ErrNotExist)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && err != unix.EWOULDBLOCK {
		return false, fmt.Errorf("lock %s: %w", c.dir, err)
	} else {
		return err != nil, nil
	}
}

// ignore is err, or nil if err is one of those that are no failure here.
func ignore(err error, harmless ...error) error {
	if slices.ContainsFunc(harmless, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

func (c *Container) group() *cgroups.Group { return cgroups.Open(c.Cgroup) }

// OCI is the state as the runtime-spec defines it (runtime.md, State).
func (c *Container) OCI() (specs.State, error) {
	status, err := c.Status()
	return c.oci(status), err
}

func (c *Container) oci(status specs.ContainerState) specs.State {
	s := specs.State{Version: specs.Version, ID: c.ID, Status: status, Bundle: c.Bundle, Annotations: c.Annotations}
	if status != specs.StateStopped {
		s.Pid = c.Pid
	}
	return s
}
