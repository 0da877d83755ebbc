package image

// Importing: a tar of a root file system becomes an image of one layer.

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"
)

// Import makes an image of one layer from a tar archive of a root file system,
// plain or compressed with gzip or zstd, as docker import does. Changes are
// instructions for [Change]. The zero name gives none. Names in the archive
// that begin with .wh. are whiteouts, as in any layer.
func (s *Store) Import(r io.Reader, name Reference, changes ...string) (*Image, error) {
	config := newConfig(time.Now().UTC())
	for _, change := range changes {
		// Before anything is read, so that a typing error costs nothing.
		if err := Change(&config.Config, change); err != nil {
			return nil, err
		}
	}
	p, err := s.make()
	if err != nil {
		return nil, err
	}
	defer p.close()
	counted := io.Reader(&countReader{r: r, report: s.options.Progress})
	if f, ok := r.(*os.File); !ok || !isRegular(f) { // it may stop for as long as its writer likes: not under the lock
		copied, err := p.spool(counted)
		if err != nil {
			return nil, fmt.Errorf("store blob: %w", err)
		}
		defer copied.Close()
		counted = io.NewSectionReader(copied, 0, math.MaxInt64)
	}
	g, err := p.begin()
	if err != nil {
		return nil, err
	}
	defer g.abort()
	if err := g.importLayer(counted, name, config); err != nil {
		return nil, err
	}
	images, err := g.conclude()
	if err != nil {
		return nil, err
	}
	return images[0], nil
}

func newConfig(now time.Time) *Config {
	return &Config{
		Created:  &now,
		Platform: Platform{OS: "linux", Architecture: runtime.GOARCH},
		History:  []History{{Created: &now, Comment: "imported from a root file system archive"}},
	}
}

func (g *staging) importLayer(r io.Reader, name Reference, config *Config) error {
	layer, err := g.layerBlob(r)
	if err != nil {
		return err
	}
	if layer.Size == 0 {
		return fmt.Errorf("the archive is empty")
	}
	diffID, size, err := g.layer(layer, "")
	if err != nil {
		return err
	}
	config.RootFS = RootFS{Type: "layers", DiffIDs: []Digest{diffID}}
	document, err := g.document(config, MediaTypeConfig)
	if err != nil {
		return err
	}
	manifest, err := g.makeManifest(document, []Descriptor{layer})
	if err != nil {
		return err
	}
	g.results = append(g.results, result{image: sized(manifest, size), names: []Reference{name}})
	return nil
}
