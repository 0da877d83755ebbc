package image

// Looking images up, naming them, listing them.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

// An Image is an image in a store, as it was when it was looked up.
type Image struct {
	// ID is the digest of the configuration.
	ID Digest
	// Manifest is the digest of the manifest.
	Manifest Digest
	// Names are the references that point to the image, sorted by their
	// canonical form; empty if it has lost its names.
	Names []Reference
	// Config is the configuration: command, environment, diff ids, history.
	// Config.Created is nil or the zero time if the image does not say.
	Config Config
	// Size counts the bytes of the uncompressed layers. Layers shared with
	// other images count here, too.
	Size int64
	// Loaded are the names that [Store.Load] has just given it, in the archive's order.
	Loaded []Reference

	store *Store
}

// Layers gives the absolute paths of the unpacked layers, the topmost FIRST,
// which is the order of overlayfs's option lowerdir. They are read-only by
// agreement: every container of every image with that layer shares them. One that an
// image has several times, such as an empty one, is given once: overlayfs refuses a
// directory that it is given twice, and all that the lower ones have the topmost has, too.
func (i *Image) Layers() []string {
	var paths []string
	seen := map[Digest]bool{}
	for _, diffID := range slices.Backward(i.Config.RootFS.DiffIDs) {
		if !seen[diffID] {
			paths = append(paths, i.store.layerPath(diffID))
		}
		seen[diffID] = true
	}
	return paths
}

// Unpacked is an error if the directory of a layer is missing, or is a link to another one.
func (i *Image) Unpacked() error {
	p, err := i.store.open()
	if err != nil {
		return err
	}
	defer p.close()
	for _, diffID := range i.Config.RootFS.DiffIDs {
		if p.layers == nil || !p.layers.Has(diffID.Hex(), unix.S_IFDIR) {
			return fmt.Errorf("image %s: layer %s: not a directory", i.Manifest, i.store.layerPath(diffID))
		}
	}
	return nil
}

// Find looks an image up by its name, or else by its ID or the ID's first
// digits (at least one), with or without "sha256:". It reads three small
// files for a name, and two more for each other image for an ID. If there is
// none, the error is [ErrNotFound].
func (s *Store) Find(name string) (*Image, error) {
	p, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find image %q: %w", name, ErrNotFound)
	} else if err != nil {
		return nil, err
	}
	defer p.close()
	return p.find(name)
}

func (p *opened) find(name string) (*Image, error) {
	index, err := p.readIndex()
	if err != nil {
		return nil, err
	}
	if r, err := ParseReference(name); err == nil {
		if d, ok := named(&index, r); ok {
			return p.image(d, index.lines()[d])
		}
	}
	images, err := p.findID(&index, name)
	if err != nil {
		return nil, fmt.Errorf("find image %q: %w", name, err)
	}
	return images[0], nil
}

func named(index *Index, name Reference) (Digest, bool) {
	for _, d := range index.Manifests {
		if d.Annotations[nameAnnotation] == name.String() {
			return d.Digest, true
		}
	}
	return "", false
}

// findID gives all images with the one ID that begins with prefix. There can
// be several: with the same content, but layers compressed differently.
func (p *opened) findID(index *Index, prefix string) ([]*Image, error) {
	prefix = strings.TrimPrefix(prefix, "sha256:")
	if prefix == "" || !isHex(prefix) {
		return nil, ErrNotFound
	}
	all, err := p.images(index)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(all, func(i *Image) bool { return !strings.HasPrefix(i.ID.Hex(), prefix) })
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	for _, i := range found {
		if i.ID != found[0].ID {
			return nil, fmt.Errorf("several images have IDs that begin with it")
		}
	}
	return found, nil
}

// List gives all images, the newest first, those without a date last. Of those that
// cannot be read [Options].Damaged is told.
func (s *Store) List() ([]*Image, error) {
	p, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer p.close()
	index, err := p.readIndex()
	if err != nil {
		return nil, err
	}
	images, err := p.images(&index)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(images, func(a, b *Image) int { return strings.Compare(b.age(), a.age()) })
	return images, nil
}

