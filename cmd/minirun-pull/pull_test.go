package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"minirun/rootfs/image"
)

// quick are durations for servers that are silent on purpose.
var quick = durations{connect: 2 * time.Second, answer: 300 * time.Millisecond, silence: 300 * time.Millisecond, retry: time.Millisecond}

// A server is a registry that tells the truth, unless a test puts something before it.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	blobs    map[string][]byte // by digest
	kinds    map[string]string
	tags     map[string]string
	requests []string                                          // method, path and range
	lie      func(w http.ResponseWriter, r *http.Request) bool // answers instead; false: it has not
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{blobs: map[string][]byte{}, kinds: map[string]string{}, tags: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	s.mu.Unlock()
	if s.lie != nil && s.lie(w, r) {
		return
	}
	s.honest(w, r)
}

func (s *server) honest(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) == 1 {
		return // /v2/
	}
	id := parts[len(parts)-1]
	s.mu.Lock()
	if d, ok := s.tags[id]; ok {
		id = d
	}
	content, ok := s.blobs[id]
	kind := s.kinds[id]
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
		return
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// put stores a blob.
func (s *server) put(kind string, content []byte) image.Descriptor {
	d := image.Descriptor{MediaType: kind, Digest: image.DigestOf(content), Size: int64(len(content))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d.Digest.String()], s.kinds[d.Digest.String()] = content, kind
	return d
}

// asked counts requests whose path and range have a word in them.
func (s *server) asked(word string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.Contains(r, word) {
			n++
		}
	}
	return n
}

// layerOf is a gzipped tar with one file of so many bytes that do not shrink.
func layerOf(t *testing.T, name string, size int) (blob []byte, diffID image.Digest) {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(size), Uid: os.Getuid(), Gid: os.Getgid()}))
	content := make([]byte, size)
	seed := uint32(len(name) + size)
	for i := range content {
		seed = seed*1664525 + 1013904223
		content[i] = byte(seed >> 24)
	}
	_, err := w.Write(content)
	must(t, err)
	must(t, w.Close())
	z := gzip.NewWriter(&packed)
	_, err = z.Write(plain.Bytes())
	must(t, err)
	must(t, z.Close())
	return packed.Bytes(), image.DigestOf(plain.Bytes())
}

// publish makes an image of layers of so many bytes and gives it a tag.
func (s *server) publish(t *testing.T, tag string, sizes ...int) (manifest image.Manifest) {
	t.Helper()
	config := image.Config{Platform: image.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: image.RootFS{Type: "layers"}, Author: tag}
	for i, size := range sizes {
		blob, diffID := layerOf(t, fmt.Sprintf("file%d", i), size)
		manifest.Layers = append(manifest.Layers, s.put(image.MediaTypeLayerGzip, blob))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	manifest.SchemaVersion, manifest.MediaType = 2, image.MediaTypeManifest
	manifest.Config = s.put(image.MediaTypeConfig, marshal(t, config))
	s.tags[tag] = s.put(image.MediaTypeManifest, marshal(t, manifest)).Digest.String()
	return manifest
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return text
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// closed lets the user's own files say nothing, and returns a directory for a store.
func closed(t *testing.T) (store string) {
	t.Helper()
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, home)
	}
	must(t, os.MkdirAll(filepath.Join(home, "minirun"), 0o700))
	must(t, os.WriteFile(filepath.Join(home, "minirun/registries"), []byte("allow 127.0.0.1 localhost # tests reach nobody else\n"), 0o600))
	return filepath.Join(t.TempDir(), "store")
}

// pull pulls into a store, and returns what is printed.
func pull(t *testing.T, store, name string, flags ...string) (string, error) {
	t.Helper()
	r, err := parse(append(append([]string{"--store", store}, flags...), name))
	must(t, err)
	r.durations = quick
	var out bytes.Buffer
	err = r.pull(t.Context(), &out, false)
	return out.String(), err
}

// works says that a store lists so many images, and that nothing half-made is in it.
func works(t *testing.T, store string, images int) {
	t.Helper()
	s, err := image.Open(store, image.Options{})
	must(t, err)
	list, err := s.List()
	must(t, err)
	if len(list) != images {
		t.Errorf("the store has %d images, want %d", len(list), images)
	}
	for _, i := range list {
		must(t, i.Unpacked())
	}
	left, _ := filepath.Glob(store + "/pulls/list-*")
	if left != nil {
		t.Errorf("left in the store: %q", left)
	}
}

