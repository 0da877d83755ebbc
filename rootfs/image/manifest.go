package image

// Manifests, indexes and configurations: small JSON documents from hostile
// hands. Each is fetched whole, its digest checked before a byte is parsed.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
)

const (
	// maxDocument bounds a JSON document; registries allow 4 MiB.
	maxDocument = 4 << 20
	// maxLayers is how many lower layers overlayfs takes.
	maxLayers = 500
	// maxNesting bounds indexes in indexes.
	maxNesting = 4
)

// Blobs hands out the blobs of an image that is not in the store yet: those
// of an archive, a directory, a registry.
type Blobs interface {
	// Blob opens the blob with the descriptor's digest. The store checks
	// what it reads, so an implementation need not.
	Blob(Descriptor) (io.ReadCloser, error)
}

// document is any of manifest and index. One that claims to be both could be
// read in two ways by two programs.
type document struct {
	MediaType string       `json:"mediaType"`
	Manifests []Descriptor `json:"manifests"`
	Config    *Descriptor  `json:"config"`
	Layers    []Descriptor `json:"layers"`
}

// image stages the image that d, a manifest or an index, describes, and
// returns its manifest's descriptor, with the size annotation.
func (g *staging) image(from Blobs, d Descriptor) (Descriptor, error) {
	key := descriptorKey{d.MediaType, d.Digest, d.Size}
	if known, ok := g.images[key]; ok {
		return known, nil
	}
	image, err := g.newImage(from, d)
	if err == nil {
		g.images[key] = image
	}
	return image, err
}

