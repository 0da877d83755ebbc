package image

// The store: where things are, and who may do what at the same time.
//
//	lock         loads, imports, tags and Hold take it shared: nothing they have
//	             seen or made disappears. Remove takes it exclusively.
//	index.lock   whoever changes index.json takes it exclusively, for as long as
//	             that takes. Always taken after lock, never the other way round.
//
// Readers take neither: index.json is replaced by rename, and blobs and layers
// appear by rename, so what a reader sees is whole.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

// Causes a caller may want to tell apart.
var (
	// ErrNotFound: no image has this name or ID.
	ErrNotFound = errors.New("no such image")
	// ErrDigest: the bytes are not those that the digest or size promised.
	ErrDigest = errors.New("content does not match")
	// ErrLimit: the archive grows beyond [Limits].
	ErrLimit = errors.New("limit exceeded")
)

// Ownership says whom unpacked files belong to, and with that what the kernel
// lets the caller do.
type Ownership int

const (
	// Keep gives files the numeric owner and group of the archive and makes
	// device nodes. For root in the initial user namespace: it takes
	// CAP_CHOWN, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP and, for
	// trusted.overlay.opaque, CAP_SYS_ADMIN.
	Keep Ownership = iota
	// Mapped gives files the owner and group of the archive as seen in the
	// caller's user namespace; an id without a mapping is an error. Device
	// nodes are skipped, and opaque directories are marked for overlayfs's
	// option userxattr. For root in a user namespace with a range of ids.
	Mapped
	// Mine leaves all files to the caller and remembers the archive's owners
	// nowhere. Otherwise it is like Mapped, and directories keep at least mode
	// 0700, so that the caller can always remove them. For everybody.
	Mine
)

// Limits bound what one call of [Store.Load], [Store.Import] or [Store.Pull]
// may make. Zero means the default.
type Limits struct {
	// Bytes bounds the archive, the sum of the uncompressed layers and the
	// sum of the files in them, each. Default 64 GiB.
	Bytes int64
	// Entries bounds the files and directories in all layers. Default 2097152.
	Entries int64
}

// Progress tells how far one step of a load or a pull is. While bytes are read, it is sent
// after every read.
type Progress struct {
	// Layer is the digest of the blob; "" while an archive is still being read in.
	Layer Digest
	// Step is what is being done with it, or what has just been done.
	Step Step
	// Done and Total count bytes as they come, that is, compressed. Total is
	// zero when it is not known.
	Done, Total int64
}

// A Step is what happens to a layer. A load unpacks its layers; the other steps are those
// of a pull.
type Step int

const (
	// Unpacking: the archive is read in, or the layer is unpacked.
	Unpacking Step = iota
	// Unpacked: the layer is in its directory.
	Unpacked
	// Listed: the image has this layer, and it has to be fetched. It is sent once for each,
	// the bottom first, before anything is fetched.
	Listed
	// Exists: the image has this layer, and the store has it already.
	Exists
	// Waiting: another pull is fetching it.
	Waiting
	// Fetching: it is being fetched.
	Fetching
	// Interrupted: the connection was cut; after a pause it is fetched on from Done.
	Interrupted
	// Fetched: all of it is here, and its digest is right.
	Fetched
)

// Skip tells of a part of a layer that was left out because the caller may
// not make it or because it means nothing on this host.
type Skip struct {
	// Layer is the digest of the layer's blob.
	Layer Digest
	// Name is the entry as the archive spells it; quote it before printing.
	Name string
	// Reason says what was left out and why.
	Reason string
}

// Options are how a store works. The zero Options are those of root.
type Options struct {
	// Ownership of unpacked files; zero is [Keep].
	Ownership Ownership
	// Limits on what an archive may grow to; zero means defaults.
	Limits Limits
	// Progress, if not nil, is called during loads, never twice at a time, but
	// not always from the goroutine that loads.
	Progress func(Progress)
	// Skipped, if not nil, is called for whatever is left out, never twice at a time.
	Skipped func(Skip)
	// Damaged, if not nil, is called for every image that [Store.List] leaves out
	// because it cannot be read.
	Damaged func(error)
}

// A Store keeps images under one directory. Its methods may be used by many
// goroutines and processes at the same time.
type Store struct {
	root    string
	options Options
}

// Open gives the store at root, such as /var/lib/minirun. It touches nothing:
// a directory that does not exist is a store without images, and the first
// write makes it, with mode 0700. All writers of one store should use the same
// Ownership, since layers are shared.
func Open(root string, options Options) (*Store, error) {
	absolute, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open image store %s: %w", root, err)
	}
	return &Store{root: absolute, options: options.withDefaults()}, nil
}

