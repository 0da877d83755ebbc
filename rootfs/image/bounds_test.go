package image

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
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

// through are n files whose names lead through links of so many directories each.
func through(n, links, directories int) []entry {
	entries := []entry{dir("d"), symlink("l0", "d")}
	for i := 1; i < links; i++ {
		entries = append(entries, symlink(fmt.Sprint("l", i), strings.Repeat("d/../", directories/2)+fmt.Sprint("l", i-1)))
	}
	for i := range n {
		entries = append(entries, file(fmt.Sprint("l", links-1, "/", i), ""))
	}
	return entries
}

// TestLinksOnTheWay: 39 links of 4 KB each would lead through 62,000 directories for
// every name. What links cost is proportional to the entries, or the archive is refused.
func TestLinksOnTheWay(t *testing.T) {
	steps := func(entries []entry) (int64, error) {
		r := bytes.NewReader(archive(t, entries...))
		u := newUnpacker(t, Options{})
		before := u.budget.steps + stepsPerEntry*int64(len(entries))
		err := u.unpack(r)
		return before - u.budget.steps, err
	}
	once, err1 := steps(through(200, 5, 6))
	twice, err2 := steps(through(400, 5, 6))
	if ratio := float64(twice) / float64(once); err1 != nil || err2 != nil || once < 200*4*6 || ratio > 2.1 {
		t.Errorf("200 files behind links cost %d steps, %v; 400 files %d, %v", once, err1, twice, err2)
	}
	for _, n := range []int{2000, 4000} {
		used, err := steps(through(n, 39, 1600))
		if most := int64(firstSteps + (n+100)*stepsPerEntry + 4096); !errors.Is(err, ErrLimit) || used > most {
			t.Errorf("%d files behind links of 1600 directories each cost %d steps, %v; want ErrLimit, and %d steps at most", n, used, err, most)
		}
	}
	// As honest layers do it, with many files.
	entries := []entry{dir("usr/lib/x"), symlink("lib", "usr/lib"), symlink("lib64", "/lib")}
	for i := range 500 {
		entries = append(entries, file(fmt.Sprint("lib64/x/", i), ""))
	}
	if used, err := steps(entries); err != nil {
		t.Errorf("files in lib64 -> /lib -> usr/lib: %v after %d steps", err, used)
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

// TestDamagedImage: one damaged image hides no other, keeps no other from being removed,
// is named, and can be removed; what is missing of it comes when it is loaded again.
func TestDamagedImage(t *testing.T) {
	layer := plainLayer(archive(t, file("a", "a")))
	f := layoutFiles{}
	bad := f.addImage(t, "bad", layer)
	f.index(t, withName(bad, nameAnnotation, "x/bad:1"), withName(f.addImage(t, "good", layer), nameAnnotation, "x/good:1"))
	var m Manifest
	readJSON(t, f["blobs/sha256/"+bad.Digest.Hex()], &m)
	for what, blob := range map[string]Digest{"configuration": m.Config.Digest, "manifest": bad.Digest} {
		for how, ruin := range map[string]func(path string) error{
			"gone":        os.Remove,
			"a directory": func(path string) error { return errors.Join(os.Remove(path), os.MkdirAll(path+"/x", 0o700)) },
			"cut":         func(path string) error { return os.Truncate(path, 3) },
		} {
			for _, name := range []string{"x/bad:1", "sha256:" + bad.Digest.Hex()} {
				var told []error
				s := newStore(t, Options{Ownership: ownership(), Damaged: func(err error) { told = append(told, err) }})
				load := func() {
					t.Helper()
					if _, err := s.Load(bytes.NewReader(f.tar(t))); err != nil {
						t.Errorf("%s is %s: Load() = %v", what, how, err)
					}
				}
				load()
				if err := ruin(s.path("blobs", "sha256", blob.Hex())); err != nil {
					t.Fatal(err)
				}
				list, err := s.List()
				if err != nil || len(list) != 1 || list[0].Names[0].Familiar() != "x/good:1" || len(told) != 1 || !strings.Contains(told[0].Error(), bad.Digest.Hex()) {
					t.Errorf("%s is %s: List() = %v, %v, and told %v", what, how, list, err, told)
				}
				for _, word := range []string{"x/good:1", name} {
					if _, err := s.Remove(word, nil); err != nil {
						t.Errorf("%s is %s: Remove(%s) = %v", what, how, word, err)
					}
				}
				wantEmpty(t, s)
				load()
				if how == "gone" {
					if err := ruin(s.path("blobs", "sha256", blob.Hex())); err != nil {
						t.Fatal(err)
					}
					load()
				}
			}
		}
	}
}

// TestDamagedIndex: a line of index.json with a digest that is none hides no other image,
// is named, and can be removed by its name and by what it says. It is no path, either.
func TestDamagedIndex(t *testing.T) {
	layer := plainLayer(archive(t, file("a", "a")))
	f := layoutFiles{}
	bad := f.addImage(t, "bad", layer)
	f.index(t, withName(bad, nameAnnotation, "x/bad:1"), withName(f.addImage(t, "good", layer), nameAnnotation, "x/good:1"))
	for _, digest := range []string{"sha256:12", "", "sha256:../../../../etc/passwd", "md5:" + bad.Digest.Hex()} {
		for _, word := range []string{"x/bad:1", digest} {
			if word == "" {
				continue // no word means it
			}
			var told []error
			s := newStore(t, Options{Ownership: ownership(), Damaged: func(err error) { told = append(told, err) }})
			if _, err := s.Load(bytes.NewReader(f.tar(t))); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(s.path(indexFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path(indexFile), bytes.ReplaceAll(text, []byte(bad.Digest), []byte(digest)), 0o600); err != nil {
				t.Fatal(err)
			}
			list, err := s.List()
			if err != nil || len(list) != 1 || list[0].Names[0].Familiar() != "x/good:1" || len(told) != 1 || !strings.Contains(told[0].Error(), strconv.Quote(digest)) {
				t.Errorf("digest %q: List() = %v, %v, and told %v", digest, list, err, told)
			}
			if _, err := s.Find("x/good:1"); err != nil {
				t.Errorf("digest %q: Find(x/good:1) = %v", digest, err)
			}
			for _, remove := range []string{word, "x/good:1"} {
				if _, err := s.Remove(remove, nil); err != nil {
					t.Errorf("digest %q: Remove(%s) = %v", digest, remove, err)
				}
			}
			wantEmpty(t, s)
		}
	}
}
