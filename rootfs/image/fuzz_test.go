package image

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// fuzzLimits keep one run short.
var fuzzLimits = Limits{Bytes: 1 << 20, Entries: 500}

// FuzzUnpack gives any bytes as a layer; nothing outside of it may change.
func FuzzUnpack(f *testing.F) {
	for _, c := range hostile {
		if !strings.Contains(c.name, "deep") && !strings.Contains(c.name, "long") {
			f.Add(archive(f, c.entries...))
		}
	}
	f.Add(archive(f, file("a/.wh.b", ""), file("a/.wh..wh..opq", ""), dir("d"), hardlink("h", "a/b")))
	f.Add(sparseArchive(f, 1<<20))
	f.Fuzz(func(t *testing.T, content []byte) {
		canary := newCanary(t)
		root, err := unpackTo(t, Options{Limits: fuzzLimits, Ownership: Mine}, content)
		if err == nil {
			snapshot(t, root)
		}
		canary.check(t)
	})
}

// FuzzLoad gives any bytes as an archive: it loads, or leaves nothing.
func FuzzLoad(f *testing.F) {
	l := plainLayer(archive(f, file("a", "x")))
	docker := dockerArchive(f, "x", "", l)
	files := layoutFiles{}
	files.index(f, withName(files.addImage(f, "", l), nameAnnotation, "x:y"))
	for _, seed := range [][]byte{docker, gzipped(f, docker), files.tar(f), archive(f, file("manifest.json", "[{}]")), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if bytes.HasPrefix(content, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
			return // a process for each run would be slow, and it is zstd's to fuzz
		}
		s := newStore(t, Options{Limits: fuzzLimits, Ownership: Mine})
		images, err := s.Load(bytes.NewReader(content))
		if err != nil {
			wantEmpty(t, s)
			return
		}
		for _, image := range images {
			for _, layer := range image.Layers() {
				if _, err := os.Stat(layer); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// FuzzParseReference checks that what is accepted reads back the same.
func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{"httpd", "a.b:5000/c/d:e", "x@sha256:" + hex64, "a__b/c---d:E.f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		for _, form := range []string{r.String(), r.Familiar()} {
			if again, err := ParseReference(form); err != nil || again != r {
				t.Errorf("ParseReference(%q) = %v, %v, want %v", form, again, err, r)
			}
		}
	})
}
