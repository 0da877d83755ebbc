package image

// From a layer's blob to its directory, checking both of its digests: that of
// the bytes as they came, which names the blob, and that of the uncompressed
// bytes, the diff id, which names the directory.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// unpackAll unpacks the layers of an image, as many at a time as there are processors: each
// has a directory of its own. It returns the number of their uncompressed bytes. If one
// fails, the others stop, and the error is that of the lowest one that has failed.
func (g *staging) unpackAll(blobs []Descriptor, diffIDs []Digest) (total int64, err error) {
	todo := g.toUnpack(blobs, diffIDs)
	sizes, failed := make([]int64, len(todo)), make([]error, len(todo))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(todo)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(todo)); i = next.Add(1) - 1 {
				if _, sizes[i], failed[i] = g.layer(todo[i].blob, todo[i].diffID); failed[i] != nil {
					g.budget.stop()
				}
			}
		})
	}
	workers.Wait()
	for i, l := range todo {
		if failed[i] != nil && !errors.Is(failed[i], errStopped) {
			return 0, failed[i]
		}
		g.sizes[layerKey{l.blob.Digest, l.diffID}] = sizes[i]
	}
	for i, blob := range blobs {
		total += g.sizes[layerKey{blob.Digest, diffIDs[i]}]
	}
	return total, nil
}

// A layerToUnpack is a layer's blob, and what it has to become.
type layerToUnpack struct {
	blob   Descriptor
	diffID Digest
}

// toUnpack leaves out the layers that this load has unpacked already, and those that are
// listed twice.
func (g *staging) toUnpack(blobs []Descriptor, diffIDs []Digest) (list []layerToUnpack) {
	seen := map[layerKey]bool{}
	for i, blob := range blobs {
		key := layerKey{blob.Digest, diffIDs[i]}
		if _, ok := g.sizes[key]; !ok && !seen[key] {
			list = append(list, layerToUnpack{blob, diffIDs[i]})
		}
		seen[key] = true
	}
	return list
}

// layer unpacks a staged or stored blob, unless its directory is there
// already; then only the digest is checked. With an empty want any diff id is
// taken. It returns the diff id and the number of uncompressed bytes.
func (g *staging) layer(blob Descriptor, want Digest) (Digest, int64, error) {
	diffID, size, err := g.unpackBlob(blob, want)
	if err == nil && want != "" && diffID != want {
		err = fmt.Errorf("%w: uncompressed its digest is %s, not %s", ErrDigest, diffID, want)
	}
	if err != nil {
		return "", 0, fmt.Errorf("layer %s: %w", blob.Digest, err)
	}
	g.store.options.Progress(Progress{Layer: blob.Digest, Step: Unpacked, Done: blob.Size, Total: blob.Size})
	return diffID, size, nil
}

func (g *staging) unpackBlob(blob Descriptor, want Digest) (Digest, int64, error) {
	f, err := g.open(blob.Digest)
	if err != nil {
		return "", 0, cause(err)
	}
	defer f.Close()
	if want != "" && g.hasLayer(want) {
		return g.consume(f, blob, func(io.Reader) error { return nil })
	}
	directory, err := g.layerDirectory()
	if err != nil {
		return "", 0, err
	}
	defer directory.Close()
	diffID, size, err := g.consume(f, blob, g.unpacker(directory.File, blob.Digest).unpack)
	if err != nil || want != "" && diffID != want {
		return diffID, size, err
	}
	return diffID, size, g.keepLayer(directory, diffID)
}

func (g *staging) unpacker(directory *os.File, blob Digest) *unpacker {
	return &unpacker{
		root: directory, trash: g.here.File, blob: blob, budget: g.budget,
		ownership: g.store.options.Ownership, skipped: g.store.options.Skipped,
	}
}

// consume gives the uncompressed bytes to use and hashes them all, also those
// that use leaves, such as the padding after a tar archive's end mark.
func (g *staging) consume(f io.Reader, blob Descriptor, use func(io.Reader) error) (Digest, int64, error) {
	counted := &countReader{r: f, state: Progress{Layer: blob.Digest, Total: blob.Size}, report: g.store.options.Progress}
	plain, err := decompress(counted)
	if err != nil {
		return "", 0, fmt.Errorf("decompress: %w", err)
	}
	defer plain.Close()
	hash := sha256.New()
	counter := &budgetReader{r: plain, budget: g.budget}
	hashed := io.TeeReader(counter, hash)
	if err := use(hashed); err != nil {
		return "", 0, err
	}
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return "", 0, fmt.Errorf("decompress: %w", err)
	}
	return digestOf(hash), counter.size, nil
}

// layerType tells whether media type t is a layer this package can unpack.
// Which compression it names does not matter; decompress looks at the bytes.
func layerType(t string) error {
	switch t {
	case MediaTypeLayer, MediaTypeLayerGzip, MediaTypeLayerZstd,
		dockerLayer, dockerLayerGzip, dockerLayerZstd:
		return nil
	}
	return fmt.Errorf("media type %q is not a layer that can be unpacked", t)
}
