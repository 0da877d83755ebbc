package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/container/files"
	"minirun/container/notify"
)

// This file is the directory of states: finding a container in it, and keeping
// other commands away from that container.
//
// The lock is flock(2) on the container's directory. Why not on a file in it? The
// directory exists as long as the container, and removing it is the last thing that delete
// does. The kernel gives the lock back when its holder ends, even by SIGKILL, so no lock
// stays behind. But a command can wait for the lock of a directory that is removed
// meanwhile, and perhaps made again under the same name. So whoever gets the lock compares
// the directory that it has open with the one that has the name now.

// A Root is the directory of all containers' states: /run/minirun, or
// $XDG_RUNTIME_DIR/minirun for an ordinary user. It need not exist.
type Root string

// make creates the directory of a new container and locks it. mkdir(2) decides which of two
// creates with the same id wins: the other gets EEXIST, which becomes [ErrExist].
func (root Root) make(id string) (*Container, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(string(root), 0o700), root.check()); err != nil {
		return nil, err
	}
	c := root.container(id)
	for err := ErrNotExist; errors.Is(err, ErrNotExist); { // another command may delete it before we have the lock
		if err := os.Mkdir(c.dir, 0o700); errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s: %w", id, ErrExist)
		} else if err != nil {
			return nil, err
		}
		if err = c.acquire(); err != nil && !errors.Is(err, ErrNotExist) {
			os.Remove(c.dir) // ENOTEMPTY: it is another command's by now
			return nil, err
		}
	}
	// While we waited for the lock, another command can have deleted our directory, and a
	// third one can have made its container there: then the lock is for that container.
	if _, err := os.Lstat(c.path("state.json")); err == nil {
		c.Unlock()
		return nil, fmt.Errorf("%s: %w", id, ErrExist)
	}
	return c, nil
}

// check refuses a directory of states that another user has made or can write to,
// because the states in it say which processes to kill and which hooks to run, as root.
func (root Root) check() error {
	return files.CheckOwner(string(root), "directory of states", "--root")
}

// open finds the directory of an existing container, or [ErrNotExist]. It reads nothing.
func (root Root) open(id string) (*Container, error) {
	if err := errors.Join(CheckID(id), root.check()); err != nil {
		return nil, err
	}
	c := root.container(id)
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", id, ErrNotExist)
	}
	return c, nil
}

// container is a container with nothing but its id and its places.
func (root Root) container(id string) *Container {
	c := &Container{State: State{ID: id}, dir: filepath.Join(string(root), id)}
	c.Notify = notify.At(c.path("notify"))
	return c
}

// Load opens an existing container to look at it, without a lock. Another command may change
// the container meanwhile, but never leaves a half-written state.
func (root Root) Load(id string) (*Container, error) {
	c, err := root.open(id)
	if err != nil {
		return nil, err
	}
	return c, c.read()
}

// Lock is Load, and keeps other commands away from the container until Unlock. It waits for
// a command that has the lock already, such as a create.
func (root Root) Lock(id string) (*Container, error) {
	c, err := root.open(id)
	if err != nil {
		return nil, err
	}
	if err := c.Lock(); err != nil {
		return nil, err
	}
	return c, nil
}

// Lock keeps other commands away from a container that New has returned and that is not
// locked any more. The state is decoded again only if another command has changed it
// meanwhile. The error is [ErrNotExist] if the container has been deleted, even if another
// container has its id now: that one has another process.
func (c *Container) Lock() error {
	before := c.Identity
	if err := c.acquire(); err != nil {
		return err
	}
	err := c.read() // only now: without the lock it could still change
	if err == nil && before.Pid != 0 && c.Identity != before {
		err = fmt.Errorf("%s: %w", c.ID, ErrNotExist)
	}
	if err != nil {
		c.Unlock()
	}
	return err
}

// acquire locks the container's directory with flock(2), and tries again if the directory that
// it has locked is not the container's any more. It is [ErrNotExist] if there is none.
func (c *Container) acquire() error {
	for {
		f, err := os.Open(c.dir)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", c.ID, ErrNotExist)
		} else if err != nil {
			return err
		}
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			f.Close()
			return fmt.Errorf("lock %s: %w", c.dir, err)
		}
		locked, err := f.Stat()
		if there, gone := os.Stat(c.dir); err == nil && gone == nil && os.SameFile(locked, there) {
			c.lock = f
			return nil
		}
		f.Close() // it was deleted while we waited, and perhaps made again: look again
	}
}

// Unlock lets other commands lock the container. Without a lock it does nothing.
func (c *Container) Unlock() {
	if c.lock != nil {
		c.lock.Close() // closing is unlocking
		c.lock = nil
	}
}

// Discard removes the directory of a container whose state cannot be read
// ([ErrDamaged]). Its process and its cgroup, if there are any, stay, because only the state
// said which they are.
func (root Root) Discard(id string) error {
	if err := errors.Join(CheckID(id), root.check()); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(string(root), id))
}

// List returns all containers, oldest first. It leaves out containers that are deleted while
// it looks. What is no container, or a damaged one, goes to damaged, because one broken
// container must not hide all others.
func (root Root) List(damaged func(error)) ([]*Container, error) {
	entries, err := os.ReadDir(string(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := errors.Join(err, root.check()); err != nil {
		return nil, err
	}
	var list []*Container
	for _, e := range entries {
		switch c, err := root.Load(e.Name()); {
		case err == nil:
			list = append(list, c)
		case errors.Is(err, ErrDamaged), errors.Is(err, errID):
			damaged(err)
		case !errors.Is(err, ErrNotExist):
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b *Container) int { return a.Created.Compare(b.Created) })
	return list, nil
}
