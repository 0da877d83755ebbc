package container

import (
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
	Unit        string                 `json:"unit,omitempty"`     // of systemd's, whose group that is; "": we have made it ourselves
	UserUnit    bool                   `json:"userUnit,omitempty"` // of the user's own systemd
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

// A Container is a container's directory, opened and, while a command changes
// it, locked.
type Container struct {
	State
	Warn   func(text string) // told of what went wrong but changes nothing; may be nil
	Notify notify.Socket     // on which the program may say that it is ready

	dir  string
	lock *os.File      // nil if it is only read
	made *unix.Statx_t // the directory as it was first locked, by which a later one with its name is told; nil: never locked
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
		return nil
	} else if err != nil {
		return err
	}
	if err := config.Decode(text, &c.State); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, c.path("state.json"), err)
	}
	return nil
}

func (c *Container) path(name string) string { return filepath.Join(c.dir, name) }

// Save writes the state: whole, or not at all. c must be locked.
func (c *Container) Save() error {
	data, err := json.Marshal(c.State)
	if err != nil {
		return err
	}
	return writeFile(c.path("state.json"), data, 0o600)
}

// writeFile replaces a file by renaming a new one over it.
func writeFile(path string, data []byte, perm os.FileMode) error {
	temporary := path + ".new"
	f, err := newFile(temporary, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, path)
}

// newFile makes a file that is certainly new: what has the name, left by one of
// us who was killed or a link that somebody else has laid, goes first.
func newFile(path string, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
}

// Status says where in its life the container is: creating, created, running,
// paused or stopped. What cannot be looked at (EMFILE, EIO) is an error, never
// stopped: the next thing done to a stopped container is to remove it.
func (c *Container) Status() (specs.ContainerState, error) {
	if c.Pid == 0 && c.lock == nil {
		if locked, err := c.locked(); locked || err != nil {
			return specs.StateCreating, err
		}
	}
	process, err := pidfd.Stat(c.Pid, c.StartTime)
	if err != nil {
		return specs.StateStopped, unless(err, pidfd.ErrEnded)
	}
	if frozen, err := c.frozen(); frozen || err != nil {
		return Paused, err
	}
	if waiting, err := c.waiting(); waiting || err != nil {
		return specs.StateCreated, err
	}
	if !process.Executed {
		return specs.StateCreating, nil
	}
	return specs.StateRunning, nil
}

// frozen says whether the processes are stopped. A group that is not there, or
// not shown to us, is none that we have frozen.
func (c *Container) frozen() (bool, error) {
	if c.Cgroup == "" {
		return false, nil
	}
	frozen, err := c.group().Frozen()
	return frozen && err == nil, unless(err, fs.ErrNotExist, unix.ENODEV)
}

// locked says whether another command is at work on the container.
func (c *Container) locked() (bool, error) {
	f, err := os.Open(c.dir)
	if err != nil {
		return false, unless(err, fs.ErrNotExist)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && err != unix.EWOULDBLOCK {
		return false, fmt.Errorf("lock %s: %w", c.dir, err)
	} else {
		return err != nil, nil
	}
}

// waiting says whether the container process waits for start.
func (c *Container) waiting() (bool, error) {
	_, err := os.Lstat(c.path("exec.fifo"))
	return err == nil, unless(err, fs.ErrNotExist)
}

// alive says whether the recorded process is there: not another one with its
// number, and not a zombie.
func (c *Container) alive() (bool, error) {
	_, err := pidfd.Stat(c.Pid, c.StartTime)
	return err == nil, unless(err, pidfd.ErrEnded)
}

// unless is err, or nil if err is one of those that were to be expected.
func unless(err error, expected ...error) error {
	if slices.ContainsFunc(expected, func(e error) bool { return errors.Is(err, e) }) {
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
