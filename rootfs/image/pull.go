package image

// Pulling: an image comes from a registry, which is slow, may stop in the middle, and may
// lie. The network itself is not here: see [Source].
//
//	resolve   manifest and configuration, into memory; nothing is on disk yet
//	keep      a list of all digests, so that nobody removes what is here already
//	fetch     ROOT/pulls/HEX grows; its digest is checked; it moves to ROOT/blobs/sha256/HEX
//	add       the same as for a load: unpack, publish, name
//
// Only the last step, and the moment in which the list is made, hold the store's lock: a
// server can be silent for as long as it likes, and nobody else has to wait for that.
//
//	ROOT/pulls/HEX      a blob that is not whole yet. Whoever fetches it locks it with
//	                    flock(2); another pull that needs it waits, and then finds it in
//	                    the store. After a cut, or in the next pull, it is fetched from
//	                    its end on.
//	ROOT/pulls/list-X   the digests that a pull needs, locked for as long as it runs
//
// The kernel gives a lock back when the process ends, however it ends. So what is not
// locked belongs to no running pull: [Store.Remove] and [Store.Prune] delete it, and the
// next pull of the same blob goes on with it.
//
// No deadlock is possible: a pull waits for the lock of a blob only as long as it holds no
// other.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

// A Source is where a pull gets the parts of an image: a registry.
type Source interface {
	// Blob opens what d describes: a layer or a configuration, or, by its media type,
	// a manifest or an index. It begins at the byte offset, or, if the source cannot do
	// that, at 0; start says where. An error ends the pull; so the source itself tries
	// again what is worth another try. An error while body is read is a cut: the pull
	// goes on from there. The store checks what it reads.
	Blob(ctx context.Context, d Descriptor, offset int64) (body io.ReadCloser, start int64, err error)
}

// IsDocument says whether a descriptor is that of a manifest or an index, by its media type.
func IsDocument(d Descriptor) bool {
	switch d.MediaType {
	case MediaTypeIndex, MediaTypeManifest, dockerIndex, dockerManifest:
		return true
	}
	return false
}

// DocumentTypes are the media types of manifests and indexes that can be read.
func DocumentTypes() []string {
	return []string{MediaTypeIndex, dockerIndex, MediaTypeManifest, dockerManifest}
}

// MaxDocument is how many bytes a manifest, an index or a configuration may have.
const MaxDocument = maxDocument

// pullsDir is where blobs are that are not whole yet.
const pullsDir = "pulls"

// A pull is one pull.
type pull struct {
	store     *opened
	from      Source
	dir       *private.Dir // pullsDir
	documents documents    // what resolve has read
	needed    []Digest     // of all that the image consists of; diff ids, too
	layers    []Descriptor // that have to be fetched, each once
}

// documents are small blobs in memory.
type documents map[Digest][]byte

// Blob gives a document; all else is in the store when it is asked.
func (m documents) Blob(d Descriptor) (io.ReadCloser, error) {
	content, ok := m[d.Digest]
	if !ok {
		return nil, errors.New("removed from the store while it was pulled")
	}
	return io.NopCloser(strings.NewReader(string(content))), nil
}

// Pull stores the image that d, a manifest or an index, describes, fetches the blobs that
// are missing, and gives it names. What it has fetched when it fails, or is killed, is where
// the next pull goes on. Besides those of [Store.Load], its errors are those of the source,
// and ctx's if that is done.
func (s *Store) Pull(ctx context.Context, from Source, d Descriptor, names ...Reference) (*Image, error) {
	p, err := s.make()
	if err != nil {
		return nil, err
	}
	defer p.close()
	l := &pull{store: p, from: from, documents: documents{}}
	manifest, config, err := l.resolve(ctx, d)
	if err != nil {
		return nil, err
	}
	if l.dir, err = p.root.MakeDir(pullsDir); err != nil {
		return nil, cause(err)
	}
	defer l.dir.Close()
	release, err := l.keep()
	if err != nil {
		return nil, fmt.Errorf("write down what is pulled: %w", cause(err))
	}
	defer release()
	if err := l.fetchLayers(ctx, manifest, config); err != nil {
		return nil, err
	}
	g, err := p.begin()
	if err != nil {
		return nil, err
	}
	defer g.abort()
	if err := g.add(l.documents, d, names); err != nil {
		return nil, err
	}
	images, err := g.conclude()
	if err != nil {
		return nil, err
	}
	return images[0], nil
}

