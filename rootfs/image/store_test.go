package image

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStoreWithoutDirectory(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "none"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if images, err := s.List(); err != nil || len(images) != 0 {
		t.Errorf("List = %v, %v, want nothing", images, err)
	}
	if _, err := s.Find("httpd"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Find = %v, want ErrNotFound", err)
	}
	if _, err := s.Remove("httpd", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("Remove = %v, want ErrNotFound", err)
	}
	if _, err := os.Lstat(s.root); err == nil {
		t.Errorf("reading made %s", s.root)
	}
}

func TestLoadDocker(t *testing.T) {
	s := newStore(t, Options{})
	bottom := plainLayer(archive(t, file("a", "bottom")))
	top := plainLayer(archive(t, file("b", "top")))
	image := load(t, s, dockerArchive(t, "httpd:2.4", "", bottom, top))
	want := []string{s.layerPath(top.diffID()), s.layerPath(bottom.diffID())}
	if got := image.Layers(); !slices.Equal(got, want) {
		t.Errorf("Layers() = %q, want %q", got, want)
	}
	if image.ID != DigestOf(testConfig(t, "", bottom, top)) {
		t.Errorf("ID = %s, want the configuration's digest", image.ID)
	}
	if got := fmt.Sprint(image.Names[0].Familiar(), image.Config.Config.Cmd); got != "httpd:2.4[/bin/true]" {
		t.Errorf("name and command = %s", got)
	}
	if want := int64(len(bottom.plain) + len(top.plain)); image.Size != want {
		t.Errorf("Size = %d, want %d", image.Size, want)
	}
	if got := read(t, filepath.Join(image.Layers()[0], "b")); got != "top" {
		t.Errorf("b = %q, want top", got)
	}
	if left := contents(t, s, "tmp"); len(left) != 0 {
		t.Errorf("tmp holds %q", left)
	}
}

// Compressed archives, links instead of layers, a layer that occurs twice.
func TestLoadDockerVariants(t *testing.T) {
	l := plainLayer(archive(t, file("a", "x")))
	config := testConfig(t, "", l, l)
	list := marshal(t, []dockerImage{{Config: "c.json", Layers: []string{"1/layer.tar", "2/layer.tar"}}})
	linked := archive(t, file("c.json", string(config)), file("1/layer.tar", string(l.blob)), symlink("2/layer.tar", "../1/layer.tar"), file("manifest.json", string(list)))
	for name, content := range map[string][]byte{"plain": linked, "gzip": gzipped(t, linked)} {
		s := newStore(t, Options{})
		image := load(t, s, content)
		if len(image.Names) != 0 || len(image.Config.RootFS.DiffIDs) != 2 || len(image.Layers()) != 1 {
			t.Errorf("%s: %d names, %d layers, directories %q; want 0, 2, one", name, len(image.Names), len(image.Config.RootFS.DiffIDs), image.Layers())
		}
	}
}

func TestLoadFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	content := dockerArchive(t, "a", "", plainLayer(archive(t, file("a", "x"))))
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // in place, and again although the offset has moved
		if _, err := newStore(t, Options{}).Load(f); err != nil {
			t.Error(err)
		}
	}
}

func layerKinds(t *testing.T) []testLayer {
	plain := archive(t, file("a", "x"))
	return []testLayer{
		{plain, plain, MediaTypeLayer},
		{plain, plain, dockerLayer},
		{gzipped(t, plain), plain, MediaTypeLayerGzip},
		{gzipped(t, plain), plain, dockerLayerGzip},
		{gzipped(t, plain), plain, MediaTypeLayer}, // a wrong name for the compression
	}
}

