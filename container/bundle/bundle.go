package bundle

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/bundle/names"
	"minirun/container/config"
	"minirun/container/files"
	"minirun/rootfs/image/private"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Store is the directory of all bundles: /var/lib/minirun, or
// $XDG_DATA_HOME/minirun for an ordinary user.
type Store string

// DefaultStore is the Store of the calling user: below the home directory that $HOME
// names or, if that is no absolute path, that passwd(5) names.
func DefaultStore() Store {
	if os.Geteuid() == 0 {
		return "/var/lib/minirun"
	}
	if dir := files.Absolute("XDG_DATA_HOME"); dir != "" {
		return Store(filepath.Join(dir, "minirun"))
	}
	home := files.Absolute("HOME")
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); home == "" && err == nil {
		home = u.HomeDir
	}
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

	Network   = "org.minirun.network"   // bridge, none, host, or container:ID
	Published = "org.minirun.published" // as -p takes them, comma separated
	Rate      = "org.minirun.rate"      // as --network-rate takes it
	Remove    = "org.minirun.remove"    // "true": with --rm
	Without   = "org.minirun.without"   // layers that were taken away, comma separated
	Owner     = "org.minirun.owner"     // the object of a manifest that a pod belongs to: deployment.apps/web
	Template  = "org.minirun.template"  // the hash of what a pod was made of
	Labels    = "org.minirun.labels"    // of a pod, key=value, a line each
	Layers    = "org.minirun.layers"    // diff ids in use, comma separated; "": the overlay's options have them
)

// A Bundle is one directory of a Store.
type Bundle struct {
	ID   string // 64 hex digits
	Dir  string // "": it has none in the store
	Spec *specs.Spec

	HasRun bool // its root has been mounted: the kernel has made a directory in work/ then
}

// Annotation returns one of the annotations; "" if it is missing.
func (b *Bundle) Annotation(name string) string { return b.Spec.Annotations[name] }

// CreatedAt is when the bundle was made; of one that does not say, when its
// directory last changed.
func (b *Bundle) CreatedAt() time.Time {
	t, err := time.Parse(time.RFC3339Nano, b.Annotation(Created))
	if info, gone := os.Lstat(b.Dir); err != nil && gone == nil {
		return info.ModTime()
	}
	return t
}

func (s Store) containers() string { return filepath.Join(string(s), "containers") }

// An opened store: what is done in it is done by these descriptors (package private).
type opened struct {
	store             Store
	containers, names *private.Dir // nil: missing
}

// open opens the store. One that does not exist has nothing in it.
func (s Store) open() (*opened, error) {
	in, err := private.Store.Open(string(s))
	if err != nil {
		return &opened{store: s}, gone(err)
	}
	return s.below(in, (*private.Dir).Dir)
}

// make is open, but makes what is missing.
func (s Store) make() (*opened, error) {
	in, err := private.Store.Make(string(s))
	if err != nil {
		return nil, err
	}
	return s.below(in, (*private.Dir).MakeDir)
}

func (s Store) below(in *private.Dir, open func(*private.Dir, string) (*private.Dir, error)) (*opened, error) {
	defer in.Close()
	o := &opened{store: s}
	for name, to := range map[string]**private.Dir{"containers": &o.containers, "names": &o.names} {
		dir, err := open(in, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.close()
			return nil, err
		}
		*to = dir
	}
	return o, nil
}

func (o *opened) close() {
	for _, d := range []*private.Dir{o.containers, o.names} {
		if d != nil {
			d.Close()
		}
	}
}

// ErrNoSuch says that no container has that name or id.
var ErrNoSuch = errors.New("no such container")

