package image

// What the tests share: archives built in memory, stores in temporary
// directories, and helper processes played by the test binary.

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"minirun/examples/leftovers"
)

// helpers are the programs the test binary plays when helperVariable names one.
var helpers = map[string]func(args []string) error{}

const helperVariable = "MINIRUN_IMAGE_TEST_HELPER"

// TestMain runs a helper, or the tests, and fails if they leave something behind.
func TestMain(m *testing.M) {
	registerHelpers()
	if helper, ok := helpers[os.Getenv(helperVariable)]; ok {
		if err := helper(os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leftovers.Guard(m.Run))
}

// helper prepares the test binary to play a program, with a private mount
// namespace if asked for.
func helper(t *testing.T, name string, mounts bool, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperVariable+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if mounts {
		needRoot(t, "mounting takes CAP_SYS_ADMIN")
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	return cmd
}

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: " + why)
	}
}

// ownership is Mine without root, where nothing else works.
func ownership() Ownership {
	if os.Getuid() != 0 {
		return Mine
	}
	return Keep
}

type entry struct {
	name string
	kind byte // zero is a regular file
	body string
	link string
	mode int64 // zero is 0644, 0755 for directories
	uid  int
	gid  int
	dev  [2]int64
	pax  map[string]string
}

var stamp = time.Unix(1234567890, 0)

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(e.header()); err != nil {
			t.Fatalf("header of %q: %v", e.name, err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (e entry) header() *tar.Header {
	h := &tar.Header{
		Name: e.name, Typeflag: e.kind, Size: int64(len(e.body)), Linkname: e.link, Mode: e.mode, Uid: e.uid, Gid: e.gid,
		ModTime: stamp, PAXRecords: e.pax, Devmajor: e.dev[0], Devminor: e.dev[1], Format: tar.FormatPAX,
	}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Mode == 0 {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeDir {
			h.Mode = 0o755
		}
	}
	return h
}

func file(name, body string) entry    { return entry{name: name, body: body} }
func dir(name string) entry           { return entry{name: name, kind: tar.TypeDir} }
func symlink(name, to string) entry   { return entry{name: name, kind: tar.TypeSymlink, link: to} }
func hardlink(name, to string) entry  { return entry{name: name, kind: tar.TypeLink, link: to} }
func withMode(e entry, m int64) entry { e.mode = m; return e }

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t testing.TB, content []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(content, nil)
}

// testLayer is a layer as it is in an archive and what it is uncompressed.
type testLayer struct {
	blob, plain []byte
	mediaType   string
}

func plainLayer(plain []byte) testLayer {
	return testLayer{blob: plain, plain: plain, mediaType: MediaTypeLayer}
}

func (l testLayer) diffID() Digest { return DigestOf(l.plain) }

func describe(mediaType string, content []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: DigestOf(content), Size: int64(len(content))}
}

// testConfig is a configuration for layers; comment makes it different from others.
func testConfig(t testing.TB, comment string, layers ...testLayer) []byte {
	t.Helper()
	config := Config{
		Created: &stamp, Author: comment, Platform: Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config: RunConfig{Cmd: []string{"/bin/true"}}, RootFS: RootFS{Type: "layers"},
	}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID())
	}
	return marshal(t, config)
}

func marshal(t testing.TB, value any) []byte {
	t.Helper()
	content, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// dockerArchive is what docker save wrote before version 25.
func dockerArchive(t testing.TB, name, comment string, layers ...testLayer) []byte {
	t.Helper()
	item := dockerImage{Config: "config.json"}
	if name != "" {
		item.RepoTags = []string{name}
	}
	entries := []entry{file("config.json", string(testConfig(t, comment, layers...)))}
	for i, l := range layers {
		at := fmt.Sprintf("%d/layer.tar", i)
		item.Layers = append(item.Layers, at)
		entries = append(entries, dir(filepath.Dir(at)), file(at, string(l.blob)))
	}
	entries = append(entries, file("manifest.json", string(marshal(t, []dockerImage{item}))))
	return archive(t, entries...)
}

// layoutFiles is an OCI image layout: names and contents.
type layoutFiles map[string][]byte

func (f layoutFiles) blob(mediaType string, content []byte) Descriptor {
	d := describe(mediaType, content)
	f["blobs/sha256/"+d.Digest.Hex()] = content
	return d
}

// addImage adds an image's blobs and gives the manifest's descriptor.
func (f layoutFiles) addImage(t testing.TB, comment string, layers ...testLayer) Descriptor {
	t.Helper()
	m := Manifest{
		SchemaVersion: 2, MediaType: MediaTypeManifest,
		Config: f.blob(MediaTypeConfig, testConfig(t, comment, layers...)),
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, f.blob(l.mediaType, l.blob))
	}
	return f.blob(MediaTypeManifest, marshal(t, m))
}

func (f layoutFiles) index(t testing.TB, entries ...Descriptor) {
	t.Helper()
	f[layoutFile] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	f[indexFile] = marshal(t, Index{SchemaVersion: 2, Manifests: entries})
}

func (f layoutFiles) tar(t testing.TB) []byte {
	t.Helper()
	var names []string
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	var entries []entry
	for _, name := range names {
		entries = append(entries, file("./"+name, string(f[name])))
	}
	return archive(t, entries...)
}

func (f layoutFiles) write(t testing.TB, root string) {
	t.Helper()
	for name, content := range f {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func withName(d Descriptor, key, name string) Descriptor {
	d.Annotations = map[string]string{key: name}
	return d
}

func newStore(t testing.TB, options Options) *Store {
	t.Helper()
	if options.Ownership == Keep {
		options.Ownership = ownership()
	}
	s, err := Open(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(t testing.TB, s *Store, content []byte) *Image {
	t.Helper()
	images, err := s.Load(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if len(images) != 1 {
		t.Fatalf("Load = %d images, want 1", len(images))
	}
	return images[0]
}

// contents lists a directory of a store.
func contents(t testing.TB, s *Store, name string) []string {
	t.Helper()
	entries, err := os.ReadDir(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// wantEmpty checks that a load that ended in an error left nothing behind.
func wantEmpty(t testing.TB, s *Store) {
	t.Helper()
	for _, name := range []string{"tmp", "blobs/sha256", "layers"} {
		if left := contents(t, s, name); len(left) != 0 {
			t.Errorf("%s holds %q, want nothing", name, left)
		}
	}
	if images, err := s.List(); err != nil || len(images) != 0 {
		t.Errorf("List = %v, %v, want no images", images, err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

func readJSON(t testing.TB, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

// openStore opens a store's directories until the test ends.
func openStore(t *testing.T, s *Store) *opened {
	t.Helper()
	p, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}