func (g *staging) newImage(from Blobs, d Descriptor) (Descriptor, error) {
	d, manifest, err := g.manifest(from, d, maxNesting)
	if err != nil {
		return d, err
	}
	config, err := g.config(from, *manifest.Config)
	if err != nil {
		return d, err
	}
	// An image is what its configuration says, which names the layers, too: an archive
	// that has them compressed in another way, or by another manifest, has no other image.
	if known, ok := g.byID[manifest.Config.Digest]; ok {
		return known, g.otherManifest(d.Digest, known.Digest, manifest.Layers)
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return d, fmt.Errorf("manifest %s: %d layers, but the configuration lists %d", d.Digest, len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	for _, blob := range manifest.Layers {
		if err := g.fetchLayer(from, blob); err != nil {
			return d, err
		}
	}
	total, err := g.unpackAll(manifest.Layers, config.RootFS.DiffIDs)
	if err != nil {
		return d, err
	}
	g.byID[manifest.Config.Digest] = sized(d, total)
	return g.byID[manifest.Config.Digest], nil
}

// otherManifest checks the layers that another manifest of a known image names, as far as
// they are here, and drops that manifest, which nobody needs.
func (g *staging) otherManifest(manifest, known Digest, layers []Descriptor) error {
	if manifest == known {
		return nil // it was checked when it was loaded
	}
	delete(g.blobs, manifest)
	for _, d := range layers {
		if err := checkDescriptor(d); err != nil {
			return err
		}
		if g.has(d.Digest) {
			if err := g.sameSize(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// sized makes a clean line for index.json of a manifest's descriptor.
func sized(d Descriptor, total int64) Descriptor {
	return Descriptor{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform,
		Annotations: map[string]string{sizeAnnotation: strconv.FormatInt(total, 10)},
	}
}

// listed looks a manifest up in index.json.
func (p *opened) listed(manifest Digest) (Descriptor, bool, error) {
	index, err := p.readIndex()
	if err != nil {
		return Descriptor{}, false, err
	}
	for _, d := range index.Manifests {
		if d.Digest == manifest {
			return described(d, ""), true, nil
		}
	}
	return Descriptor{}, false, nil
}

// manifest fetches d and, while it is an index, goes on with the entry for
// this platform.
func (g *staging) manifest(from Blobs, d Descriptor, nesting int) (Descriptor, *document, error) {
	content, err := g.fetchDocument(from, d)
	if err != nil {
		return d, nil, err
	}
	parsed, err := parseDocument(content, d.MediaType)
	if err != nil {
		return d, nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if parsed.Config != nil {
		_, err := g.blob(bytes.NewReader(content), d)
		return d, parsed, err
	}
	if nesting == 0 {
		return d, nil, fmt.Errorf("index %s: more than %d indexes in each other", d.Digest, maxNesting)
	}
	next, err := choose(parsed.Manifests)
	if err != nil {
		return d, nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	return g.manifest(from, next, nesting-1)
}

// parseDocument reads a manifest, with Config set, or an index, without.
func parseDocument(content []byte, mediaType string) (*document, error) {
	var d document
	if err := json.Unmarshal(content, &d); err != nil {
		return nil, err
	}
	if d.MediaType != "" && mediaType != "" && d.MediaType != mediaType {
		return nil, fmt.Errorf("media type %q, but described as %q", d.MediaType, mediaType)
	}
	if d.MediaType == "" {
		d.MediaType = mediaType
	}
	return &d, d.check()
}

func (d *document) check() error {
	isIndex := d.Manifests != nil
	isManifest := d.Config != nil || d.Layers != nil
	switch d.MediaType {
	case MediaTypeIndex, dockerIndex:
		if !isIndex || isManifest {
			return fmt.Errorf("not an image index")
		}
		return nil
	case MediaTypeManifest, dockerManifest:
		if d.Config == nil || isIndex {
			return fmt.Errorf("not an image manifest")
		}
		return d.checkManifest()
	}
	return fmt.Errorf("media type %q is neither an image manifest nor an index", d.MediaType)
}

func (d *document) checkManifest() error {
	if t := d.Config.MediaType; t != MediaTypeConfig && t != dockerConfig {
		return fmt.Errorf("media type %q is not an image configuration", t)
	}
	if len(d.Layers) > maxLayers {
		return fmt.Errorf("%d layers, more than the %d that overlayfs takes", len(d.Layers), maxLayers)
	}
	for _, l := range d.Layers {
		if err := layerType(l.MediaType); err != nil {
			return err
		}
	}
	return nil
}

// config fetches, stages and parses an image configuration.
func (g *staging) config(from Blobs, d Descriptor) (*Config, error) {
	content, err := g.fetchDocument(from, d)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(content)
	if err != nil {
		return nil, fmt.Errorf("image configuration %s: %w", d.Digest, err)
	}
	_, err = g.blob(bytes.NewReader(content), d)
	return config, err
}

func parseConfig(content []byte) (*Config, error) {
	var config Config
	if err := json.Unmarshal(content, &config); err != nil {
		return nil, err
	}
	if config.OS != "" && config.OS != "linux" {
		return nil, fmt.Errorf("made for %s, not linux", config.OS)
	}
	for _, id := range config.RootFS.DiffIDs {
		if _, err := parseDigest(id.String()); err != nil {
			return nil, err
		}
	}
	return &config, nil
}

// fetchDocument reads a JSON document into memory and checks its digest.
func (g *staging) fetchDocument(from Blobs, d Descriptor) ([]byte, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	if d.Size > maxDocument {
		return nil, fmt.Errorf("document %s: %w: %d bytes, more than %d", d.Digest, ErrLimit, d.Size, maxDocument)
	}
	r, err := g.fetch(from, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", d.Digest, err)
	}
	got := Descriptor{Digest: DigestOf(content), Size: int64(len(content))}
	if err := compare(got, d); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", d.Digest, err)
	}
	return content, nil
}

func checkDescriptor(d Descriptor) error {
	if _, err := parseDigest(d.Digest.String()); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("blob %s: size %d", d.Digest, d.Size)
	}
	return nil
}

// fetch prefers what is already here.
func (g *staging) fetch(from Blobs, d Descriptor) (io.ReadCloser, error) {
	if g.has(d.Digest) {
		return g.open(d.Digest)
	}
	r, err := from.Blob(d)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", d.Digest, err)
	}
	return r, nil
}

// fetchLayer stages a layer's blob.
func (g *staging) fetchLayer(from Blobs, d Descriptor) error {
	if err := checkDescriptor(d); err != nil {
		return err
	}
	if g.has(d.Digest) {
		return g.sameSize(d)
	}
	return g.fetchBlob(from, d)
}

// sameSize compares the size of a blob that is here already with the one that a
// manifest gives it.
func (g *staging) sameSize(d Descriptor) error {
	f, err := g.open(d.Digest)
	if err != nil {
		return cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return cause(err)
	}
	if err := compare(Descriptor{Digest: d.Digest, Size: info.Size()}, d); err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return nil
}

func (g *staging) fetchBlob(from Blobs, d Descriptor) error {
	r, err := from.Blob(d)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", d.Digest, err)
	}
	defer r.Close()
	if _, err = g.blob(r, d); err != nil {
		return fmt.Errorf("fetch %s: %w", d.Digest, err)
	}
	return nil
}

// choose picks the entry for linux/GOARCH; an entry that does not say what it
// is for counts if no other fits.
func choose(entries []Descriptor) (Descriptor, error) {
	var found []string
	var unknown *Descriptor
	for i, d := range entries {
		switch {
		case d.Platform == nil:
			unknown = &entries[i]
		case d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH:
			return d, nil
		default:
			found = append(found, d.Platform.OS+"/"+d.Platform.Architecture)
		}
	}
	if unknown != nil {
		return *unknown, nil
	}
	return Descriptor{}, fmt.Errorf("no image for linux/%s, only for %q", runtime.GOARCH, strings.Join(found, ", "))
}
