package image

// index.json: which names there are and which manifest each points to.
//
//	{"schemaVersion": 2, "manifests": [{
//	  "mediaType": "application/vnd.oci.image.manifest.v1+json",
//	  "digest": "sha256:…", "size": 527,
//	  "annotations": {
//	    "org.opencontainers.image.ref.name": "docker.io/library/httpd:latest",
//	    "minirun.image.size": "148322304"}}]}
//
// One line for each name. An image that has lost its names keeps one line
// without the annotation.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

const (
	layoutFile     = "oci-layout"
	indexFile      = "index.json"
	nameAnnotation = "org.opencontainers.image.ref.name"
	// containerd and docker put the full name here and only the tag there.
	containerdName = "io.containerd.image.name"
	// sizeAnnotation holds the bytes of the image's uncompressed layers.
	sizeAnnotation = "minirun.image.size"
)

// readIndex reads the index. A digest in it can be anything, if somebody has changed the
// file: readBlob checks it before it becomes a path, so that one line hides no other.
func (p *opened) readIndex() (Index, error) {
	index := Index{SchemaVersion: 2, MediaType: MediaTypeIndex}
	content, err := p.root.ReadFile(indexFile, private.Longest)
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, fmt.Errorf("read image index: %w", err)
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return index, fmt.Errorf("read %s: %w", p.path(indexFile), err)
	}
	return index, nil
}

// updateIndex lets change edit index.json while nobody else does. The caller
// holds lock.
func (p *opened) updateIndex(change func(*Index) error) error {
	lock, err := p.lock("index.lock", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	index, err := p.readIndex()
	if err != nil {
		return err
	}
	if err := change(&index); err != nil {
		return err
	}
	content, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return fmt.Errorf("write image index: %w", err)
	}
	return p.replace(indexFile, content)
}

// lines are the lines of each image, by its manifest.
func (i *Index) lines() map[Digest][]Descriptor {
	lines := map[Digest][]Descriptor{}
	for _, d := range i.Manifests {
		lines[d.Digest] = append(lines[d.Digest], d)
	}
	return lines
}

// setNames lists images and makes their names point to them; the last one to want a
// name has it. An image that so loses its last name stays, unnamed. Why all at once? An
// archive can have ten thousand names, and each would be looked for among all others.
func setNames(index *Index, results ...result) {
	last := map[Reference]Digest{}
	for _, r := range results {
		for _, name := range r.names {
			last[name] = r.image.Digest
		}
	}
	for i, d := range index.Manifests {
		if r, err := ParseReference(d.Annotations[nameAnnotation]); err == nil && last[r] != "" {
			index.Manifests[i] = described(d, "")
		}
	}
	for _, r := range results {
		index.Manifests = append(index.Manifests, described(r.image, ""))
		for _, name := range r.names {
			if last[name] == r.image.Digest && name != (Reference{}) {
				index.Manifests = append(index.Manifests, described(r.image, name.String()))
				delete(last, name) // once
			}
		}
	}
	dropUnnamed(index)
}

// dropName takes name away; the image stays, unnamed if need be.
func dropName(index *Index, name Reference) {
	for i, d := range index.Manifests {
		if d.Annotations[nameAnnotation] == name.String() {
			index.Manifests[i] = described(d, "")
		}
	}
	dropUnnamed(index)
}

// dropUnnamed leaves an image one unnamed line, and none if it has a name.
func dropUnnamed(index *Index) {
	seen := map[Digest]bool{}
	for _, d := range index.Manifests {
		seen[d.Digest] = seen[d.Digest] || d.Annotations[nameAnnotation] != ""
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d Descriptor) bool {
		redundant := d.Annotations[nameAnnotation] == "" && seen[d.Digest]
		seen[d.Digest] = true
		return redundant
	})
}

// described copies a descriptor with another name, "" for none.
func described(d Descriptor, name string) Descriptor {
	d.Annotations = maps.Clone(d.Annotations)
	delete(d.Annotations, nameAnnotation)
	if name != "" {
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[nameAnnotation] = name
	}
	return d
}