func TestLoadLayout(t *testing.T) {
	for _, l := range layerKinds(t) {
		files := layoutFiles{}
		d := files.addImage(t, "", l)
		files.index(t, withName(d, nameAnnotation, "quay.io/me/x:1"))
		s := newStore(t, Options{})
		image := load(t, s, gzipped(t, files.tar(t)))
		if image.Manifest != d.Digest || len(image.Names) != 1 || image.Names[0].Familiar() != "quay.io/me/x:1" {
			t.Errorf("%s: manifest %s, names %v", l.mediaType, image.Manifest, image.Names)
		}
		root := t.TempDir()
		files.write(t, root)
		images, err := newStore(t, Options{}).LoadDirectory(root)
		if err != nil || len(images) != 1 || images[0].ID != image.ID {
			t.Errorf("LoadDirectory = %v, %v, want the same image", images, err)
		}
	}
}

func TestZstd(t *testing.T) {
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Skipf("%v: install the package zstd", err)
	}
	plain := archive(t, file("a", "x"))
	whole := zstandard(t, plain)
	for _, mediaType := range []string{MediaTypeLayerZstd, dockerLayerZstd} {
		files := layoutFiles{}
		files.index(t, files.addImage(t, "", testLayer{whole, plain, mediaType}))
		load(t, newStore(t, Options{}), zstandard(t, files.tar(t)))
	}
	// RFC 8878, 3.1.2: 16 numbers say that the frame is to be passed over; its length follows.
	for _, first := range []byte{0x50, 0x5a, 0x5f} {
		skippable := append([]byte{first, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}, whole...)
		files := layoutFiles{}
		files.index(t, files.addImage(t, "", testLayer{skippable, plain, MediaTypeLayerZstd}))
		load(t, newStore(t, Options{}), files.tar(t))
		load(t, newStore(t, Options{}), dockerArchive(t, "x", "", testLayer{blob: skippable, plain: plain}))
	}
	s := newStore(t, Options{})
	image, err := s.Import(bytes.NewReader(whole), Reference{})
	if err != nil || image.Config.RootFS.DiffIDs[0] != DigestOf(plain) {
		t.Errorf("Import = %v, %v", image, err)
	}
	for name, content := range map[string][]byte{"cut": whole[:len(whole)-5], "longer": append(bytes.Clone(whole), 1), "only the magic": whole[:4]} {
		s := newStore(t, Options{})
		if _, err := s.Import(bytes.NewReader(content), Reference{}); err == nil {
			t.Errorf("%s: imported, want an error", name)
		}
		wantEmpty(t, s)
	}
	bomb := zstandard(t, make([]byte, 10<<20))
	if _, err := newStore(t, Options{Limits: Limits{Bytes: 1 << 20}}).Load(bytes.NewReader(bomb)); !errors.Is(err, ErrLimit) {
		t.Errorf("bomb: %v, want ErrLimit", err)
	}
}

func TestZstdMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := newStore(t, Options{})
	_, err := s.Import(bytes.NewReader(zstandard(t, archive(t))), Reference{})
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "need the zstd command") {
		t.Errorf("Import = %v, want it to say what is missing", err)
	}
	wantEmpty(t, s)
}

// A store is an image layout: another store loads it with all names.
func TestRoundTrip(t *testing.T) {
	first, second := newStore(t, Options{}), newStore(t, Options{})
	image := load(t, first, dockerArchive(t, "one", "", plainLayer(archive(t, file("a", "x")))))
	if err := first.Tag("one", Reference{Domain: "docker.io", Path: "me/two", Tag: "t"}); err != nil {
		t.Fatal(err)
	}
	if _, err := second.LoadDirectory(first.root); err != nil {
		t.Fatal(err)
	}
	got, err := second.Find("me/two:t")
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != image.ID || got.Manifest != image.Manifest || len(got.Names) != 2 || got.Size != image.Size {
		t.Errorf("second store has %+v, first %+v", got, image)
	}
}