func TestPull(t *testing.T) {
	store, s := closed(t), newServer(t)
	m := s.publish(t, "latest", 1000, 300000, 20)
	out, err := pull(t, store, s.host()+"/me/tool")
	must(t, err)
	short := func(d image.Descriptor) string { return d.Digest.Hex()[:12] }
	for _, want := range []string{"Using default tag: latest\n", "latest: Pulling from me/tool\n", short(m.Layers[0]) + ": Pulling fs layer\n",
		short(m.Layers[1]) + ": Download complete\n", short(m.Layers[2]) + ": Pull complete\n", "Digest: " + s.tags["latest"] + "\n",
		"Status: Downloaded newer image for " + s.host() + "/me/tool:latest\n", s.host() + "/me/tool:latest\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	works(t, store, 1)
	out, err = pull(t, store, s.host()+"/me/tool:latest")
	must(t, err)
	if !strings.Contains(out, "Status: Image is up to date for") || strings.Contains(out, "default tag") || s.asked("/blobs/"+m.Layers[1].Digest.String()) != 1 {
		t.Errorf("again: %s; %q", out, s.requests)
	}
	out, err = pull(t, store, s.host()+"/me/tool@"+s.tags["latest"], "--quiet")
	must(t, err)
	if want := s.host() + "/me/tool@" + s.tags["latest"] + "\n"; out != want {
		t.Errorf("--quiet: %q, want %q", out, want)
	}
	works(t, store, 1)
}

// TestPlatform: the index has the same image for several machines.
func TestPlatform(t *testing.T) {
	store, s := closed(t), newServer(t)
	s.publish(t, "own", 10)
	own := s.blobs[s.tags["own"]]
	entry := func(arch string) image.Descriptor {
		d := image.Descriptor{MediaType: image.MediaTypeManifest, Digest: image.DigestOf(own), Size: int64(len(own)), Platform: &image.Platform{OS: "linux", Architecture: arch}}
		if arch != runtime.GOARCH {
			d.Digest = image.DigestOf([]byte(arch))
		}
		return d
	}
	index := func(archs ...string) string {
		i := image.Index{SchemaVersion: 2, MediaType: image.MediaTypeIndex}
		for _, a := range archs {
			i.Manifests = append(i.Manifests, entry(a))
		}
		return s.put(image.MediaTypeIndex, marshal(t, i)).Digest.String()
	}
	s.tags["both"], s.tags["other"] = index("s390x", runtime.GOARCH), index("s390x", "mips")
	_, err := pull(t, store, s.host()+"/x:both")
	must(t, err)
	_, err = pull(t, store, s.host()+"/x:other")
	if err == nil || !strings.Contains(err.Error(), "no image for linux/"+runtime.GOARCH+", only for \"linux/s390x, linux/mips\"") {
		t.Errorf("for other machines: %v", err)
	}
	works(t, store, 1)
}

// TestResume: a connection that is cut every so often goes on where it was cut.
func TestResume(t *testing.T) {
	store, s := closed(t), newServer(t)
	m := s.publish(t, "latest", 4<<20)
	layer := "/blobs/" + m.Layers[0].Digest.String()
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, layer) {
			return false
		}
		s.honest(&cutting{ResponseWriter: w, left: 3 << 19}, r)
		return true
	}
	_, err := pull(t, store, s.host()+"/x")
	must(t, err)
	works(t, store, 1)
	if n := s.asked(layer); n != 3 || s.asked("bytes=") != 2 {
		t.Errorf("%d requests: %q; want 3, two of them with a range", n, s.requests)
	}
}

// A cutting answer breaks off.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left <= 0 {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// TestResumeLater: what one pull has fetched before it was ended, the next does not fetch.
func TestResumeLater(t *testing.T) {
	store, s := closed(t), newServer(t)
	m := s.publish(t, "latest", 4<<20)
	ctx, cancel := context.WithCancel(t.Context())
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/"+m.Layers[0].Digest.String()) || r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(m.Layers[0].Size))
		w.Write(s.blobs[m.Layers[0].Digest.String()][:2<<20])
		w.(http.Flusher).Flush()
		for !partial(store, m.Layers[0], 2<<20) {
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-r.Context().Done()
		return true
	}
	r, err := parse([]string{"--store", store, s.host() + "/x"})
	must(t, err)
	if err := r.pull(ctx, io.Discard, false); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended: %v", err)
	}
	works(t, store, 0)
	_, err = pull(t, store, s.host()+"/x")
	must(t, err)
	works(t, store, 1)
	if s.asked("bytes="+strconv.Itoa(2<<20)+"-") != 1 {
		t.Errorf("requests: %q; want one from byte %d on", s.requests, 2<<20)
	}
}

func partial(store string, d image.Descriptor, size int64) bool {
	info, err := os.Stat(filepath.Join(store, "pulls", d.Digest.Hex()))
	return err == nil && info.Size() >= size
}

// TestShared: two pulls of one image at the same time fetch each layer once.
func TestShared(t *testing.T) {
	store, s := closed(t), newServer(t)
	m := s.publish(t, "latest", 1<<20, 2<<20)
	s.lie = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			time.Sleep(200 * time.Millisecond) // so that they meet
		}
		return false
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if _, err := pull(t, store, s.host()+"/x"); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	works(t, store, 1)
	for _, l := range m.Layers {
		if n := s.asked("/blobs/" + l.Digest.String()); n != 1 {
			t.Errorf("layer %s was asked for %d times", l.Digest, n)
		}
	}
}
