package image

import (
	"bytes"
	"fmt"
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

// FuzzIndex: whatever index.json, a manifest and a configuration of the store have in them, an
// image that is whole is listed, found and removed, and nothing outside of the store goes.
func FuzzIndex(f *testing.F) {
	const line = `{"digest":"%s","size":3,"annotations":{"org.opencontainers.image.ref.name":"x:1"}}`
	f.Add([]byte(`,`+fmt.Sprintf(line, "sha256:"+hex64)), []byte(`{}`), []byte(`{}`), "x")
	f.Add([]byte(`,{"digest":"sha256:../../../outside"}`), []byte(`{"config":{"digest":"sha256:..","size":-1}}`), []byte(`null`), hex64)
	f.Add([]byte(`,null,{}`), []byte(`[]`), []byte(`{"rootfs":{"diff_ids":["/"]}}`), "")
	f.Fuzz(func(t *testing.T, more, manifest, config []byte, word string) {
		top := t.TempDir()
		s, err := Open(top+"/store", Options{Ownership: ownership()})
		if err != nil {
			t.Fatal(err)
		}
		name, _ := ParseReference("whole")
		if _, err := s.Import(bytes.NewReader(archive(t, file("a", "x"))), name); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(top+"/outside", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, content := range [][]byte{manifest, config} {
			if err := os.WriteFile(s.path("blobs", "sha256", DigestOf(content).Hex()), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(s.path(indexFile))
		if err != nil {
			t.Fatal(err)
		}
		own := fmt.Appendf(nil, `,{"digest":%q},`, DigestOf(manifest))
		text = bytes.Replace(text, []byte("]"), append(own[:len(own)-1], append(more, ']')...), 1)
		if err := os.WriteFile(s.path(indexFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := s.List()
		s.Find(word)
		s.Remove(word, nil)
		if err == nil && len(list) == 0 && word != "whole" {
			t.Errorf("List() shows none, with the index %s", text)
		}
		s.Remove("whole", nil)
		if _, err := os.Stat(top + "/outside"); err != nil {
			t.Error(err)
		}
	})
}