// What a pull does: an index, blobs by descriptor, a name with a digest.
func TestAdd(t *testing.T) {
	files := layoutFiles{}
	d := files.addImage(t, "", plainLayer(archive(t, file("a", "x"))))
	d.Platform = &newConfig(stamp).Platform
	index := files.blob(MediaTypeIndex, marshal(t, Index{MediaType: MediaTypeIndex, Manifests: []Descriptor{d}}))
	root := t.TempDir()
	files.write(t, root)
	s := newStore(t, Options{})
	tagged, _ := ParseReference("x:1")
	pinned, _ := ParseReference("x@" + index.Digest.String())
	image, err := s.Add(layout{os.DirFS(root)}, index, tagged, pinned)
	if err != nil || image.Manifest != d.Digest || len(image.Names) != 2 {
		t.Fatalf("Add = %+v, %v", image, err)
	}
	if got, err := s.Find(pinned.Familiar()); err != nil || got.ID != image.ID {
		t.Errorf("Find(%s) = %v, %v", pinned.Familiar(), got, err)
	}
	// Once more, from nowhere: everything is here.
	if _, err := s.Add(layout{os.DirFS(t.TempDir())}, d, tagged); err != nil {
		t.Errorf("Add of what is there: %v", err)
	}
}

// Links out of a layout, and files that are none, are not followed or opened.
func TestHostileDirectory(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"link": func(path string) error { return os.Symlink("/proc/self/environ", path) },
		"fifo": func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		files := layoutFiles{}
		files.index(t, files.addImage(t, "", plainLayer(archive(t))))
		root := t.TempDir()
		files.write(t, root)
		index := filepath.Join(root, indexFile)
		if err := os.Remove(index); err != nil {
			t.Fatal(err)
		}
		if err := spoil(index); err != nil {
			t.Fatal(err)
		}
		if _, err := newStore(t, Options{}).LoadDirectory(root); err == nil {
			t.Errorf("%s: loaded, want an error", name)
		}
	}
}

func TestLayoutNames(t *testing.T) {
	for _, c := range []struct {
		annotations map[string]string
		want        string
	}{
		{nil, ""},
		{map[string]string{nameAnnotation: "latest"}, ""},
		{map[string]string{nameAnnotation: "docker.io/library/x:1"}, "x:1"},
		{map[string]string{nameAnnotation: "latest", containerdName: "docker.io/library/x:latest"}, "x:latest"},
		{map[string]string{nameAnnotation: "../:x"}, ""},
	} {
		var got string
		for _, r := range layoutNames(Descriptor{Annotations: c.annotations}) {
			got += r.Familiar()
		}
		if got != c.want {
			t.Errorf("layoutNames(%v) = %q, want %q", c.annotations, got, c.want)
		}
	}
}

func TestPlatforms(t *testing.T) {
	l := plainLayer(archive(t, file("a", "x")))
	files := layoutFiles{}
	other := files.addImage(t, "other", l)
	other.Platform = &Platform{OS: "linux", Architecture: "s390x"}
	ours := files.addImage(t, "ours", l)
	ours.Platform = &newConfig(stamp).Platform
	inner := files.blob(MediaTypeIndex, marshal(t, Index{MediaType: MediaTypeIndex, Manifests: []Descriptor{other, ours}}))
	foreign := files.blob(MediaTypeIndex, marshal(t, Index{MediaType: MediaTypeIndex, Manifests: []Descriptor{other}}))
	for _, c := range []struct {
		entries []Descriptor
		ok      bool
	}{
		{[]Descriptor{inner}, true}, {[]Descriptor{other, ours}, true}, {[]Descriptor{foreign}, false}, {[]Descriptor{other}, false}, {nil, false},
	} {
		files.index(t, c.entries...)
		images, err := newStore(t, Options{}).Load(bytes.NewReader(files.tar(t)))
		if (err == nil) != c.ok || c.ok && images[0].Config.Author != "ours" {
			t.Errorf("Load(%v) = %v, %v", c.entries, images, err)
		}
	}
}