// resolve reads the manifest of the image and its configuration. From an index it takes
// the entry for this platform.
func (l *pull) resolve(ctx context.Context, d Descriptor) (*document, *Config, error) {
	for range maxNesting + 1 {
		content, err := l.document(ctx, d)
		if err != nil {
			return nil, nil, err
		}
		parsed, err := parseDocument(content, d.MediaType)
		if err != nil {
			return nil, nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if parsed.Config != nil {
			config, err := l.config(ctx, d, parsed)
			return parsed, config, err
		}
		if d, err = choose(parsed.Manifests); err != nil {
			return nil, nil, fmt.Errorf("index %s: %w", d.Digest, err)
		}
	}
	return nil, nil, fmt.Errorf("index %s: more than %d indexes in each other", d.Digest, maxNesting)
}

// config reads the configuration, and checks what can be checked before anything is fetched.
func (l *pull) config(ctx context.Context, d Descriptor, manifest *document) (*Config, error) {
	content, err := l.document(ctx, *manifest.Config)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(content)
	if err != nil {
		return nil, fmt.Errorf("image configuration %s: %w", manifest.Config.Digest, err)
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return nil, fmt.Errorf("manifest %s: %d layers, but the configuration lists %d", d.Digest, len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	l.needed = append(l.needed, d.Digest, manifest.Config.Digest)
	left := l.store.options.Limits.Bytes
	for i, layer := range manifest.Layers {
		if err := checkDescriptor(layer); err != nil {
			return nil, err
		}
		if left -= min(layer.Size, left+1); left < 0 {
			return nil, fmt.Errorf("manifest %s: %w: layers of more than %d bytes", d.Digest, ErrLimit, l.store.options.Limits.Bytes)
		}
		l.needed = append(l.needed, layer.Digest, config.RootFS.DiffIDs[i])
	}
	return config, nil
}

// document reads a small blob into memory and checks its digest.
func (l *pull) document(ctx context.Context, d Descriptor) ([]byte, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	if d.Size > maxDocument {
		return nil, fmt.Errorf("document %s: %w: %d bytes, more than %d", d.Digest, ErrLimit, d.Size, maxDocument)
	}
	var content []byte
	for tries := (&cuts{}); ; {
		body, start, err := l.from.Blob(ctx, d, 0)
		if err != nil {
			return nil, err
		}
		content, err = io.ReadAll(io.LimitReader(body, d.Size+1))
		body.Close()
		if err = errors.Join(err, errOffset(start)); err == nil {
			break
		}
		if err := tries.wait(ctx, 0, err); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", d.Digest, err)
		}
	}
	got := Descriptor{Digest: DigestOf(content), Size: int64(len(content))}
	if err := compare(got, d); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", d.Digest, err)
	}
	l.documents[d.Digest] = content
	return content, nil
}

// keep writes down what the pull needs, until release is called: for [opened.collectPulls].
// The lock is held so that no Remove is in the middle of its work: each either sees the list,
// or has removed what it removes before we look for it.
func (l *pull) keep() (release func(), err error) {
	lock, err := l.store.lock("lock", unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	name := listPrefix + private.Unique()
	f, err := l.dir.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	release = func() {
		l.dir.Remove(name) // if it cannot be removed, the next Remove does it
		f.Close()
	}
	if err = private.Lock(f, unix.LOCK_EX); err == nil {
		_, err = io.WriteString(f, joinDigests(l.needed))
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

const listPrefix = "list-"

func joinDigests(digests []Digest) string {
	var text strings.Builder
	for _, d := range digests {
		text.WriteString(d.String() + "\n")
	}
	return text.String()
}

// collectPulls removes what unfinished pulls have left, and adds what running ones need to
// needed. The caller holds lock exclusively.
func (p *opened) collectPulls(needed map[Digest]bool) error {
	dir, err := p.root.MakeDir(pullsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := collectPull(dir, name, needed); err != nil {
			return err
		}
	}
	return nil
}

func collectPull(dir *private.Dir, name string, needed map[Digest]bool) error {
	f, err := dir.OpenFile(name, unix.O_RDONLY, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // it has just become whole
	} else if err != nil {
		return errors.Join(dir.RemoveAll(name)) // nothing that a pull has made
	}
	defer f.Close()
	err = private.Lock(f, unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return dir.RemoveAll(name)
	case !errors.Is(err, unix.EWOULDBLOCK):
		return err
	case !strings.HasPrefix(name, listPrefix):
		return nil
	}
	text, err := private.ReadAll(f, private.Longest)
	for line := range strings.Lines(string(text)) {
		needed[Digest(strings.TrimSuffix(line, "\n"))] = true
	}
	return err
}