// create makes the directory of a new bundle and takes its name: the given one
// or, if that is "", one of its own.
func (s Store) create(name string) (*Bundle, string, error) {
	o, err := s.make()
	if err != nil {
		return nil, "", err
	}
	defer o.close()
	random := make([]byte, 32)
	if _, err := unix.Getrandom(random, 0); err != nil {
		return nil, "", fmt.Errorf("getrandom: %w", err)
	}
	b := &Bundle{ID: hex.EncodeToString(random), Spec: &specs.Spec{}}
	b.Dir = filepath.Join(s.containers(), b.ID)
	if name, err = o.take(name, b); err != nil {
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

// take links the name to the bundle and makes the bundle's directory. The link comes
// first when a bundle is made, and goes last when one is removed: so a bundle always has
// its name, and one of us who is killed in between leaves a link to nothing, which the
// next to want the name, or to remove it, removes. A lock keeps other commands from
// changing names, for the time of a few system calls.
func (o *opened) take(name string, b *Bundle) (string, error) {
	if name != "" && (container.CheckID(name) != nil || strings.ContainsRune("_+.-", rune(name[0]))) {
		return "", fmt.Errorf("name %q: want letters, digits, or _+.- and none of these first", name)
	}
	if err := o.names.Lock(unix.LOCK_EX); err != nil {
		return "", err
	}
	defer o.names.Lock(unix.LOCK_UN)
	for try := 0; ; try++ {
		chosen := name
		if name == "" {
			chosen = names.Random(try)
		}
		if o.holder(chosen) == "" {
			o.names.Remove(chosen) // ENOENT: there is none
		}
		err := o.names.Symlink(filepath.Join("../containers", b.ID), chosen)
		if err == nil {
			if err = o.containers.Mkdir(b.ID, 0o700); err != nil {
				err = errors.Join(err, o.names.Remove(chosen))
			}
			return chosen, err
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if name != "" {
			return "", fmt.Errorf("name %q: in use by container %.12s", name, o.holder(name))
		}
	}
}

// holder is the id of the bundle that has a name; "" if none has it, or if the one that
// had it is gone.
func (o *opened) holder(name string) string {
	if container.CheckID(name) != nil || o.names == nil {
		return ""
	}
	target, err := o.names.Readlink(name)
	if id := filepath.Base(target); err == nil && o.has(id) {
		return id
	}
	return ""
}

// has says whether there is a bundle with that id; if we cannot find out, there is one.
func (o *opened) has(id string) bool {
	if container.CheckID(id) != nil || o.containers == nil {
		return false
	}
	_, err := o.containers.Lstat(id)
	return !errors.Is(err, fs.ErrNotExist)
}

// Forget removes a name whose bundle is gone. If there is none, or one that has its
// bundle, nothing happens.
func (s Store) Forget(name string) error {
	o, err := s.open()
	if err != nil {
		return err
	}
	defer o.close()
	return o.forget(name)
}

func (o *opened) forget(name string) error {
	if container.CheckID(name) != nil || o.names == nil {
		return nil
	}
	if err := o.names.Lock(unix.LOCK_EX); err != nil {
		return err
	}
	defer o.names.Lock(unix.LOCK_UN)
	if o.holder(name) != "" {
		return nil
	}
	return gone(o.names.Remove(name))
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
	f, err := s.Finder()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ids, err := f.ids()
	if err != nil {
		return nil, err
	}
	list := make([]*Bundle, 0, len(ids))
	for _, id := range ids {
		list = append(list, f.load(id))
	}
	slices.SortFunc(list, func(a, b *Bundle) int { return b.CreatedAt().Compare(a.CreatedAt()) })
	return list, nil
}

// load reads one bundle. If its config.json cannot be read, the spec is empty.
func (o *opened) load(id string) *Bundle {
	b := &Bundle{ID: id, Dir: filepath.Join(o.store.containers(), id), Spec: &specs.Spec{}}
	dir, err := o.containers.Dir(id)
	if err != nil {
		return b
	}
	defer dir.Close()
	b.HasRun = hasRun(dir)
	if text, err := dir.ReadFile("config.json", private.Longest); err == nil {
		if spec, err := config.Parse(b.Dir, text); err == nil && isOurs(spec) {
			b.Spec = spec
		}
	}
	return b
}

// hasRun says whether a bundle's overlay has been mounted. The kernel keeps a directory of its
// own in the work directory (overlayfs.rst).
func hasRun(dir *private.Dir) bool {
	var s unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), "work/work", &s, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// Check is an error if a bundle lacks what it needs to run once more. Its overlay is given by
// paths, so none of its directories may be a link to another one.
func (s Store) Check(b *Bundle) error {
	o, err := s.open()
	if err != nil {
		return err
	}
	defer o.close()
	if b.Spec.Process == nil || o.containers == nil {
		return fmt.Errorf("%s: its config.json cannot be read", b.Dir)
	}
	dir, err := o.containers.Dir(b.ID)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range []string{"rootfs", "upper", "work"} {
		if !dir.Has(name, unix.S_IFDIR) {
			return fmt.Errorf("%s/%s: not a directory", b.Dir, name)
		}
	}
	return nil
}

// isOurs says whether a spec has what every spec has that we have written.
func isOurs(s *specs.Spec) bool {
	return s.Root != nil && s.Process.Capabilities != nil && len(s.Process.Args) > 0
}

// A Finder looks for many bundles, and reads the list of all of them at most once: a
// command that is given a hundred ids does not do ten thousand times as much as with one.
// It serves several goroutines at the same time.
type Finder struct {
	*opened
	mutex  sync.Mutex          // of what follows
	sorted []string            // all ids
	listed bool                // sorted has been read
	named  map[string][]string // the names that lead to an id; nil: not read yet
}

// Finder opens the store. The caller closes the Finder.
func (s Store) Finder() (*Finder, error) {
	o, err := s.open()
	return &Finder{opened: o}, err
}

// Close closes the store.
func (f *Finder) Close() { f.close() }

// ids are the names of the bundles' directories, sorted; none if there is no store.
func (f *Finder) ids() (_ []string, err error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if !f.listed && f.containers != nil {
		f.sorted, err = f.containers.Readdirnames(-1)
		f.listed = err == nil
		slices.Sort(f.sorted)
	}
	return f.sorted, err
}

// Find is [Finder.Find] for one bundle.
func (s Store) Find(word string) (*Bundle, error) {
	f, err := s.Finder()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Find(word)
}

// Find returns the bundle with a name, an id, or the beginning of an id that no
// other has. It looks at the names of directories, and reads the one config.json.
func (f *Finder) Find(word string) (*Bundle, error) {
	if word == "" || strings.ContainsRune(word, '/') {
		return nil, fmt.Errorf("%q: %w", word, ErrNoSuch)
	}
	if id := f.holder(word); id != "" {
		return f.load(id), nil
	}
	if f.has(word) {
		return f.load(word), nil
	}
	ids, err := f.ids()
	if err != nil {
		return nil, err
	}
	first, _ := slices.BinarySearch(ids, word)
	last := first
	var found []string // at most two
	for ; last < len(ids) && strings.HasPrefix(ids[last], word); last++ {
		if len(found) < 2 && f.has(ids[last]) { // it has not been removed since
			found = append(found, ids[last])
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: %w", word, ErrNoSuch)
	case 1:
		return f.load(found[0]), nil
	}
	return nil, fmt.Errorf("%s: %d containers have ids that begin so", word, last-first)
}

// OpenFile opens a file in a bundle's directory to read it.
func (s Store) OpenFile(b *Bundle, name string) (*os.File, error) {
	o, err := s.open()
	if err != nil {
		return nil, err
	}
	defer o.close()
	if o.containers == nil {
		return nil, fmt.Errorf("%s: %w", b.ID, ErrNoSuch)
	}
	dir, err := o.containers.Dir(b.ID)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.OpenFile(name, unix.O_RDONLY, 0)
}

// Delete is [Finder.Delete] for one bundle.
func (s Store) Delete(b *Bundle) error {
	f, err := s.Finder()
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Delete(b)
}

// Delete removes the bundle and then its name: if it fails, both are still there, and
// so is config.json, which says what it is. Its container must be gone. One that
// somebody else removes, or has removed, is success.
func (f *Finder) Delete(b *Bundle) error {
	if b.Dir == "" || f.containers == nil {
		return nil // it is none of the store's
	}
	names, err := f.namesOf(b)
	if err != nil {
		return err
	}
	// Of two who remove it at the same time, as rm -f and the end of run --rm, each
	// finds that something is gone already.
	err = f.remove(b)
	for tries := 0; errors.Is(err, fs.ErrNotExist) && tries < 1000; tries++ {
		err = f.remove(b)
	}
	for _, name := range names {
		if err == nil { // else it keeps its name: somebody must be able to remove it later
			err = f.forget(name)
		}
	}
	return err
}

// namesOf are the names that lead to a bundle: the one that it says or, if that is not
// so, all that do.
func (f *Finder) namesOf(b *Bundle) ([]string, error) {
	if name := b.Annotation(Name); f.names == nil || f.holder(name) == b.ID {
		return []string{name}, nil
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.named != nil {
		return f.named[b.ID], nil
	}
	all, err := f.names.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	f.named = map[string][]string{}
	for _, name := range all {
		if id := f.holder(name); id != "" {
			f.named[id] = append(f.named[id], name)
		}
	}
	return f.named[b.ID], nil
}