// damaged gives layouts with one thing wrong each.
func damaged(t *testing.T) map[string]func(layoutFiles, *Descriptor) {
	set := func(change func([]byte) []byte, which func(Manifest) Descriptor) func(layoutFiles, *Descriptor) {
		return func(f layoutFiles, d *Descriptor) {
			var m Manifest
			readJSON(t, f["blobs/sha256/"+d.Digest.Hex()], &m)
			key := "blobs/sha256/" + which(m).Digest.Hex()
			f[key] = change(slices.Clone(f[key]))
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	grow := func(b []byte) []byte { return append(b, 0) }
	layer := func(m Manifest) Descriptor { return m.Layers[0] }
	config := func(m Manifest) Descriptor { return m.Config }
	return map[string]func(layoutFiles, *Descriptor){
		"layer changed": set(flip, layer), "layer cut": set(cut, layer), "layer longer": set(grow, layer),
		"config changed": set(flip, config), "config cut": set(cut, config), "config longer": set(grow, config),
		"manifest size": func(_ layoutFiles, d *Descriptor) { d.Size++ },
		"manifest digest": func(f layoutFiles, d *Descriptor) {
			f["blobs/sha256/"+hex64] = []byte("{}")
			d.Digest = "sha256:" + hex64
		},
	}
}

func TestWrongDigests(t *testing.T) {
	for name, damage := range damaged(t) {
		files := layoutFiles{}
		d := files.addImage(t, "", plainLayer(archive(t, file("a", "x"))))
		damage(files, &d)
		files.index(t, d)
		s := newStore(t, Options{})
		if _, err := s.Load(bytes.NewReader(files.tar(t))); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v, want ErrDigest", name, err)
		}
		wantEmpty(t, s)
	}
}

func TestWrongDiffID(t *testing.T) {
	s := newStore(t, Options{})
	claimed := plainLayer(archive(t, file("a", "claimed")))
	given := claimed
	given.blob = archive(t, file("a", "given"))
	_, err := s.Load(bytes.NewReader(dockerArchive(t, "x", "", given)))
	if !errors.Is(err, ErrDigest) {
		t.Errorf("Load = %v, want ErrDigest", err)
	}
	wantEmpty(t, s)
	// Also when the claimed layer is there already, from another image.
	load(t, s, dockerArchive(t, "good", "", claimed))
	if _, err := s.Load(bytes.NewReader(dockerArchive(t, "x", "other", given))); !errors.Is(err, ErrDigest) {
		t.Errorf("Load with the layer there = %v, want ErrDigest", err)
	}
}

func TestRefusedDocuments(t *testing.T) {
	l := plainLayer(archive(t, file("a", "x")))
	encrypted, foreign := l, l
	encrypted.mediaType = MediaTypeLayer + "+encrypted"
	foreign.mediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	for name, build := range map[string]func(layoutFiles) Descriptor{
		"encrypted": func(f layoutFiles) Descriptor { return f.addImage(t, "", encrypted) },
		"foreign":   func(f layoutFiles) Descriptor { return f.addImage(t, "", foreign) },
		"not JSON":  func(f layoutFiles) Descriptor { return f.blob(MediaTypeManifest, []byte("x")) },
		"both": func(f layoutFiles) Descriptor {
			return f.blob(MediaTypeManifest, []byte(`{"manifests":[],"config":{},"layers":[]}`))
		},
		"no config": func(f layoutFiles) Descriptor { return f.blob(MediaTypeManifest, []byte(`{"layers":[]}`)) },
		"other type": func(f layoutFiles) Descriptor {
			return f.blob(MediaTypeManifest, []byte(`{"mediaType":"`+MediaTypeIndex+`"}`))
		},
		"unknown type": func(f layoutFiles) Descriptor { return f.blob("text/plain", []byte(`{}`)) },
		"path as digest": func(layoutFiles) Descriptor {
			return Descriptor{Digest: "sha256:../../../etc/passwd", MediaType: MediaTypeManifest}
		},
		"negative size": func(layoutFiles) Descriptor {
			return Descriptor{Digest: "sha256:" + hex64, Size: -1, MediaType: MediaTypeManifest}
		},
		"huge": func(layoutFiles) Descriptor {
			return Descriptor{Digest: "sha256:" + hex64, Size: 1 << 40, MediaType: MediaTypeManifest}
		},
		"missing": func(layoutFiles) Descriptor {
			return Descriptor{Digest: "sha256:" + hex64, Size: 2, MediaType: MediaTypeManifest}
		},
	} {
		files := layoutFiles{}
		files.index(t, build(files))
		s := newStore(t, Options{})
		if _, err := s.Load(bytes.NewReader(files.tar(t))); err == nil {
			t.Errorf("%s: loaded, want an error", name)
		}
		wantEmpty(t, s)
	}
}

func TestNestedIndexes(t *testing.T) {
	files := layoutFiles{}
	d := files.addImage(t, "", plainLayer(archive(t)))
	for range maxNesting + 1 {
		d = files.blob(MediaTypeIndex, marshal(t, Index{Manifests: []Descriptor{d}}))
	}
	files.index(t, d)
	if _, err := newStore(t, Options{}).Load(bytes.NewReader(files.tar(t))); err == nil {
		t.Error("loaded, want an error")
	}
}

// Cut anywhere, an archive loads wholly or leaves nothing.
func TestTruncatedArchives(t *testing.T) {
	whole := dockerArchive(t, "x", "", plainLayer(archive(t, file("a", "x"))))
	for at := 0; at < len(whole); at += 500 {
		for _, content := range [][]byte{whole[:at], gzipped(t, whole)[:at*len(gzipped(t, whole))/len(whole)]} {
			s := newStore(t, Options{})
			if images, err := s.Load(bytes.NewReader(content)); err != nil {
				wantEmpty(t, s)
			} else if len(images) != 1 {
				t.Errorf("cut at %d: %d images and no error", at, len(images))
			}
		}
	}
}

func TestNotAnArchive(t *testing.T) {
	for _, content := range []string{"", "x", string(make([]byte, 4096)), string(archive(t, file("etc/passwd", "x"))), "\x1f\x8b", "\x28\xb5\x2f\xfd"} {
		s := newStore(t, Options{})
		if _, err := s.Load(bytes.NewReader([]byte(content))); err == nil {
			t.Errorf("Load(%.10q) succeeded", content)
		}
		wantEmpty(t, s)
	}
}

// TestOneImageTwoForms: what docker save wrote before version 25, and an image layout with
// compressed layers, are one image if they have one configuration.
func TestOneImageTwoForms(t *testing.T) {
	plain := archive(t, file("a", "x"))
	layer, packed := plainLayer(plain), testLayer{gzipped(t, plain), plain, MediaTypeLayerGzip}
	files := layoutFiles{}
	d := files.addImage(t, "", packed)
	files.index(t, withName(d, nameAnnotation, "docker.io/library/x:1"), withName(d, nameAnnotation, "docker.io/library/y:2"))
	forms := map[string][]byte{"docker": dockerArchive(t, "x:1", "", layer), "layout": files.tar(t)}
	for first, then := range map[string]string{"docker": "layout", "layout": "docker"} {
		s := newStore(t, Options{})
		load(t, s, forms[first])
		before := contents(t, s, "blobs/sha256")
		image := load(t, s, forms[then])
		list, err := s.List()
		if err != nil || len(list) != 1 || list[0].ID != image.ID || len(list[0].Names) != 2 {
			t.Errorf("%s, then %s: List() = %v, %v; want one image with two names", first, then, list, err)
		}
		if after := contents(t, s, "blobs/sha256"); !slices.Equal(before, after) {
			t.Errorf("%s, then %s: the blobs %q became %q", first, then, before, after)
		}
		if want := map[string]int{"docker": 1, "layout": 2}[then]; len(image.Loaded) != want || image.Loaded[0].Familiar() != "x:1" {
			t.Errorf("%s, then %s: Loaded = %v, want %d names, x:1 first", first, then, image.Loaded, want)
		}
	}
}

// TestOtherCompressions: xz and bzip2 are named, whatever is compressed with them.
func TestOtherCompressions(t *testing.T) {
	layer := plainLayer(archive(t, file("BZh91AY", "x"), file("a", "x")))
	load(t, newStore(t, Options{}), dockerArchive(t, "x", "", layer)) // a name in a tar is no magic number
	for _, program := range []Compression{"xz", "bzip2"} {
		pack := func(content []byte) []byte {
			cmd := exec.Command(string(program), "-c")
			cmd.Stdin = bytes.NewReader(content)
			packed, err := cmd.Output()
			if errors.Is(err, exec.ErrNotFound) {
				t.Skipf("%v: install the packages xz-utils and bzip2", err)
			} else if err != nil {
				t.Fatal(err)
			}
			return packed
		}
		s := newStore(t, Options{})
		_, err1 := s.Load(bytes.NewReader(pack(dockerArchive(t, "x", "", layer))))
		_, err2 := s.Load(bytes.NewReader(dockerArchive(t, "x", "", testLayer{blob: pack(layer.plain), plain: layer.plain})))
		_, err3 := s.Import(bytes.NewReader(pack(layer.plain)), Reference{})
		for _, err := range []error{err1, err2, err3} {
			if c := Compression(""); !errors.As(err, &c) || c != program {
				t.Errorf("%s: %v, want an error that names it", program, err)
			}
		}
		wantEmpty(t, s)
	}
}

func TestFindAndTag(t *testing.T) {
	s := newStore(t, Options{})
	l := plainLayer(archive(t, file("a", "x")))
	one := load(t, s, dockerArchive(t, "one", "1", l))
	two := load(t, s, dockerArchive(t, "two", "2", l))
	for _, name := range []string{"one", "one:latest", "docker.io/library/one", one.ID.String(), one.ID.Hex(), one.ID.Hex()[:12]} {
		if got, err := s.Find(name); err != nil || got.ID != one.ID {
			t.Errorf("Find(%q) = %v, %v, want %s", name, got, err, one.ID)
		}
	}
	for _, name := range []string{"", "three", "one:2", "zz", "sha256:", "sha256:" + hex64} {
		if got, err := s.Find(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Find(%q) = %v, %v, want ErrNotFound", name, got, err)
		}
	}
	name, _ := ParseReference("one")
	if err := s.Tag("two", name); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Find("one"); err != nil || got.ID != two.ID || len(got.Names) != 2 {
		t.Errorf("after the tag moved, Find(one) = %v, %v, want %s", got, err, two.ID)
	}
	if got, err := s.Find(one.ID.String()); err != nil || len(got.Names) != 0 {
		t.Errorf("the image without a name: %v, %v", got, err)
	}
	if err := s.Tag("three", name); !errors.Is(err, ErrNotFound) {
		t.Errorf("Tag(three) = %v, want ErrNotFound", err)
	}
}

// Seventeen images: two IDs begin with the same digit.
func TestFindAmbiguous(t *testing.T) {
	s := newStore(t, Options{})
	first := map[byte]bool{}
	for i := range 17 {
		image := load(t, s, dockerArchive(t, "", fmt.Sprint(i)))
		digit := image.ID.Hex()[0]
		if first[digit] {
			if _, err := s.Find(string(digit)); err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("Find(%c) = %v, want it to be ambiguous", digit, err)
			}
			return
		}
		first[digit] = true
	}
	t.Error("17 IDs with 17 first digits")
}

