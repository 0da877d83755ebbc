package image

// Removing names, and with an image's last name all that nothing refers to.
//
// Under the exclusive lock nobody loads, so what the index does not reach is
// garbage, whoever left it. The index goes first: from then on nobody finds
// the image, and a process killed later leaves only garbage.

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
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

func (s *Store) remove(name string, inUse func(Digest) bool) (removed Removed, err error) {
	if !exists(s.path(indexFile)) {
		return removed, ErrNotFound
	}
	lock, err := s.lock("lock", unix.LOCK_EX)
	if err != nil {
		return removed, err
	}
	defer lock.Close()
	if err := s.updateIndex(func(index *Index) error { return s.unlist(index, name, &removed) }); err != nil {
		return removed, err
	}
	return removed, s.collect(inUse, &removed)
}

// unlist takes lines out of the index.
func (s *Store) unlist(index *Index, name string, removed *Removed) error {
	if r, err := ParseReference(name); err == nil {
		if d, ok := named(index, r); ok {
			return s.unlistName(index, d, r, removed)
		}
	}
	images, err := s.findID(index, name)
	if errors.Is(err, ErrNotFound) {
		return s.unlistDamaged(index, name)
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
func (s *Store) unlistDamaged(index *Index, name string) error {
	for manifest, lines := range index.lines() {
		if manifest.String() != name && manifest.Hex() != name {
			continue
		}
		if _, err := s.image(manifest, lines); isDamage(err) {
			unlistImage(index, manifest)
			return nil
		}
	}
	return ErrNotFound
}

func (s *Store) unlistName(index *Index, manifest Digest, name Reference, removed *Removed) error {
	removed.Untagged = append(removed.Untagged, name)
	dropName(index, name)
	for _, d := range index.Manifests {
		if d.Digest == manifest && d.Annotations[nameAnnotation] != "" {
			return nil // it has other names
		}
	}
	unlistImage(index, manifest)
	// A manifest that cannot be read must not keep its name from going.
	if document, err := s.readManifest(manifest); err == nil {
		removed.Deleted = append(removed.Deleted, document.Config.Digest)
	}
	return nil
}

func unlistImage(index *Index, manifest Digest) {
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d Descriptor) bool { return d.Digest == manifest })
}

// collect deletes all blobs and layers that the index does not reach.
func (s *Store) collect(inUse func(Digest) bool, removed *Removed) error {
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	needed, err := s.needed(&index)
	if err != nil {
		return err
	}
	tmp, err := os.Open(s.path("tmp"))
	if err != nil {
		return err
	}
	defer tmp.Close()
	if err := s.collectBlobs(needed); err != nil {
		return err
	}
	if err := s.collectLayers(tmp, needed, inUse, removed); err != nil {
		return err
	}
	return sweep(tmp)
}

// needed is the set of blobs and diff ids that the index reaches. Of an image that is
// damaged this is what can be read of it: the rest comes again when it is loaded again.
func (s *Store) needed(index *Index) (map[Digest]bool, error) {
	needed := map[Digest]bool{}
	for _, d := range index.Manifests {
		if err := s.reach(d.Digest, needed); err != nil && !isDamage(err) {
			return nil, err
		}
	}
	return needed, nil
}

// reach adds what an image needs.
func (s *Store) reach(manifest Digest, needed map[Digest]bool) error {
	needed[manifest] = true
	document, err := s.readManifest(manifest)
	if err != nil {
		return err
	}
	needed[document.Config.Digest] = true
	for _, layer := range document.Layers {
		needed[layer.Digest] = true
	}
	content, err := s.readBlob(document.Config.Digest)
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

func (s *Store) collectBlobs(needed map[Digest]bool) error {
	entries, err := os.ReadDir(s.path("blobs", "sha256"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if d := Digest("sha256:" + entry.Name()); !needed[d] {
			if err := os.RemoveAll(s.blobPath(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// collectLayers moves directories to tmp, so that each is gone at once;
// sweeping tmp then deletes them.
func (s *Store) collectLayers(tmp *os.File, needed map[Digest]bool, inUse func(Digest) bool, removed *Removed) error {
	entries, err := os.ReadDir(s.path("layers"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		d := Digest("sha256:" + entry.Name())
		switch {
		case needed[d]:
		case inUse != nil && inUse(d):
			removed.Kept = append(removed.Kept, d)
		default:
			if err := os.Rename(s.layerPath(d), s.path("tmp", entry.Name())); err != nil {
				return err
			}
			removed.Layers = append(removed.Layers, d)
		}
	}
	return nil
}
