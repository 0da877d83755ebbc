package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/oom"
	"minirun/cgroups/resctrl"
	"minirun/namespaces"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Root is the directory of all containers' states: /run/minirun, or
// $XDG_RUNTIME_DIR/minirun for an ordinary user.
type Root string

// DefaultRoot is the Root of the calling user. Who is root of a user namespace
// but $USER says somebody else, as below a rootless Podman, is still that user.
func DefaultRoot() Root {
	uid, dir := os.Geteuid(), os.Getenv("XDG_RUNTIME_DIR")
	switch {
	case uid == 0 && (os.Getenv("USER") == "root" || dir == "" || namespaces.InitialUser()):
		return "/run/minirun"
	case dir != "":
		return Root(filepath.Join(dir, "minirun"))
	}
	return Root(fmt.Sprintf("/tmp/minirun-%d", uid))
}

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
	MemorySwap  int64                  `json:"memorySwap,omitempty"` // resources.memory.swap as last asked for; see Update
}

// A Container is a container's directory, opened and, while a command changes
// it, locked.
type Container struct {
	State
	Warn   func(text string) // what went wrong but changes nothing; nil: nobody listens
	Notify bool              // Start: the program may say that it is ready; see TellReady

	dir    string
	lock   *os.File // nil if it is only read
	notify *os.File // the socket that the program tells it to; nil: none
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

// make creates the directory of a new container and locks it.
func (root Root) make(id string) (*Container, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(string(root), 0o700), root.check()); err != nil {
		return nil, err
	}
	c := &Container{dir: filepath.Join(string(root), id)}
	for err := fs.ErrNotExist; errors.Is(err, fs.ErrNotExist); {
		if err := os.Mkdir(c.dir, 0o700); errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s: %w", id, ErrExist)
		} else if err != nil {
			return nil, err
		}
		if err = c.acquire(); err != nil && !errors.Is(err, fs.ErrNotExist) { // it was deleted before we had locked it
			os.Remove(c.dir) // ENOTEMPTY: it is somebody else's by now
			return nil, err
		}
	}
	// Deleted before we had locked it, and made again by somebody else: then we
	// have waited for them.
	if _, err := os.Lstat(c.path("state.json")); err == nil {
		c.Unlock()
		return nil, fmt.Errorf("%s: %w", id, ErrExist)
	}
	return c, nil
}

// check refuses a directory of states that others have made or can write to:
// what lies there says whom to kill, and which hooks to run.
func (root Root) check() error {
	link, err := os.Lstat(string(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	dir, err := os.Stat(string(root))
	if err != nil {
		return err
	}
	for _, info := range []fs.FileInfo{link, dir} {
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && int(owner) != os.Geteuid() {
			return fmt.Errorf("directory of states %s: it is user %d's: remove it, or give another one by --root", root, owner)
		}
	}
	if mode := dir.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("directory of states %s: others may write to it (mode %#o): chmod go-w it, or give another one by --root", root, mode)
	}
	return nil
}

// Load opens an existing container to look at it.
func (root Root) Load(id string) (*Container, error) {
	if err := errors.Join(CheckID(id), root.check()); err != nil {
		return nil, err
	}
	c := &Container{dir: filepath.Join(string(root), id)}
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", id, ErrNotExist)
	}
	err := c.read()
	if errors.Is(err, fs.ErrNotExist) {
		// Killed between mkdir and the first write: a container with nothing in it.
		c.State = State{ID: id}
		return c, nil
	}
	return c, err
}

// Lock is Load, and keeps other commands away from the container until Unlock.
func (root Root) Lock(id string) (*Container, error) {
	c, err := root.Load(id)
	if err != nil && c == nil {
		return nil, err
	}
	if err := c.acquire(); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", id, ErrNotExist) // somebody has deleted it meanwhile
	} else if err != nil {
		return nil, err
	}
	if again, err := root.Load(id); err == nil {
		c.State = again.State
		return c, nil
	} else {
		c.Unlock()
		return nil, err
	}
}

func (c *Container) acquire() error {
	for {
		f, err := os.Open(c.dir)
		if err != nil {
			return err
		}
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			f.Close()
			return fmt.Errorf("lock %s: %w", c.dir, err)
		}
		if c.isAt(f) {
			c.lock = f
			return nil
		}
		f.Close() // while we waited it was deleted, and perhaps made again
	}
}

// isAt says whether the container's directory still is the one that was opened.
func (c *Container) isAt(f *os.File) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(c.dir)
	return err == nil && os.SameFile(ours, there)
}

// Unlock lets other commands at the container.
func (c *Container) Unlock() {
	if c.lock != nil {
		c.lock.Close() // closing is unlocking
		c.lock = nil
	}
}

