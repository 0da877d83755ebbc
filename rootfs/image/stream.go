package image

// Readers that layers flow through:
//
//	blob file → counted → decompressed → limited → hashed → tar

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// A budget is what is left of Limits during one load.
type budget struct {
	stream  int64 // bytes of uncompressed layers
	data    int64 // bytes of files; not the same, since files may be sparse
	entries int64
	kept    int64 // bytes of names and attributes that stay in memory to the end
}

// maxKept is what an image can make us remember: enough for a million directories.
const maxKept = 256 << 20

func newBudget(l Limits) *budget {
	return &budget{stream: l.Bytes, data: l.Bytes, entries: l.Entries, kept: maxKept}
}

// entry takes one file or directory from the budget.
func (b *budget) entry() error {
	if b.entries--; b.entries < 0 {
		return fmt.Errorf("%w: too many entries", ErrLimit)
	}
	return nil
}

// file takes a file's size from the budget.
func (b *budget) file(size int64) error {
	if size < 0 || size > b.data {
		return fmt.Errorf("%w: too many bytes", ErrLimit)
	}
	b.data -= size
	return nil
}

// keep takes what is remembered of a directory from the budget.
func (b *budget) keep(m metadata) error {
	b.kept -= int64(len(m.name))
	for name, value := range m.xattrs {
		b.kept -= int64(len(name) + len(value))
	}
	if b.kept < 0 {
		return fmt.Errorf("%w: too many bytes of names and extended attributes", ErrLimit)
	}
	return nil
}

// limitReader fails with ErrLimit after left bytes; io.LimitReader would end
// the file there, as if it were whole.
type limitReader struct {
	r    io.Reader
	left *int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if *l.left -= int64(n); *l.left < 0 {
		return 0, fmt.Errorf("%w: too many bytes", ErrLimit)
	}
	return n, err
}

// countReader reports progress after each read.
type countReader struct {
	r      io.Reader
	state  Progress
	report func(Progress)
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.state.Done += int64(n)
	c.report(c.state)
	return n, err
}

// layerMediaType looks at the first bytes rather than at a media type or a
// file name, which are often wrong: 1f 8b is gzip (RFC 1952), 28 b5 2f fd is
// zstd (RFC 8878), anything else counts as not compressed.
func layerMediaType(start []byte) string {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return MediaTypeLayerGzip
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return MediaTypeLayerZstd
	}
	return MediaTypeLayer
}

// magicLength is how many bytes layerMediaType looks at.
const magicLength = 4

// decompress gives r's uncompressed bytes.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	start, err := buffered.Peek(magicLength)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch layerMediaType(start) {
	case MediaTypeLayerGzip:
		return gzip.NewReader(buffered)
	case MediaTypeLayerZstd:
		return unzstd(buffered)
	}
	return io.NopCloser(buffered), nil
}
