package image

// A staging is one load in the making. Blobs and layers are made in a
// directory of its own under tmp/; publish renames them into place; abort,
// or the next writer's sweep, removes what was not published.
//
//	spool   an archive from a pipe, without the lock
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
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

type staging struct {
	store   *opened
	lock    *os.File
	name    string       // of the staging directory in tmp
	here    *private.Dir // that directory
	budget  *budget
	blobs   map[Digest]bool                      // staged here
	mu      sync.Mutex                           // of layers
	layers  map[Digest]bool                      // staged here, by diff id
	dirs    struct{ blobs, layers *private.Dir } // in here
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

// begin begins to write. The caller defers abort.
func (p *opened) begin() (*staging, error) {
	lock, err := p.lockSwept()
	if err != nil {
		return nil, err
	}
	g := &staging{
		store: p, lock: lock, name: private.Unique(), budget: newBudget(p.options.Limits),
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
	if g.here, err = g.store.tmp.MakeDir(g.name); err != nil {
		return err
	}
	if g.dirs.blobs, err = g.here.MakeDir("blobs"); err != nil {
		return err
	}
	if g.dirs.layers, err = g.here.MakeDir("layers"); err != nil {
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
func (p *opened) lockSwept() (*os.File, error) {
	lock, err := p.lock("lock", unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return p.lock("lock", unix.LOCK_SH)
	}
	if err != nil {
		return nil, err
	}
	if err := p.sweep(); err != nil {
		lock.Close()
		return nil, err
	}
	// flock(2) turns an exclusive lock into a shared one by letting go and
	// locking again. Somebody may come in between; we hold nothing yet.
	if err := private.Lock(lock, unix.LOCK_SH); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// sweep empties tmp. The caller holds lock exclusively.
func (p *opened) sweep() error {
	names, err := p.tmp.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("sweep image store: %w", err)
	}
	for _, name := range names {
		if err := private.Discard(p.tmp.File, name); err != nil {
			return fmt.Errorf("sweep image store: %w", err)
		}
	}
	return nil
}

// abort removes what publish has not moved away and unlocks the store. If the
// removal does not succeed the next writer's sweep does it again, so its
// error is dropped: the one that led here is worth more.
func (g *staging) abort() {
	private.Discard(g.store.tmp.File, g.name)
	for _, d := range []*private.Dir{g.here, g.dirs.blobs, g.dirs.layers} {
		if d != nil {
			d.Close()
		}
	}
	g.lock.Close()
}

// blob stores what r gives. With a want that has a digest, content and size
// must be as described; with the zero want anything is taken. It returns the
// descriptor with digest and size filled in.
func (g *staging) blob(r io.Reader, want Descriptor) (Descriptor, error) {
	temporary := private.Unique()
	got, err := g.writeHashed(temporary, bounded(r, want, g.store.options.Limits))
	if err != nil {
		return want, fmt.Errorf("store blob: %w", cause(err))
	}
	if err := compare(got, want); err != nil {
		return want, fmt.Errorf("store blob: %w", err)
	}
	want.Digest, want.Size = got.Digest, got.Size
	g.blobs[got.Digest] = true
	return want, g.here.Rename(temporary, g.dirs.blobs, got.Digest.Hex())
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

func (g *staging) writeHashed(name string, r io.Reader) (d Descriptor, err error) {
	f, err := g.here.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
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
	return g.blobs[d] || g.store.blobs.Has(d.Hex(), unix.S_IFREG)
}

// hasLayer tells whether a layer is unpacked already.
func (g *staging) hasLayer(diffID Digest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.layers[diffID] || g.store.layers.Has(diffID.Hex(), unix.S_IFDIR)
}

// open opens a blob that has reports.
func (g *staging) open(d Digest) (*os.File, error) {
	if g.blobs[d] {
		return g.dirs.blobs.OpenFile(d.Hex(), unix.O_RDONLY, 0)
	}
	return g.store.blobs.OpenFile(d.Hex(), unix.O_RDONLY, 0)
}

// publish makes the results visible: layers first, then blobs, names last, so
// that a name never points to something that is not there.
func (g *staging) publish() error {
	// Renames may reach the disk before the data they refer to. One syncfs(2)
	// before the first of them keeps half-written layers from surviving a
	// power failure; it also reports write errors of the whole load.
	if err := unix.Syncfs(int(g.here.Fd())); err != nil {
		return fmt.Errorf("sync image store: %w", err)
	}
	for d := range g.layers {
		if err := settle(g.dirs.layers, g.store.layers, d); err != nil {
			return fmt.Errorf("store layer %s: %w", d, err)
		}
	}
	for d := range g.blobs {
		if err := settle(g.dirs.blobs, g.store.blobs, d); err != nil {
			return fmt.Errorf("store blob %s: %w", d, err)
		}
	}
	return g.store.updateIndex(g.list)
}

// settle renames into place. If another load was faster the content is the
// same by its digest, and ours is left for abort to remove.
func settle(from, to *private.Dir, d Digest) error {
	err := from.Rename(d.Hex(), to, d.Hex())
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
func (g *staging) layerDirectory() (*private.Dir, error) {
	d, err := g.here.MakeDir(private.Unique())
	if err != nil {
		return nil, cause(err)
	}
	return d, nil
}

// keepLayer names an unpacked directory by its diff id. An image can have one layer twice,
// compressed in two ways: the second directory is left for abort to remove.
func (g *staging) keepLayer(directory *private.Dir, diffID Digest) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.layers[diffID] {
		return nil
	}
	g.layers[diffID] = true
	return g.here.Rename(filepath.Base(directory.Name()), g.dirs.layers, diffID.Hex())
}

// spool copies an archive to a file without a name, since its parts are needed in another
// order than they come in. The caller must not hold lock: whoever writes into a pipe can
// stop for as long as they like.
func (p *opened) spool(r io.Reader) (*os.File, error) {
	name := private.Unique()
	f, err := p.tmp.OpenFile(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, cause(err)
	}
	p.tmp.Remove(name) // ENOENT: somebody has just swept tmp
	limit := p.options.Limits.Bytes
	if _, err := io.Copy(f, &limitReader{r: r, left: &limit}); err != nil {
		f.Close()
		return nil, cause(err)
	}
	return f, nil
}
