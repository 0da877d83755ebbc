package bundle

import (
	"encoding/hex"
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

	"minirun/container"
	"minirun/container/bundle/names"
	"minirun/container/config"
	"minirun/container/files"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Store is the directory of all bundles: /var/lib/minirun, or
// $XDG_DATA_HOME/minirun for an ordinary user.
type Store string

// DefaultStore is the Store of the calling user.
func DefaultStore() Store {
	if os.Geteuid() == 0 {
		return "/var/lib/minirun"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return Store(filepath.Join(dir, "minirun"))
	}
	home, _ := os.UserHomeDir() // without one, below /
	return Store(filepath.Join("/", home, ".local/share/minirun"))
}

// Annotations that a bundle's config.json carries.
const (
	Name    = "org.minirun.name"
	Image   = "org.minirun.image"   // as the user wrote it
	ImageID = "org.minirun.imageID" // hex
	Command = "org.minirun.command" // as ps shows it
	Created = "org.minirun.created" // RFC 3339
	Ports   = "org.minirun.ports"   // "80/tcp", comma separated
	Signal  = "org.minirun.stopSignal"
	Remove  = "org.minirun.remove"  // "true": with --rm
	Without = "org.minirun.without" // layers that were taken away, comma separated
	Layers  = "org.minirun.layers"  // diff ids in use, comma separated; "": the overlay's options have them
)

// A Bundle is one directory of a Store.
type Bundle struct {
	ID   string // 64 hex digits
	Dir  string // "": it has none in the store
	Spec *specs.Spec
}

// Annotation returns one of the annotations; "" if it is missing.
func (b *Bundle) Annotation(name string) string { return b.Spec.Annotations[name] }

// CreatedAt is when the bundle was made; of one that does not say, when its
// directory last changed.
func (b *Bundle) CreatedAt() time.Time {
	t, err := time.Parse(time.RFC3339Nano, b.Annotation(Created))
	if info, gone := os.Stat(b.Dir); err != nil && gone == nil {
		return info.ModTime()
	}
	return t
}

func (s Store) containers() string      { return filepath.Join(string(s), "containers") }
func (s Store) link(name string) string { return filepath.Join(string(s), "names", name) }

// ErrNoSuch says that no container has that name or id.
var ErrNoSuch = errors.New("no such container")

// create makes the directory of a new bundle and takes its name: the given one
// or, if that is "", one of its own.
func (s Store) create(name string) (*Bundle, string, error) {
	for _, dir := range []string{s.containers(), filepath.Join(string(s), "names")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, "", err
		}
	}
	random := make([]byte, 32)
	if _, err := unix.Getrandom(random, 0); err != nil {
		return nil, "", fmt.Errorf("getrandom: %w", err)
	}
	b := &Bundle{ID: hex.EncodeToString(random), Spec: &specs.Spec{}}
	b.Dir = filepath.Join(s.containers(), b.ID)
	name, err := s.take(name, b)
	if err != nil {
		return nil, "", err
	}
	for _, dir := range []string{"rootfs", "upper", "work"} {
		err = errors.Join(err, files.Mkdir(filepath.Join(b.Dir, dir), 0o755))
	}
	if err = errors.Join(err, os.Chmod(b.Dir, 0o711)); err != nil { // root in a user namespace must get through
		return nil, "", errors.Join(err, s.Delete(b))
	}
	return b, name, nil
}

// lockNames keeps other commands from changing names, for the time of a few system
// calls.
func (s Store) lockNames() (*os.File, error) {
	dir, err := os.Open(filepath.Join(string(s), "names"))
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	return dir, nil // to close it is to unlock it
}

