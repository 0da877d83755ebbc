package image

import (
	"encoding/json"
	"reflect"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Documents with every field that we know, read and written by our types and
// by those of the specification, stay the same.
func TestSpecAgrees(t *testing.T) {
	const descriptor = `{"mediaType":"a/b","digest":"sha256:` + hex64 + `","size":7,"annotations":{"k":"v"},"platform":{"architecture":"arm64","os":"linux","variant":"v8"}}`
	for _, c := range []struct {
		document     string
		ours, theirs any
	}{
		{descriptor, &Descriptor{}, &v1.Descriptor{}},
		{`{"schemaVersion":2,"mediaType":"` + MediaTypeIndex + `","manifests":[` + descriptor + `]}`, &Index{}, &v1.Index{}},
		{`{"schemaVersion":2,"mediaType":"` + MediaTypeManifest + `","config":` + descriptor + `,"layers":[` + descriptor + `]}`, &Manifest{}, &v1.Manifest{}},
		{`{"created":"2024-01-02T03:04:05.6Z","author":"a","architecture":"arm64","os":"linux","variant":"v8",
		"config":{"User":"u:g","ExposedPorts":{"80/tcp":{}},"Env":["A=1"],"Entrypoint":["e"],"Cmd":["c"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"l":"m"},"StopSignal":"SIGTERM"},
		"rootfs":{"type":"layers","diff_ids":["sha256:` + hex64 + `"]},
		"history":[{"created":"2024-01-02T03:04:05.6Z","created_by":"x","author":"a","comment":"c","empty_layer":true}]}`, &Config{}, &v1.Image{}},
	} {
		want := generic(t, []byte(c.document))
		for _, into := range []any{c.ours, c.theirs} {
			readJSON(t, []byte(c.document), into)
			if got := generic(t, marshal(t, into)); !reflect.DeepEqual(got, want) {
				t.Errorf("%T writes %v, want %v", into, got, want)
			}
		}
	}
}

func generic(t *testing.T, document []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(document, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSpecConstants(t *testing.T) {
	for ours, theirs := range map[string]string{
		MediaTypeIndex: v1.MediaTypeImageIndex, MediaTypeManifest: v1.MediaTypeImageManifest, MediaTypeConfig: v1.MediaTypeImageConfig,
		MediaTypeLayer: v1.MediaTypeImageLayer, MediaTypeLayerGzip: v1.MediaTypeImageLayerGzip, MediaTypeLayerZstd: v1.MediaTypeImageLayerZstd,
		nameAnnotation: v1.AnnotationRefName, layoutFile: v1.ImageLayoutFile, indexFile: v1.ImageIndexFile,
	} {
		if ours != theirs {
			t.Errorf("%q, want %q", ours, theirs)
		}
	}
}
