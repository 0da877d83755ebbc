package image

// Loading images from archives and directories. Two forms are known:
//
//	OCI image layout        oci-layout, index.json, blobs/sha256/HEX
//	docker save, up to 24   manifest.json, HEX.json, HEX/layer.tar
//
// docker save since version 25 writes both in one archive; the layout is
// preferred, since it has the manifest as it was pulled.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Load stores the images in an archive made by docker save, or in a tar of an
// OCI image layout, plain or compressed with gzip or zstd, with the names the
// archive gives them, and unpacks their layers. Either all of that happens or
// nothing. A regular uncompressed *os.File is read in place, from its
// beginning; anything else is copied first.
//
// Errors name the entry and the layer; they are [ErrDigest] for bytes that
// are not what they claim to be, [ErrLimit] for an archive that grows beyond
// [Limits], and otherwise the kernel's.
func (s *Store) Load(r io.Reader) ([]*Image, error) {
	p, err := s.make()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	defer p.close()
	images, err := p.load(r)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return images, nil
}

func (p *opened) load(r io.Reader) ([]*Image, error) {
	f, err := p.seekable(r)
	if err != nil {
		return nil, fmt.Errorf("read image archive: %w", err)
	}
	if f != r {
		defer f.Close()
	}
	g, err := p.begin()
	if err != nil {
		return nil, err
	}
	defer g.abort()
	return g.loadArchive(f)
}

func (g *staging) loadArchive(f *os.File) ([]*Image, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read image archive: %w", err)
	}
	archive, err := openTarball(f, f, g.store.options.Limits.Entries)
	if err != nil {
		return nil, err
	}
	return g.loadTree(archive)
}

// seekable gives r itself if it is an uncompressed file, and a copy otherwise.
// The archive may change while we read it in place; digests show that.
func (p *opened) seekable(r io.Reader) (*os.File, error) {
	if f, ok := r.(*os.File); ok && isPlain(f) {
		return f, nil
	}
	counted := &countReader{r: r, report: p.options.Progress}
	plain, err := decompress(counted)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return p.spool(plain)
}

// isPlain tells whether f is a regular file with tar's magic word where the
// first header has it (tar(5)).
func isPlain(f *os.File) bool {
	magic := make([]byte, 5)
	if !isRegular(f) {
		return false
	}
	_, err := f.ReadAt(magic, 257)
	return err == nil && string(magic) == "ustar"
}

func isRegular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// LoadDirectory is like [Store.Load] for a directory with an OCI image layout.
// Symbolic links that lead out of the directory are refused.
func (s *Store) LoadDirectory(directory string) ([]*Image, error) {
	root, err := os.OpenFile(directory, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	defer root.Close()
	p, err := s.make()
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", directory, err)
	}
	defer p.close()
	g, err := p.begin()
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", directory, err)
	}
	defer g.abort()
	images, err := g.loadTree(directoryTree{root})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", directory, err)
	}
	return images, nil
}

// directoryTree opens regular files only: opening a fifo would wait for its
// writer, opening a device may do anything. The kernel follows links, and not an
// os.Root, which takes a system call for each component of each link's target.
type directoryTree struct{ root *os.File }