func (o Options) withDefaults() Options {
	if o.Limits.Bytes == 0 {
		o.Limits.Bytes = 64 << 30
	}
	if o.Limits.Entries == 0 {
		o.Limits.Entries = 2 << 20
	}
	o.Progress, o.Skipped = oneByOne(o.Progress), oneByOne(o.Skipped)
	if o.Damaged == nil {
		o.Damaged = func(error) {}
	}
	return o
}

// oneByOne lets only one goroutine at a time call tell. nil becomes a function that does
// nothing.
func oneByOne[T any](tell func(T)) func(T) {
	if tell == nil {
		return func(T) {}
	}
	var mu sync.Mutex
	return func(what T) {
		mu.Lock()
		defer mu.Unlock()
		tell(what)
	}
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

func (s *Store) layerPath(d Digest) string { return s.path("layers", d.Hex()) }

// An opened is an open store. All that is done in the store is done by these descriptors
// (package private). Of a store that has not been written to, those below root are nil.
type opened struct {
	*Store
	root, blobs, layers, tmp *private.Dir
}

// open opens the store. If there is none yet, the error is [fs.ErrNotExist].
func (s *Store) open() (*opened, error) {
	root, err := private.Store.Open(s.root)
	if err != nil {
		return nil, err
	}
	return s.below(root, (*private.Dir).Dir)
}

// make is open, but makes the store's directories.
func (s *Store) make() (*opened, error) {
	root, err := private.Store.Make(s.root)
	if err != nil {
		return nil, err
	}
	return s.below(root, (*private.Dir).MakeDir)
}

// below opens the directories in root, by open. One that is missing is nil.
func (s *Store) below(root *private.Dir, open func(in *private.Dir, name string) (*private.Dir, error)) (*opened, error) {
	p := &opened{Store: s, root: root}
	for _, d := range []struct {
		to    **private.Dir
		names []string
	}{{&p.blobs, []string{"blobs", "sha256"}}, {&p.layers, []string{"layers"}}, {&p.tmp, []string{"tmp"}}} {
		in := root
		for _, name := range d.names {
			next, err := open(in, name)
			if in != root {
				in.Close()
			}
			if errors.Is(err, fs.ErrNotExist) {
				in = nil
				break
			} else if err != nil {
				p.close()
				return nil, err
			}
			in = next
		}
		*d.to = in
	}
	return p, nil
}

func (p *opened) close() {
	for _, d := range []*private.Dir{p.root, p.blobs, p.layers, p.tmp} {
		if d != nil {
			d.Close()
		}
	}
}

// Hold keeps images and layers from being removed until release is called:
// for the time between [Store.Find] and the moment from which the caller's
// own records show the layers to be in use. Loads go on meanwhile.
func (s *Store) Hold() (release func(), err error) {
	p, err := s.make()
	if err != nil {
		return nil, err
	}
	defer p.close()
	lock, err := p.lock("lock", unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// markLayout writes the file oci-layout once. The caller holds lock, so that
// nobody sweeps tmp meanwhile.
func (p *opened) markLayout() error {
	if p.root.Has(layoutFile, unix.S_IFREG) {
		return nil
	}
	return p.replace(layoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// lock opens ROOT/name and takes a lock on it with flock(2), waiting unless
// how has LOCK_NB. Closing the file, or the end of the process, lets it go.
func (p *opened) lock(name string, how int) (*os.File, error) {
	f, err := p.root.OpenFile(name, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	if err := private.Lock(f, how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// replace writes ROOT/name so that a reader finds the old or the new content,
// also after a power failure.
func (p *opened) replace(name string, content []byte) error {
	temporary := private.Unique()
	err := p.writeSynced(temporary, content)
	if err == nil {
		err = p.tmp.Rename(temporary, p.root, name)
	}
	if err != nil {
		p.tmp.Remove(temporary) // best effort: the next writer sweeps tmp
		return fmt.Errorf("write %s: %w", p.path(name), cause(err))
	}
	return nil
}

func (p *opened) writeSynced(temporary string, content []byte) error {
	f, err := p.tmp.OpenFile(temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // the explicit Sync below has reported what matters
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Sync()
}

// cause strips temporary names from an error: they mean nothing to a reader.
func cause(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	if e := (*os.LinkError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
