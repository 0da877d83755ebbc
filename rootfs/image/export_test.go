package image

import "fmt"

// Add stores one image from blobs, as the end of a pull does, without a registry. The lock is
// held meanwhile; so it is for tests only.
func (s *Store) Add(blobs Blobs, d Descriptor, names ...Reference) (*Image, error) {
	p, err := s.make()
	if err != nil {
		return nil, fmt.Errorf("add image: %w", err)
	}
	defer p.close()
	g, err := p.begin()
	if err != nil {
		return nil, fmt.Errorf("add image: %w", err)
	}
	defer g.abort()
	if err := g.add(blobs, d, names); err != nil {
		return nil, fmt.Errorf("add image: %w", err)
	}
	images, err := g.conclude()
	if err != nil {
		return nil, fmt.Errorf("add image: %w", err)
	}
	return images[0], nil
}
