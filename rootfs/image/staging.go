package image

// A staging is one load in the making. Blobs and layers are made in a
// directory of its own under tmp/; publish renames them into place; abort,
// or the next writer's sweep, removes what was not published.
//
//	begin   lock shared, tmp/X/
//	…       tmp/X/blobs/HEX, tmp/X/layers/HEX/
//	publish syncfs; rename layers, blobs; index.json
//	abort   remove tmp/X/, unlock

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

type staging struct {
	store   *Store
	lock    *os.File
	tmp     *os.File // ROOT/tmp
	name    string   // of the staging directory in tmp
	here    *os.File // that directory
	budget  *budget
	blobs   map[Digest]bool // staged here
	layers  map[Digest]bool // staged here, by diff id
	results []result

	// What has been checked is not checked again: an archive can list one image, or one
	// layer, under as many names as its index has room for.
	listed map[Digest]Descriptor        // images of the store, as begin found them
	byID   map[Digest]Descriptor        // whole images, by their IDs
	images map[descriptorKey]Descriptor // as image returned them
	sizes  map[layerKey]int64           // uncompressed
}

type descriptorKey struct {
	mediaType string
	digest    Digest
	size      int64
}

type layerKey struct{ blob, diffID Digest }

// A result is an image to be listed, with the names it gets.
type result struct {
	image Descriptor
	names []Reference
}

// begin prepares the store for writing. The caller defers abort.
func (s *Store) begin() (*staging, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	tmp, err := os.Open(s.path("tmp"))
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	lock, err := s.lockSwept(tmp)
	if err != nil {
		tmp.Close()
		return nil, err
	}
	g := &staging{
		store: s, lock: lock, tmp: tmp, name: unique(), budget: newBudget(s.options.Limits),
		blobs: map[Digest]bool{}, layers: map[Digest]bool{},
		listed: map[Digest]Descriptor{}, byID: map[Digest]Descriptor{}, images: map[descriptorKey]Descriptor{}, sizes: map[layerKey]int64{},
	}
	if err := g.prepare(); err != nil {
		g.abort()
		return nil, fmt.Errorf("make image store: %w", cause(err))
	}
	return g, nil
}

func (g *staging) prepare() (err error) {
	for _, name := range []string{"", "blobs", "layers"} {
		if err := os.Mkdir(g.path(name), 0o700); err != nil {
			return err
		}
	}
	if g.here, err = os.Open(g.path()); err != nil {
		return err
	}
	index, err := g.store.readIndex() // nothing can be taken out of it as long as we hold the lock
	for _, d := range index.Manifests {
		if _, ok := g.listed[d.Digest]; ok {
			continue // another name
		}
		g.listed[d.Digest] = described(d, "")
		if image, err := g.store.image(d.Digest, nil); err == nil { // else it has been damaged
			g.byID[image.ID] = g.listed[d.Digest]
		}
	}
	return errors.Join(err, g.store.markLayout())
}

// lockSwept takes lock shared, after removing what killed processes left in
// tmp if nobody else is at work.
func (s *Store) lockSwept(tmp *os.File) (*os.File, error) {
	lock, err := s.lock("lock", unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return s.lock("lock", unix.LOCK_SH)
	}
	if err != nil {
		return nil, err
	}
	if err := sweep(tmp); err != nil {
		lock.Close()
		return nil, err
	}
	// flock(2) turns an exclusive lock into a shared one by letting go and
	// locking again. Somebody may come in between; we hold nothing yet.
	if err := flock(lock, unix.LOCK_SH); err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	return lock, nil
}

// sweep empties tmp. The caller holds lock exclusively.
func sweep(tmp *os.File) error {
	names, err := tmp.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("sweep image store: %w", err)
	}
	for _, name := range names {
		if err := discard(tmp, name); err != nil {
			return fmt.Errorf("sweep image store: %w", err)
		}
	}
	return nil
}

func (g *staging) path(parts ...string) string {
	return g.store.path(append([]string{"tmp", g.name}, parts...)...)
}

// abort removes what publish has not moved away and unlocks the store. If the
// removal does not succeed the next writer's sweep does it again, so its
// error is dropped: the one that led here is worth more.
func (g *staging) abort() {
	discard(g.tmp, g.name)
	g.here.Close() // nil, if it was never opened, only makes Close say so
	g.tmp.Close()
	g.lock.Close()
}

