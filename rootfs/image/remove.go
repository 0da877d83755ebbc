package image

// Removing names, and with an image's last name all that nothing refers to.
//
// Under the exclusive lock nobody loads, so what the index does not reach is
// garbage, whoever left it. The index goes first: from then on nobody finds
// the image, and a process killed later leaves only garbage.

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

// Removed tells what [Store.Remove] did.
type Removed struct {
	// Untagged are the names that are gone.
	Untagged []Reference
	// Deleted are the IDs of the images that are gone.
	Deleted []Digest
	// Layers are the diff ids whose directories are gone.
	Layers []Digest
	// Kept are the diff ids whose directories no image needs any more, but a
	// container. The next Remove after the container's end deletes them.
	Kept []Digest
}

// Remove takes a name away; if it was the image's last, the image goes, too.
// By ID or its first digits, the image goes with all its names. Blobs and
// layers that no other image needs are deleted, except layers for whose diff
// ids inUse says true; nil says false for all. It waits for loads and for
// holders of [Store.Hold] to end, and calls inUse when they have.
func (s *Store) Remove(name string, inUse func(diffID Digest) bool) (Removed, error) {
	removed, err := s.remove(name, inUse)
	if err != nil {
		return removed, fmt.Errorf("remove image %q: %w", name, err)
	}
	return removed, nil
}

func (s *Store) remove(name string, inUse func(Digest) bool) (Removed, error) {
	removed, err := s.takeOut(inUse, func(p *opened, index *Index, removed *Removed) error { return p.unlist(index, name, removed) })
	if errors.Is(err, fs.ErrNotExist) && removed == nil {
		return Removed{}, ErrNotFound // there is no store
	}
	return *cmp.Or(removed, &Removed{}), err
}

// takeOut lets unlist take lines out of the index, and removes what nobody needs then. The result
// is nil if the store could not be opened; fs.ErrNotExist says that there is none.
func (s *Store) takeOut(inUse func(Digest) bool, unlist func(*opened, *Index, *Removed) error) (*Removed, error) {
	p, err := s.open()
	if err != nil {
		return nil, err
	}
	p.close()
	if p, err = s.make(); err != nil { // there is a store: now with all its directories
		return nil, err
	}
	defer p.close()
	removed := &Removed{}
	lock, err := p.lock("lock", unix.LOCK_EX)
	if err != nil {
		return removed, err
	}
	defer lock.Close()
	if err := p.updateIndex(func(index *Index) error { return unlist(p, index, removed) }); err != nil {
		return removed, err
	}
	return removed, p.collect(inUse, removed)
}

// unlist takes lines out of the index.
func (p *opened) unlist(index *Index, name string, removed *Removed) error {
	if r, err := ParseReference(name); err == nil {
		if d, ok := named(index, r); ok {
			return p.unlistName(index, d, r, removed)
		}
	}
	images, err := p.findID(index, name)
	if errors.Is(err, ErrNotFound) {
		return p.unlistDamaged(index, name)
	} else if err != nil {
		return err
	}
	for _, image := range images {
		removed.Untagged = append(removed.Untagged, image.Names...)
		unlistImage(index, image.Manifest)
	}
	removed.Deleted = append(removed.Deleted, images[0].ID)
	return nil
}

// unlistDamaged takes out an image that cannot be read, by its manifest, which is how
// List calls it.
func (p *opened) unlistDamaged(index *Index, name string) error {
	for manifest, lines := range index.lines() {
		if manifest.String() != name && manifest.Hex() != name {
			continue
		}
		if _, err := p.image(manifest, lines); private.IsDamage(err) {
			unlistImage(index, manifest)
			return nil
		}
	}
	return ErrNotFound
}

