package image

// Readers that layers flow through:
//
//	blob file → counted → decompressed → limited → hashed → tar

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A budget is what is left of Limits during one load. Several layers are unpacked at the
// same time, and all of them take from it.
type budget struct {
	mu      sync.Mutex
	stopped bool  // another layer has failed: none goes on
	stream  int64 // bytes of uncompressed layers
	data    int64 // bytes of files; not the same, since files may be sparse
	entries int64
	kept    int64 // bytes of names and attributes that stay in memory to the end
	steps   int64 // directories that symbolic links may still lead through
}

// maxKept is what an image can make us remember: enough for a million directories.
const maxKept = 256 << 20

// Each entry adds stepsPerEntry to what links may lead through: usual are one or two,
// for bin -> usr/bin. The first entries may use more.
const (
	stepsPerEntry = 40
	firstSteps    = 1000 * stepsPerEntry
)

func newBudget(l Limits) *budget {
	return &budget{stream: l.Bytes, data: l.Bytes, entries: l.Entries, kept: maxKept, steps: firstSteps}
}

// entry takes one file or directory from the budget.
func (b *budget) entry() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries--; b.entries < 0 {
		return fmt.Errorf("%w: too many entries", ErrLimit)
	}
	b.steps += stepsPerEntry
	return nil
}

// follow takes the directories in the target of a symbolic link from the budget.
func (b *budget) follow(steps int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.steps -= int64(steps); b.steps < 0 {
		return fmt.Errorf("%w: symbolic links lead through more than %d directories an entry", ErrLimit, stepsPerEntry)
	}
	return nil
}

// file takes a file's size from the budget.
func (b *budget) file(size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if size < 0 || size > b.data {
		return fmt.Errorf("%w: too many bytes", ErrLimit)
	}
	b.data -= size
	return nil
}

// keep takes what is remembered of a directory from the budget.
func (b *budget) keep(m metadata) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept -= int64(len(m.name))
	for name, value := range m.xattrs {
		b.kept -= int64(len(name) + len(value))
	}
	if b.kept < 0 {
		return fmt.Errorf("%w: too many bytes of names and extended attributes", ErrLimit)
	}
	return nil
}

// errStopped ends the unpacking of a layer because that of another one has failed.
var errStopped = errors.New("stopped")

// uncompressed takes bytes of an uncompressed layer from the budget.
func (b *budget) uncompressed(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream -= int64(n); b.stream < 0 {
		return fmt.Errorf("%w: too many bytes", ErrLimit)
	}
	if b.stopped {
		return errStopped
	}
	return nil
}

// stop ends the unpacking of the other layers.
func (b *budget) stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
}

// A budgetReader counts what is read, and takes it from the budget.
type budgetReader struct {
	r      io.Reader
	budget *budget
	size   int64
}

func (b *budgetReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.size += int64(n)
	if refused := b.budget.uncompressed(n); refused != nil {
		return 0, refused
	}
	return n, err
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
// zstd (RFC 8878), anything else counts as not compressed. A zstd file may begin with
// skippable frames, 5? 2a 4d 18, in which programs leave notes for each other.
func layerMediaType(start []byte) string {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return MediaTypeLayerGzip
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(start) > 0 && start[0]&0xf0 == 0x50 && bytes.HasPrefix(start[1:], []byte{0x2a, 0x4d, 0x18}):
		return MediaTypeLayerZstd
	}
	return MediaTypeLayer
}

// magicLength is how many bytes are looked at to find how an archive is compressed.
const magicLength = 10

// A Compression is how an archive is compressed that cannot be read here. It is an
// error, and the name of the program that decompresses the archive: to standard output,
// if it is called with -dc.
type Compression string

func (c Compression) Error() string {
	return "compressed with " + string(c) + ", which is not read here"
}

// otherCompression is an error if an archive is compressed in a way that docker load
// reads and this package does not. bzip2's first three bytes could begin the first name
// in a tar, so those of its first block are compared, too.
func otherCompression(start []byte) error {
	switch {
	case bytes.HasPrefix(start, []byte("\xfd7zXZ\x00")):
		return Compression("xz")
	case bytes.HasPrefix(start, []byte("BZh")) && bytes.HasSuffix(start, []byte("1AY&SY")):
		return Compression("bzip2")
	}
	return nil
}

// decompress gives r's uncompressed bytes.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	start, err := buffered.Peek(magicLength)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if err := otherCompression(start); err != nil {
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
