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
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
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

// Limits bound what one call of [Store.Load], [Store.Import] or [Store.Add]
// may make. Zero means the default.
type Limits struct {
	// Bytes bounds the archive, the sum of the uncompressed layers and the
	// sum of the files in them, each. Default 64 GiB.
	Bytes int64
	// Entries bounds the files and directories in all layers. Default 2097152.
	Entries int64
}

// Progress tells how far one step of a load is. It is sent after every read.
type Progress struct {
	// Layer is the digest of the blob being unpacked; "" while the archive
	// is still being read in.
	Layer Digest
	// Done and Total count bytes as they come, that is, compressed. Total is
	// zero when it is not known.
	Done, Total int64
}

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
	// Skipped, if not nil, is called for whatever is left out.
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
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Skipped == nil {
		o.Skipped = func(Skip) {}
	}
	if o.Damaged == nil {
		o.Damaged = func(error) {}
	}
	return o
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

func (s *Store) blobPath(d Digest) string  { return s.path("blobs", "sha256", d.Hex()) }
func (s *Store) layerPath(d Digest) string { return s.path("layers", d.Hex()) }

// Hold keeps images and layers from being removed until release is called:
// for the time between [Store.Find] and the moment from which the caller's
// own records show the layers to be in use. Loads go on meanwhile.
func (s *Store) Hold() (release func(), err error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	lock, err := s.lock("lock", unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// prepare makes the store's directories.
func (s *Store) prepare() error {
	for _, name := range []string{"blobs/sha256", "layers", "tmp"} {
		if err := os.MkdirAll(s.path(name), 0o700); err != nil {
			return fmt.Errorf("make image store: %w", err)
		}
	}
	return nil
}

// markLayout writes the file oci-layout once. The caller holds lock, so that
// nobody sweeps tmp meanwhile.
func (s *Store) markLayout() error {
	if exists(s.path(layoutFile)) {
		return nil
	}
	return s.replace(layoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// exists tells whether path is there; what cannot be looked at counts as not
// there, and the write that follows reports why.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// lock opens ROOT/name and takes a lock on it with flock(2), waiting unless
// how has LOCK_NB. Closing the file, or the end of the process, lets it go.
func (s *Store) lock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	if err := flock(f, how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", s.path(name), err)
	}
	return f, nil
}

// flock repeats flock(2) when a signal interrupts the wait: the Go scheduler
// sends itself SIGURG at any time.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err != unix.EINTR {
			return err
		}
	}
}

// unique is a name that nothing else has. It need not be secret: where it is used,
// nobody else can write.
func unique() string { return strconv.FormatUint(rand.Uint64(), 36) }

// replace writes ROOT/name so that a reader finds the old or the new content,
// also after a power failure.
func (s *Store) replace(name string, content []byte) error {
	temporary := s.path("tmp", unique())
	if err := writeSynced(temporary, content); err != nil {
		os.Remove(temporary) // best effort: the next writer sweeps tmp
		return fmt.Errorf("write %s: %w", s.path(name), cause(err))
	}
	if err := os.Rename(temporary, s.path(name)); err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), cause(err))
	}
	return nil
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