func (c *Container) read() error {
	data, err := os.ReadFile(c.path("state.json"))
	if err != nil {
		return err
	}
	if err := decode(data, reflect.ValueOf(&c.State).Elem()); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, c.path("state.json"), err)
	}
	return nil
}

// Discard removes the directory of a container whose state cannot be read
// ([ErrDamaged]). Which process and which cgroup were its own nobody knows any
// more: if there are any, they stay.
func (root Root) Discard(id string) error {
	if err := errors.Join(CheckID(id), root.check()); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(string(root), id))
}

func (c *Container) path(name string) string { return filepath.Join(c.dir, name) }

// save writes the state: whole, or not at all.
func (c *Container) save() error {
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

// List returns all containers, oldest first. A directory that is going away
// while we look is left out, and so is a damaged one.
func (root Root) List() ([]*Container, error) {
	entries, err := os.ReadDir(string(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := errors.Join(err, root.check()); err != nil {
		return nil, err
	}
	var list []*Container
	for _, e := range entries {
		c, err := root.Load(e.Name())
		if err == nil {
			list = append(list, c)
		} else if err := unless(err, ErrNotExist, ErrDamaged, errID); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b *Container) int { return a.Created.Compare(b.Created) })
	return list, nil
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
	s, alive, err := c.process()
	if !alive || err != nil {
		return specs.StateStopped, err
	}
	if frozen, err := c.frozen(); frozen || err != nil {
		return Paused, err
	}
	if waiting, err := c.waiting(); waiting || err != nil {
		return specs.StateCreated, err
	}
	if !s.executed {
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
	_, alive, err := c.process()
	return alive, err
}

// process is the recorded process, and whether it is there.
func (c *Container) process() (s stat, alive bool, err error) {
	if c.Pid <= 0 {
		return s, false, nil
	}
	s, err = processStat(c.Pid)
	return s, err == nil && s.start == c.StartTime && s.state != 'Z' && s.state != 'X', unless(err, gone...)
}

// gone is what the kernel says of a process that is not there: no such file, and
// no such process where its file had been opened before it ended; of a number
// that is a thread's, or nobody's, pidfd_open(2) says that it is none.
var gone = []error{fs.ErrNotExist, unix.ESRCH, unix.EINVAL}

// unless is an error, or nil if it is one of those that were to be expected.
func unless(err error, expected ...error) error {
	if slices.ContainsFunc(expected, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// A stat is what proc_pid_stat(5) says of a process.
type stat struct {
	state    byte
	executed bool   // a program, since it was cloned
	start    uint64 // clock ticks after boot
}

// forkNoExec is the kernel's flag of a process that has not (PF_FORKNOEXEC,
// linux/sched.h).
const forkNoExec = 0x40

// processStat reads /proc/PID/stat:
//
//	4711 (name with ) and blanks) S 1 4711 … 9th field: flags … 22nd: start time
func processStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	_, after, _ := strings.Cut(string(data[max(0, strings.LastIndexByte(string(data), ')')):]), " ")
	fields := strings.Fields(after)
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc/%d/stat: %q: too short", pid, data)
	}
	flags, flagsErr := strconv.ParseUint(fields[6], 10, 64)
	start, startErr := strconv.ParseUint(fields[19], 10, 64)
	return stat{fields[0][0], flags&forkNoExec == 0, start}, errors.Join(flagsErr, startErr)
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

// An Exit is how a container ended.
type Exit struct {
	Code int       // the program's, or 128 + the signal that ended it
	At   time.Time // when
}

// Exit says how the container ended; false if it has not, or if nobody was
// there to see it. Why does it wait? The end of a process can be seen before
// its monitor, on a busy machine, has got around to writing it down.
func (c *Container) Exit() (Exit, bool) {
	f, err := os.Open(c.path("exit"))
	if err != nil {
		return Exit{}, false
	}
	defer f.Close()
	for left := patience; ; left-- {
		e, ok := readExit(f)
		if alive, err := c.alive(); ok || left <= 0 || alive || err != nil {
			return e, ok
		}
		if !c.unreaped() {
			left = min(left, grace)
		}
		time.Sleep(time.Millisecond)
	}
}

// How many milliseconds a monitor has to write down how the container ended: to
// hear of it, and from then on. One that was killed never will.
const (
	patience = 1000
	grace    = 100
)

// unreaped says whether the container process has ended, but its parent has not
// heard of it.
func (c *Container) unreaped() bool {
	s, err := processStat(c.Pid)
	return err == nil && s.start == c.StartTime
}

// OOMKilled says whether the kernel has ended a process of the container for
// want of memory.
func (c *Container) OOMKilled() bool {
	killed, err := oom.Killed(c.group())
	return c.Cgroup != "" && err == nil && killed
}