// age is a string that sorts by date; UTC dates of the same form do.
func (i *Image) age() string {
	if i.Config.Created == nil {
		return ""
	}
	return i.Config.Created.UTC().Format("2006-01-02T15:04:05.000000000")
}

// images reads every image once, however many names it has.
func (p *opened) images(index *Index) ([]*Image, error) {
	lines := index.lines()
	var images []*Image
	for _, d := range index.Manifests {
		own := lines[d.Digest]
		if own == nil {
			continue
		}
		delete(lines, d.Digest)
		image, err := p.image(d.Digest, own)
		if errors.Is(err, fs.ErrNotExist) && !p.stillListed(d.Digest) {
			continue // removed since the index was read
		}
		if private.IsDamage(err) {
			p.options.Damaged(err)
			continue
		}
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

func (p *opened) stillListed(manifest Digest) bool {
	_, ok, err := p.listed(manifest)
	return ok || err != nil
}

// image reads what its lines of the index and the blobs say about one image.
func (p *opened) image(manifest Digest, lines []Descriptor) (*Image, error) {
	image := &Image{Manifest: manifest, store: p.Store}
	for _, d := range lines {
		image.describe(d)
	}
	slices.SortFunc(image.Names, func(a, b Reference) int { return strings.Compare(a.String(), b.String()) })
	document, err := p.readManifest(manifest)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", manifest, err)
	}
	image.ID = document.Config.Digest
	content, err := p.readBlob(image.ID)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", manifest, err)
	}
	config, err := parseConfig(content)
	if err != nil {
		return nil, fmt.Errorf("image %s: configuration: %w", manifest, err)
	}
	image.Config = *config
	return image, nil
}

// describe takes a name and the size from a line of the index. A name or a
// size that cannot be read is one that minirun did not write; the image is
// there nevertheless.
func (i *Image) describe(d Descriptor) {
	if r, err := ParseReference(d.Annotations[nameAnnotation]); err == nil {
		i.Names = append(i.Names, r)
	}
	if size, err := strconv.ParseInt(d.Annotations[sizeAnnotation], 10, 64); err == nil {
		i.Size = size
	}
}

// readManifest reads a manifest in the store.
func (p *opened) readManifest(manifest Digest) (*Manifest, error) {
	content, err := p.readBlob(manifest)
	if err != nil {
		return nil, err
	}
	var document Manifest
	if err := json.Unmarshal(content, &document); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	for _, d := range append(slices.Clone(document.Layers), document.Config) {
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	return &document, nil
}

// readBlob reads a small blob of the store and checks its digest: disks err.
func (p *opened) readBlob(d Digest) ([]byte, error) {
	if p.blobs == nil {
		return nil, fmt.Errorf("read blob %s: %w", d, fs.ErrNotExist)
	}
	if _, err := parseDigest(d.String()); err != nil {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	content, err := p.blobs.ReadFile(d.Hex(), private.Longest)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, cause(err))
	}
	if DigestOf(content) != d {
		return nil, fmt.Errorf("read blob %s: %w", d, ErrDigest)
	}
	return content, nil
}

// Tag gives the image that [Store.Find] finds for old one more name. If
// another image has that name it loses it.
func (s *Store) Tag(old string, name Reference) error {
	p, err := s.make()
	if err != nil {
		return err
	}
	defer p.close()
	lock, err := p.lock("lock", unix.LOCK_SH) // so that the image is not removed in between
	if err != nil {
		return err
	}
	defer lock.Close()
	image, err := p.find(old)
	if err != nil {
		return err
	}
	return p.updateIndex(func(index *Index) error {
		for _, d := range index.Manifests {
			if d.Digest == image.Manifest {
				setNames(index, result{image: d, names: []Reference{name}})
				return nil
			}
		}
		return fmt.Errorf("tag image %q: %w", old, ErrNotFound)
	})
}
