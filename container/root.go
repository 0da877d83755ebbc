package container

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"minirun/container/notify"
	"minirun/rootfs/image/private"
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
	in, err := private.States.Make(string(root))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	c := root.container(id)
	for err := ErrNotExist; errors.Is(err, ErrNotExist); { // another command may delete it before we have the lock
		if err := in.Mkdir(id, 0o700); errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s: %w", id, ErrExist)
		} else if err != nil {
			return nil, err
		}
		if err = c.acquire(in); err != nil && !errors.Is(err, ErrNotExist) {
			in.Remove(id) // ENOTEMPTY: it is another command's by now
			return nil, err
		}
	}
	// While we waited for the lock, another command can have deleted our directory, and a
	// third one can have made its container there: then the lock is for that container.
	if _, err := c.lock.Lstat("state.json"); err == nil {
		c.Unlock()
		return nil, fmt.Errorf("%s: %w", id, ErrExist)
	}
	return c, nil
}

// open opens the directory of states. Package private refuses one that another user has made
// or can exchange or write to, because the states in it say which processes to kill and
// which hooks to run, as root. id is the container that is looked for in it.
func (root Root) open(id string) (*private.Dir, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	in, err := private.States.Open(string(root))
	return in, missing(id, err)
}

// missing is err, or [ErrNotExist] if err says that there is no such directory.
func missing(id string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", id, ErrNotExist)
	}
	return err
}

// container is a container with nothing but its id and its places.
func (root Root) container(id string) *Container {
	c := &Container{State: State{ID: id}, root: root, dir: filepath.Join(string(root), id)}
	c.Notify = notify.At(c.path("notify"))
	return c
}

// Load opens an existing container to look at it, without a lock. Another command may change
// the container meanwhile, but never leaves a half-written state.
func (root Root) Load(id string) (*Container, error) {
	in, err := root.open(id)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return root.load(in, id)
}

// load is Load in the open directory of states.
func (root Root) load(in *private.Dir, id string) (*Container, error) {
	c := root.container(id)
	dir, err := in.Dir(id)
	if err != nil {
		return nil, damaged(missing(id, err))
	}
	defer dir.Close()
	return c, c.read(dir)
}

// Lock is Load, and keeps other commands away from the container until Unlock. It waits for
// a command that has the lock already, such as a create.
func (root Root) Lock(id string) (*Container, error) {
	c := root.container(id)
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
	in, err := c.root.open(c.ID)
	if err != nil {
		return err
	}
	defer in.Close()
	before := c.Identity
	if err := c.acquire(in); err != nil {
		return err
	}
	err = c.read(c.lock) // only now: without the lock it could still change
	if err == nil && before.Pid != 0 && c.Identity != before {
		err = fmt.Errorf("%s: %w", c.ID, ErrNotExist)
	}
	if err != nil {
		c.Unlock()
	}
	return err
}

// acquire locks the container's directory (flock(2)), in the directory of states. It is
// [ErrNotExist] if there is none.
func (c *Container) acquire(in *private.Dir) (err error) {
	c.lock, err = in.LockDir(c.ID)
	return damaged(missing(c.ID, err))
}

// Unlock lets other commands lock the container. Without a lock it does nothing.
func (c *Container) Unlock() {
	if c.lock != nil {
		c.lock.Close() // closing is unlocking
		c.lock = nil
	}
}

// Discard removes the directory of a container, such as of one whose state cannot be read
// ([ErrDamaged]). Its process and its cgroup, if there are any, stay, because only the state
// said which they are.
func (root Root) Discard(id string) error {
	in, err := root.open(id)
	if err != nil {
		return ignore(err, ErrNotExist)
	}
	defer in.Close()
	return in.RemoveAll(id)
}

// List returns all containers, oldest first. It leaves out containers that are deleted while
// it looks. What is no container, or a damaged one, goes to broken, because one broken
// container must not hide all others.
func (root Root) List(broken func(error)) ([]*Container, error) {
	in, err := private.States.Open(string(root))
	if err != nil {
		return nil, ignore(err, fs.ErrNotExist)
	}
	defer in.Close()
	names, err := in.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var list []*Container
	for _, name := range names {
		err := CheckID(name)
		if err == nil {
			var c *Container
			if c, err = root.load(in, name); err == nil {
				list = append(list, c)
			}
		}
		switch {
		case errors.Is(err, ErrDamaged), errors.Is(err, errID):
			broken(err)
		case err != nil && !errors.Is(err, ErrNotExist):
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b *Container) int { return a.Created.Compare(b.Created) })
	return list, nil
}
