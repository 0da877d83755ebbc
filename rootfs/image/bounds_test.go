package image

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// growth is how much more memory is allocated, in all, for twice the input: 2 if the
// work is proportional to the input, 4 or 8 if it is not.
func growth(t *testing.T, n int, work func(n int) func()) float64 {
	t.Helper()
	allocated := func(do func()) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	once, twice := work(n), work(2*n)
	return allocated(twice) / allocated(once)
}

// TestManyNames: one image can have as many names as an archive has room for.
func TestManyNames(t *testing.T) {
	big := plainLayer(archive(t, file("big", strings.Repeat("x", 1<<20))))
	for what, make := range map[string]func(n int) []byte{
		"layout": func(n int) []byte {
			f := layoutFiles{}
			d := f.addImage(t, "many", big)
			var entries []Descriptor
			for i := range n {
				entries = append(entries, withName(d, nameAnnotation, fmt.Sprintf("docker.io/library/many:v%d", i)))
			}
			f.index(t, entries...)
			return f.tar(t)
		},
		"docker save": func(n int) []byte {
			item := dockerImage{Config: "config.json", Layers: []string{"layer.tar"}}
			for i := range n {
				item.RepoTags = append(item.RepoTags, fmt.Sprintf("many:v%d", i))
			}
			return archive(t, file("config.json", string(testConfig(t, "many", big))), file("layer.tar", string(big.blob)),
				file("manifest.json", string(marshal(t, []dockerImage{item}))))
		},
	} {
		ratio := growth(t, 400, func(n int) func() {
			s, content := newStore(t, Options{Ownership: ownership()}), make(n)
			return func() {
				images, err := s.Load(bytes.NewReader(content))
				if err != nil || len(images) != 1 || len(images[0].Names) != n {
					t.Fatalf("%s: Load() of an image with %d names = %v, %v", what, n, images, err)
				}
				if list, err := s.List(); err != nil || len(list) != 1 || len(list[0].Names) != n {
					t.Fatalf("%s: List() after that = %v, %v", what, list, err)
				}
			}
		})
		if t.Logf("%s: %.1f times as much for twice as many names", what, ratio); ratio > 2.5 {
			t.Errorf("%s: for twice as many names %.1f times as much is allocated", what, ratio)
		}
	}
}

// TestSizeOfKnownBlob: a manifest that gives a blob another size than it has is refused,
// also if the blob is here already.
func TestSizeOfKnownBlob(t *testing.T) {
	layer := plainLayer(archive(t, file("a", "a")))
	for _, wrong := range []int64{-1, 1} {
		f := layoutFiles{}
		good := f.addImage(t, "good", layer)
		var m Manifest
		readJSON(t, f["blobs/sha256/"+good.Digest.Hex()], &m)
		m.Layers[0].Size += wrong
		bad := f.blob(MediaTypeManifest, marshal(t, m))
		f.index(t, withName(good, nameAnnotation, "x/good:1"), withName(bad, nameAnnotation, "x/bad:1"))
		s := newStore(t, Options{Ownership: ownership()})
		if _, err := s.Load(bytes.NewReader(f.tar(t))); !errors.Is(err, ErrDigest) {
			t.Errorf("size off by %d: Load() = %v, want %v", wrong, err, ErrDigest)
		}
		wantEmpty(t, s)
	}
}