func TestRemove(t *testing.T) {
	s := newStore(t, Options{})
	shared, own := plainLayer(archive(t, file("a", "shared"))), plainLayer(archive(t, file("a", "own")))
	image := load(t, s, dockerArchive(t, "one", "1", shared, own))
	load(t, s, dockerArchive(t, "two", "2", shared))
	name, _ := ParseReference("uno")
	if err := s.Tag("one", name); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Remove("uno", nil); err != nil || len(r.Untagged) != 1 || len(r.Deleted)+len(r.Layers) != 0 {
		t.Errorf("Remove(uno) = %+v, %v, want one name gone", r, err)
	}
	r, err := s.Remove("one", func(d Digest) bool { return d == own.diffID() })
	if err != nil || !slices.Equal(r.Deleted, []Digest{image.ID}) || !slices.Equal(r.Kept, []Digest{own.diffID()}) || len(r.Layers) != 0 {
		t.Errorf("Remove(one) = %+v, %v, want the image gone, its own layer kept", r, err)
	}
	r, err = s.Remove("two", nil)
	if err != nil || len(r.Layers) != 2 {
		t.Errorf("Remove(two) = %+v, %v, want two layers gone", r, err)
	}
	wantEmpty(t, s)
}

func TestRemoveByID(t *testing.T) {
	s := newStore(t, Options{})
	image := load(t, s, dockerArchive(t, "one", "1", plainLayer(archive(t, file("a", "x")))))
	name, _ := ParseReference("uno")
	if err := s.Tag("one", name); err != nil {
		t.Fatal(err)
	}
	r, err := s.Remove(image.ID.Hex()[:8], nil)
	if err != nil || len(r.Untagged) != 2 || len(r.Deleted) != 1 {
		t.Errorf("Remove = %+v, %v, want two names and one image gone", r, err)
	}
	wantEmpty(t, s)
}

