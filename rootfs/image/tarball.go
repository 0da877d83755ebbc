package image

// An image archive as a file system in the sense of io/fs: names and the
// places of their bytes in the archive. Nothing in it ever becomes a file
// name on this machine.

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"
)

// maxLinks bounds chains of symbolic links. Old versions of docker save
// replace a layer that occurs twice by a link to the first.
const maxLinks = 8

type tarball struct {
	r     io.ReaderAt
	files map[string]place
	names int64 // bytes of names that may still come
}

// place is where the bytes of a file are, or what a link points to.
type place struct {
	offset, size int64
	link         string
}

// openTarball reads an uncompressed archive's headers and passes over the rest.
func openTarball(r io.ReadSeeker, at io.ReaderAt, entries int64) (*tarball, error) {
	t := &tarball{r: at, files: map[string]place{}, names: maxKept}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, fmt.Errorf("read image archive: %w", err)
		}
		if entries--; entries < 0 {
			return nil, fmt.Errorf("read image archive: %w: too many entries", ErrLimit)
		}
		// The tar reader reads whole headers and nothing ahead, so this is
		// where the content begins.
		offset, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fmt.Errorf("read image archive: %w", err)
		}
		t.add(header, offset)
		if t.names -= int64(len(header.Name) + len(header.Linkname)); t.names < 0 {
			return nil, fmt.Errorf("read image archive: %w: too many bytes of names", ErrLimit)
		}
	}
}

func (t *tarball) add(header *tar.Header, offset int64) {
	name := path.Clean("/" + header.Name)[1:]
	switch header.Typeflag {
	case tar.TypeReg:
		t.files[name] = place{offset: offset, size: header.Size}
	case tar.TypeSymlink:
		t.files[name] = place{link: path.Join("/", path.Dir(name), header.Linkname)[1:]}
	case tar.TypeLink:
		t.files[name] = place{link: path.Clean("/" + header.Linkname)[1:]}
	}
}

// Open implements [fs.FS].
func (t *tarball) Open(name string) (fs.File, error) {
	wanted := name
	for range maxLinks {
		p, ok := t.files[name]
		if !ok {
			break
		}
		if p.link == "" {
			return &tarFile{SectionReader: io.NewSectionReader(t.r, p.offset, p.size), name: path.Base(name)}, nil
		}
		name = p.link
	}
	return nil, &fs.PathError{Op: "open", Path: wanted, Err: fs.ErrNotExist}
}

// tarFile is a file in an archive, and its own [fs.FileInfo].
type tarFile struct {
	*io.SectionReader
	name string
}

func (f *tarFile) Close() error               { return nil }
func (f *tarFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *tarFile) Name() string               { return f.name }
func (f *tarFile) Mode() fs.FileMode          { return 0o400 }
func (f *tarFile) ModTime() time.Time         { return time.Time{} }
func (f *tarFile) IsDir() bool                { return false }
func (f *tarFile) Sys() any                   { return nil }