// take links the name to the bundle and makes the bundle's directory. The link comes
// first when a bundle is made, and goes last when one is removed: so a bundle always has
// its name, and one of us who is killed in between leaves a link to nothing, which the
// next to want the name, or to remove it, removes.
func (s Store) take(name string, b *Bundle) (string, error) {
	if name != "" && (container.CheckID(name) != nil || strings.ContainsRune("_+.-", rune(name[0]))) {
		return "", fmt.Errorf("name %q: want letters, digits, or _+.- and none of these first", name)
	}
	lock, err := s.lockNames()
	if err != nil {
		return "", err
	}
	defer lock.Close()
	for try := 0; ; try++ {
		chosen := name
		if name == "" {
			chosen = names.Random(try)
		}
		if s.holder(chosen) == "" {
			os.Remove(s.link(chosen)) // ENOENT: there is none
		}
		err := os.Symlink(filepath.Join("../containers", b.ID), s.link(chosen))
		if err == nil {
			if err = os.Mkdir(b.Dir, 0o700); err != nil {
				err = errors.Join(err, os.Remove(s.link(chosen)))
			}
			return chosen, err
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if name != "" {
			return "", fmt.Errorf("name %q: in use by container %.12s", name, s.holder(name))
		}
	}
}

// holder is the id of the bundle that has a name; "" if none has it, or if the one that
// had it is gone.
func (s Store) holder(name string) string {
	target, err := os.Readlink(s.link(name))
	if id := filepath.Base(target); err == nil && s.has(id) {
		return id
	}
	return ""
}

// has says whether there is a bundle with that id; if we cannot find out, there is one.
func (s Store) has(id string) bool {
	_, err := os.Lstat(filepath.Join(s.containers(), id))
	return container.CheckID(id) == nil && !errors.Is(err, fs.ErrNotExist)
}

// Forget removes a name whose bundle is gone. If there is none, or one that has its
// bundle, nothing happens.
func (s Store) Forget(name string) error {
	if container.CheckID(name) != nil {
		return nil
	}
	lock, err := s.lockNames()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer lock.Close()
	if s.holder(name) != "" {
		return nil
	}
	return gone(os.Remove(s.link(name)))
}

// gone is err, or nil if err says that the file does not exist.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// save writes the config.json.
func (b *Bundle) save() error {
	data, err := json.MarshalIndent(b.Spec, "", "\t")
	if err != nil {
		return err
	}
	return files.Replace(filepath.Join(b.Dir, "config.json"), data, 0o600)
}

// List returns all bundles, newest first. It reads every config.json; to look for
// one there is [Store.Find]. A bundle that is still being made, or whose making was
// cut short, or whose config.json somebody has spoilt, has no spec: an empty one
// stands for it, so that it can be seen and removed.
func (s Store) List() ([]*Bundle, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	list := make([]*Bundle, 0, len(ids))
	for _, id := range ids {
		list = append(list, s.load(id))
	}
	slices.SortFunc(list, func(a, b *Bundle) int { return b.CreatedAt().Compare(a.CreatedAt()) })
	return list, nil
}

// ids are the names of the bundles' directories; none if there is no store.
func (s Store) ids() ([]string, error) {
	dir, err := os.Open(s.containers())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// load reads one bundle. If its config.json cannot be read, the spec is empty.
func (s Store) load(id string) *Bundle {
	b := &Bundle{ID: id, Dir: filepath.Join(s.containers(), id), Spec: &specs.Spec{}}
	if spec, _, err := config.Read(b.Dir); err == nil {
		b.Spec = spec
	}
	return b
}

// Find returns the bundle with a name, an id, or the beginning of an id that no
// other has. It looks at the names of directories, and reads the one config.json.
func (s Store) Find(word string) (*Bundle, error) {
	if word == "" || strings.ContainsRune(word, '/') {
		return nil, fmt.Errorf("%q: %w", word, ErrNoSuch)
	}
	if id := s.holder(word); id != "" {
		return s.load(id), nil
	}
	if len(word) == 64 && s.has(word) { // whoever removes many by their ids reads no list for each
		return s.load(word), nil
	}
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, word) })
	switch len(ids) {
	case 0:
		return nil, fmt.Errorf("%s: %w", word, ErrNoSuch)
	case 1:
		return s.load(ids[0]), nil
	}
	return nil, fmt.Errorf("%s: %d containers have ids that begin so", word, len(ids))
}

// Delete removes the bundle and then its name: if it fails, both are still there, and
// so is config.json, which says what it is. Its container must be gone. One that
// somebody else removes, or has removed, is success.
func (s Store) Delete(b *Bundle) error {
	if b.Dir == "" {
		return nil // it is none of the store's
	}
	names, err := s.namesOf(b)
	if err != nil {
		return err
	}
	// Of two who remove it at the same time, as rm -f and the end of run --rm, each
	// finds that something is gone already.
	err = b.remove()
	for tries := 0; errors.Is(err, fs.ErrNotExist) && tries < 1000; tries++ {
		err = b.remove()
	}
	for _, name := range names {
		if err == nil { // else it keeps its name: somebody must be able to remove it later
			err = s.Forget(name)
		}
	}
	return err
}

// namesOf are the names that lead to a bundle: the one that it says or, if that is not
// so, all that do.
func (s Store) namesOf(b *Bundle) ([]string, error) {
	if name := b.Annotation(Name); container.CheckID(name) == nil && s.holder(name) == b.ID {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(filepath.Join(string(s), "names"))
	var names []string
	for _, e := range entries {
		if s.holder(e.Name()) == b.ID {
			names = append(names, e.Name())
		}
	}
	return names, gone(err)
}