func TestList(t *testing.T) {
	s := newStore(t, Options{})
	l := plainLayer(archive(t, file("a", "x")))
	load(t, s, dockerArchive(t, "old", "", l))
	if _, err := s.Import(bytes.NewReader(l.plain), Reference{}); err != nil {
		t.Fatal(err)
	}
	images, err := s.List()
	if err != nil || len(images) != 2 || len(images[0].Names) != 0 || images[1].Names[0].Familiar() != "old:latest" {
		t.Errorf("List = %v, %v, want the import, then old", images, err)
	}
}

// Loads of the same and of different images at once, with removals between.
func TestConcurrentLoads(t *testing.T) {
	s := newStore(t, Options{})
	shared := plainLayer(archive(t, file("a", "shared")))
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			own := plainLayer(archive(t, file("b", fmt.Sprint(i/2))))
			if _, err := s.Load(bytes.NewReader(dockerArchive(t, fmt.Sprint("x", i), "", shared, own))); err != nil {
				t.Error(err)
			}
			if i == 3 {
				if _, err := s.Remove("x3", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	images, err := s.List()
	if err != nil || len(images) != 4 || len(contents(t, s, "layers")) != 5 || len(contents(t, s, "tmp")) != 0 {
		t.Errorf("List = %v, %v; layers %q; tmp %q", images, err, contents(t, s, "layers"), contents(t, s, "tmp"))
	}
}

func TestLockFilesAndModes(t *testing.T) {
	s := newStore(t, Options{})
	load(t, s, dockerArchive(t, "x", ""))
	for _, name := range []string{"blobs", "blobs/sha256", "layers", "tmp"} {
		if info, err := os.Stat(s.path(name)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v, want mode 0700", name, info.Mode(), err)
		}
	}
}

func TestProgress(t *testing.T) {
	var last = map[Digest]Progress{}
	s := newStore(t, Options{Progress: func(p Progress) { last[p.Layer] = p }})
	l := testLayer{plain: archive(t, file("a", "x")), mediaType: MediaTypeLayerGzip}
	l.blob = gzipped(t, l.plain)
	load(t, s, dockerArchive(t, "x", "", l))
	size := int64(len(l.blob))
	if got := last[DigestOf(l.blob)]; got.Done != size || got.Total != size {
		t.Errorf("progress of the layer = %+v, want %d of %d", got, size, size)
	}
	manifest, err := openStore(t, s).readManifest(load(t, s, dockerArchive(t, "x", "", l)).Manifest)
	if err != nil || manifest.Layers[0].MediaType != MediaTypeLayerGzip {
		t.Errorf("manifest = %+v, %v, want a gzip layer", manifest, err)
	}
	if got := last[""]; got.Done == 0 || got.Total != 0 {
		t.Errorf("progress of the archive = %+v, want bytes of an unknown total", got)
	}
}
