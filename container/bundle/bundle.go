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
	Layers  = "org.minirun.layers"  // diff ids in use, comma separated
)

// A Bundle is one directory of a Store.
type Bundle struct {
	ID   string // 64 hex digits
	Dir  string
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
	b := &Bundle{ID: hex.EncodeToString(random)}
	b.Dir = filepath.Join(s.containers(), b.ID)
	for _, dir := range []string{b.Dir, filepath.Join(b.Dir, "rootfs"), filepath.Join(b.Dir, "upper"), filepath.Join(b.Dir, "work")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, "", errors.Join(err, os.RemoveAll(b.Dir))
		}
	}
	if err := os.Chmod(b.Dir, 0o711); err != nil { // root in a user namespace must get through
		return nil, "", errors.Join(err, os.RemoveAll(b.Dir))
	}
	name, err := s.take(name, b)
	if err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(b.Dir))
	}
	return b, name, nil
}

// take links the name to the bundle.
func (s Store) take(name string, b *Bundle) (string, error) {
	if name != "" && (container.CheckID(name) != nil || strings.ContainsRune("_+.-", rune(name[0]))) {
		return "", fmt.Errorf("name %q: want letters, digits, or _+.- and none of these first", name)
	}
	for try := 0; ; try++ {
		chosen := name
		if name == "" {
			chosen = names.Random(try)
		}
		err := os.Symlink(b.Dir, s.link(chosen))
		if err == nil {
			return chosen, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if s.forget(chosen) {
			continue
		}
		if name != "" {
			return "", fmt.Errorf("name %q: in use by container %s", name, s.holder(name))
		}
	}
}

// forget removes the link of a bundle that is gone: one of us was killed
// between the two.
func (s Store) forget(name string) bool {
	return !exists(s.link(name)) && os.Remove(s.link(name)) == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (s Store) holder(name string) string {
	dir, _ := os.Readlink(s.link(name))
	return fmt.Sprintf("%.12s", filepath.Base(dir))
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
	if dir, err := os.Readlink(s.link(word)); err == nil && exists(dir) {
		return s.load(filepath.Base(dir)), nil
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

// Delete removes the bundle and its name. Its container must be gone. One that
// somebody else removes, or has removed, is success.
func (s Store) Delete(b *Bundle) error {
	if name := b.Annotation(Name); name != "" {
		if dir, err := os.Readlink(s.link(name)); err == nil && filepath.Base(dir) == b.ID {
			if err := os.Remove(s.link(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	// Of two who remove it at the same time, as rm -f and the end of run --rm, each
	// finds that something is gone already.
	err := b.remove()
	for tries := 0; errors.Is(err, fs.ErrNotExist) && tries < 1000; tries++ {
		err = b.remove()
	}
	return err
}