// Open implements [fs.FS].
func (d directoryTree) Open(name string) (fs.File, error) {
	fd, err := plan.Openat2(int(d.root.Fd()), name, unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// add takes one image into the staging: its manifest, or an index of manifests, is what d describes.
func (g *staging) add(blobs Blobs, d Descriptor, names []Reference) error {
	image, err := g.image(blobs, d)
	if err != nil {
		return err
	}
	g.results = append(g.results, result{image: image, names: names})
	return nil
}

// conclude publishes and reads back what has been loaded, each image once.
func (g *staging) conclude() ([]*Image, error) {
	if err := g.publish(); err != nil {
		return nil, err
	}
	index, err := g.store.readIndex()
	if err != nil {
		return nil, err
	}
	lines, loaded := index.lines(), map[Digest]*Image{}
	var images []*Image
	for _, r := range g.results {
		image := loaded[r.image.Digest]
		if image == nil {
			if image, err = g.store.image(r.image.Digest, lines[r.image.Digest]); err != nil {
				return nil, err
			}
			loaded[r.image.Digest] = image
			images = append(images, image)
		}
		for _, name := range r.names {
			if name != (Reference{}) {
				image.Loaded = append(image.Loaded, name)
			}
		}
	}
	return images, nil
}

// loadTree loads all images of an archive or a directory.
func (g *staging) loadTree(tree fs.FS) ([]*Image, error) {
	err := g.loadLayout(tree)
	if errors.Is(err, errNotHere) {
		err = g.loadDocker(tree)
	}
	if errors.Is(err, errNotHere) {
		return nil, fmt.Errorf("neither %s nor %s is in it: not an image archive (a root file system is imported, not loaded)", indexFile, dockerList)
	}
	if err != nil {
		return nil, err
	}
	return g.conclude()
}

// errNotHere: the file that makes a form of archive is not there.
var errNotHere = errors.New("not in the archive")

// readDocument reads a JSON file of the archive.
func readDocument(tree fs.FS, name string, into any) error {
	f, err := tree.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", name, errNotHere)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if len(content) > maxDocument {
		return fmt.Errorf("read %s: %w: more than %d bytes", name, ErrLimit, maxDocument)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// layout is an OCI image layout as a source of blobs.
type layout struct{ tree fs.FS }

// Blob opens a blob by its digest, which has been checked to be one.
func (l layout) Blob(d Descriptor) (io.ReadCloser, error) {
	return l.tree.Open("blobs/sha256/" + d.Digest.Hex())
}

func (g *staging) loadLayout(tree fs.FS) error {
	var mark struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := readDocument(tree, layoutFile, &mark); err != nil {
		return err
	}
	if !strings.HasPrefix(mark.Version, "1.") {
		return fmt.Errorf("read %s: version %q is not known", layoutFile, mark.Version)
	}
	var index Index
	if err := readDocument(tree, indexFile, &index); err != nil {
		return err
	}
	images, err := forThisPlatform(index.Manifests)
	if err != nil {
		return fmt.Errorf("%s: %w", indexFile, err)
	}
	for _, d := range images {
		if err := g.add(layout{tree}, d, layoutNames(d)); err != nil {
			return err
		}
	}
	return nil
}

// forThisPlatform drops the entries that say they are for another platform.
// None left of some is an error; that goes for an empty layout, too.
func forThisPlatform(entries []Descriptor) ([]Descriptor, error) {
	var fitting []Descriptor
	for _, d := range entries {
		if d.Platform == nil || d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH {
			fitting = append(fitting, d)
		}
	}
	if len(fitting) == 0 {
		_, err := choose(entries)
		return nil, err
	}
	return fitting, nil
}

// layoutNames reads the names that tools note in an index: containerd and
// docker the full name under a key of their own; podman, and this store, the
// full name under OCI's key, where skopeo and docker put the tag alone, which
// is no name.
func layoutNames(d Descriptor) []Reference {
	for _, key := range []string{containerdName, nameAnnotation} {
		name := d.Annotations[key]
		if !strings.ContainsAny(name, "/:") {
			continue
		}
		if r, err := ParseReference(name); err == nil {
			return []Reference{r}
		}
	}
	return nil
}

// dockerList is the table of contents of docker save.
const dockerList = "manifest.json"

// dockerImage is one entry of manifest.json. All are names in the archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (g *staging) loadDocker(tree fs.FS) error {
	var list []dockerImage
	if err := readDocument(tree, dockerList, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%s: no images", dockerList)
	}
	for _, item := range list {
		if err := g.loadDockerImage(tree, item); err != nil {
			return err
		}
	}
	return nil
}

// loadDockerImage stages the parts, which have no digests in this format but
// the diff ids, and writes the manifest that is missing.
func (g *staging) loadDockerImage(tree fs.FS, item dockerImage) error {
	names, err := parseReferences(item.RepoTags)
	if err != nil {
		return err
	}
	config, err := fromFile(tree, item.Config, func(r io.Reader) (Descriptor, error) {
		return g.blob(r, Descriptor{MediaType: MediaTypeConfig})
	})
	if err != nil {
		return err
	}
	if known, ok := g.byID[config.Digest]; ok { // see newImage
		g.results = append(g.results, result{image: known, names: names})
		return nil
	}
	if len(item.Layers) > maxLayers {
		return fmt.Errorf("%s: more than %d layers", dockerList, maxLayers)
	}
	var layers []Descriptor
	for _, name := range item.Layers {
		layer, err := fromFile(tree, name, g.layerBlob)
		if err != nil {
			return err
		}
		layers = append(layers, layer)
	}
	manifest, err := g.makeManifest(config, layers)
	if err != nil {
		return err
	}
	return g.add(nil, manifest, names)
}

func parseReferences(names []string) (parsed []Reference, err error) {
	for _, name := range names {
		r, err := ParseReference(name)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, r)
	}
	return parsed, nil
}

// fromFile stages one file of the archive.
func fromFile(tree fs.FS, name string, stage func(io.Reader) (Descriptor, error)) (Descriptor, error) {
	f, err := tree.Open(name)
	if err != nil {
		return Descriptor{}, fmt.Errorf("read %q: %w", name, cause(err))
	}
	defer f.Close()
	d, err := stage(f)
	if err != nil {
		return d, fmt.Errorf("read %q: %w", name, err)
	}
	return d, nil
}

// makeManifest writes a manifest for blobs that are staged.
func (g *staging) makeManifest(config Descriptor, layers []Descriptor) (Descriptor, error) {
	return g.document(Manifest{
		SchemaVersion: 2, MediaType: MediaTypeManifest,
		Config: config, Layers: layers,
	}, MediaTypeManifest)
}

// document stages value as JSON.
func (g *staging) document(value any, mediaType string) (Descriptor, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return Descriptor{}, fmt.Errorf("write %s: %w", mediaType, err)
	}
	return g.blob(strings.NewReader(string(content)), Descriptor{MediaType: mediaType})
}