// Prune removes the images that have lost their names, except those for which keep says
// true (nil says false for all), and what unfinished pulls have left. inUse is that of
// [Store.Remove], which says what else goes.
func (s *Store) Prune(keep func(id Digest) bool, inUse func(diffID Digest) bool) (Removed, error) {
	removed, err := s.takeOut(inUse, func(p *opened, index *Index, removed *Removed) error { return p.unlistUnnamed(index, keep, removed) })
	if errors.Is(err, fs.ErrNotExist) && removed == nil {
		return Removed{}, nil // there is no store, and so nothing to remove
	}
	return *cmp.Or(removed, &Removed{}), err
}

func (p *opened) unlistUnnamed(index *Index, keep func(Digest) bool, removed *Removed) error {
	images, err := p.images(index)
	if err != nil {
		return err
	}
	for _, image := range images {
		if len(image.Names) == 0 && (keep == nil || !keep(image.ID)) {
			unlistImage(index, image.Manifest)
			removed.Deleted = append(removed.Deleted, image.ID)
		}
	}
	return nil
}

func (p *opened) unlistName(index *Index, manifest Digest, name Reference, removed *Removed) error {
	removed.Untagged = append(removed.Untagged, name)
	dropName(index, name)
	for _, d := range index.Manifests {
		if d.Digest == manifest && d.Annotations[nameAnnotation] != "" {
			return nil // it has other names
		}
	}
	unlistImage(index, manifest)
	// A manifest that cannot be read must not keep its name from going.
	if document, err := p.readManifest(manifest); err == nil {
		removed.Deleted = append(removed.Deleted, document.Config.Digest)
	}
	return nil
}

func unlistImage(index *Index, manifest Digest) {
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d Descriptor) bool { return d.Digest == manifest })
}

// collect deletes all blobs and layers that the index does not reach.
func (p *opened) collect(inUse func(Digest) bool, removed *Removed) error {
	index, err := p.readIndex()
	if err != nil {
		return err
	}
	needed, err := p.needed(&index)
	if err != nil {
		return err
	}
	if err := p.collectPulls(needed); err != nil {
		return err
	}
	if err := p.collectBlobs(needed); err != nil {
		return err
	}
	if err := p.collectLayers(needed, inUse, removed); err != nil {
		return err
	}
	return p.sweep()
}

// needed is the set of blobs and diff ids that the index reaches. Of an image that is
// damaged this is what can be read of it: the rest comes again when it is loaded again.
func (p *opened) needed(index *Index) (map[Digest]bool, error) {
	needed := map[Digest]bool{}
	for _, d := range index.Manifests {
		if err := p.reach(d.Digest, needed); err != nil && !private.IsDamage(err) {
			return nil, err
		}
	}
	return needed, nil
}

// reach adds what an image needs.
func (p *opened) reach(manifest Digest, needed map[Digest]bool) error {
	needed[manifest] = true
	document, err := p.readManifest(manifest)
	if err != nil {
		return err
	}
	needed[document.Config.Digest] = true
	for _, layer := range document.Layers {
		needed[layer.Digest] = true
	}
	content, err := p.readBlob(document.Config.Digest)
	if err != nil {
		return err
	}
	config, err := parseConfig(content)
	if err != nil {
		return err
	}
	for _, diffID := range config.RootFS.DiffIDs {
		needed[diffID] = true
	}
	return nil
}

func (p *opened) collectBlobs(needed map[Digest]bool) error {
	names, err := p.blobs.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if d := Digest("sha256:" + name); !needed[d] {
			if err := p.blobs.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// collectLayers moves directories to tmp, so that each is gone at once;
// sweeping tmp then deletes them.
func (p *opened) collectLayers(needed map[Digest]bool, inUse func(Digest) bool, removed *Removed) error {
	names, err := p.layers.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		d := Digest("sha256:" + name)
		switch {
		case needed[d]:
		case inUse != nil && inUse(d):
			removed.Kept = append(removed.Kept, d)
		default:
			if err := p.layers.Rename(name, p.tmp, name); err != nil {
				return err
			}
			removed.Layers = append(removed.Layers, d)
		}
	}
	return nil
}