// blob stores what r gives. With a want that has a digest, content and size
// must be as described; with the zero want anything is taken. It returns the
// descriptor with digest and size filled in.
func (g *staging) blob(r io.Reader, want Descriptor) (Descriptor, error) {
	temporary := g.path(unique())
	got, err := writeHashed(temporary, bounded(r, want, g.store.options.Limits))
	if err != nil {
		return want, fmt.Errorf("store blob: %w", cause(err))
	}
	if err := compare(got, want); err != nil {
		return want, fmt.Errorf("store blob: %w", err)
	}
	want.Digest, want.Size = got.Digest, got.Size
	g.blobs[got.Digest] = true
	return want, os.Rename(temporary, g.path("blobs", got.Digest.Hex()))
}

// layerBlob stores a layer that nothing describes, and says what it is.
func (g *staging) layerBlob(r io.Reader) (Descriptor, error) {
	buffered := bufio.NewReader(r)
	start, err := buffered.Peek(magicLength)
	if err != nil && err != io.EOF {
		return Descriptor{}, fmt.Errorf("store blob: %w", cause(err))
	}
	return g.blob(buffered, Descriptor{MediaType: layerMediaType(start)})
}

// bounded lets a reader give one byte more than described, which is enough to
// see that there is more, and never more than the limit.
func bounded(r io.Reader, want Descriptor, limits Limits) io.Reader {
	if want.Digest != "" {
		r = io.LimitReader(r, want.Size+1)
	}
	return &limitReader{r: r, left: &limits.Bytes}
}

func writeHashed(path string, r io.Reader) (d Descriptor, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return d, err
	}
	defer f.Close() // publish syncs; a late write error shows there
	hash := sha256.New()
	d.Size, err = io.Copy(io.MultiWriter(f, hash), r)
	d.Digest = digestOf(hash)
	return d, err
}

func compare(got, want Descriptor) error {
	if want.Digest == "" || got.Digest == want.Digest && got.Size == want.Size {
		return nil
	}
	if got.Size != want.Size {
		return fmt.Errorf("%w its size of %d bytes", ErrDigest, want.Size)
	}
	return fmt.Errorf("%w: its digest is %s", ErrDigest, got.Digest)
}

// has tells whether a blob is staged or in the store already.
func (g *staging) has(d Digest) bool {
	return g.blobs[d] || exists(g.store.blobPath(d))
}

// hasLayer tells whether a layer is unpacked already.
func (g *staging) hasLayer(diffID Digest) bool {
	return g.layers[diffID] || exists(g.store.layerPath(diffID))
}

// open opens a blob that has reports.
func (g *staging) open(d Digest) (*os.File, error) {
	if g.blobs[d] {
		return os.Open(g.path("blobs", d.Hex()))
	}
	return os.Open(g.store.blobPath(d))
}

// publish makes the results visible: layers first, then blobs, names last, so
// that a name never points to something that is not there.
func (g *staging) publish() error {
	// Renames may reach the disk before the data they refer to. One syncfs(2)
	// before the first of them keeps half-written layers from surviving a
	// power failure; it also reports write errors of the whole load.
	if err := unix.Syncfs(int(g.tmp.Fd())); err != nil {
		return fmt.Errorf("sync image store: %w", err)
	}
	for d := range g.layers {
		if err := settle(g.path("layers", d.Hex()), g.store.layerPath(d)); err != nil {
			return fmt.Errorf("store layer %s: %w", d, err)
		}
	}
	for d := range g.blobs {
		if err := settle(g.path("blobs", d.Hex()), g.store.blobPath(d)); err != nil {
			return fmt.Errorf("store blob %s: %w", d, err)
		}
	}
	return g.store.updateIndex(g.list)
}

// settle renames into place. If another load was faster the content is the
// same by its digest, and ours is left for abort to remove.
func settle(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return cause(err)
}

func (g *staging) list(index *Index) error {
	setNames(index, g.results...)
	return nil
}

// layerDirectory makes an empty directory to unpack into.
func (g *staging) layerDirectory() (*os.File, error) {
	path := g.path(unique())
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, cause(err)
	}
	return os.Open(path)
}

// keepLayer names an unpacked directory by its diff id.
func (g *staging) keepLayer(directory *os.File, diffID Digest) error {
	g.layers[diffID] = true
	return os.Rename(directory.Name(), g.path("layers", diffID.Hex()))
}

// spool copies an archive to a file without a name, since its parts are
// needed in another order than they come in.
func (g *staging) spool(r io.Reader) (*os.File, error) {
	f, err := os.OpenFile(g.path(unique()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, cause(err)
	}
	os.Remove(f.Name()) // best effort: abort would remove it as well
	limit := g.store.options.Limits.Bytes
	if _, err := io.Copy(f, &limitReader{r: r, left: &limit}); err != nil {
		f.Close()
		return nil, cause(err)
	}
	return f, nil
}
