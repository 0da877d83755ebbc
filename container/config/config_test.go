package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestRead: what is read by parts is what encoding/json reads at once.
func TestRead(t *testing.T) {
	texts := map[string]string{
		"nulls":   `{"ociVersion":"1.3.0","process":{"user":null,"capabilities":null,"args":null},"root":null,"hooks":null,"mounts":null,"linux":{"resources":null,"seccomp":null}}`,
		"empty":   `{"ociVersion":"1.3.0","process":{},"root":{},"hooks":{},"linux":{"resources":{"memory":{}}}}`,
		"unknown": `{"ociVersion":"1.3.0","more":[1],"process":{"less":{"x":null}},"linux":{"y":0}}`,
	}
	files, err := filepath.Glob("../testdata/*/config.json")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	for name, text := range texts {
		spec, _, err := Read(bundleOf(t, text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var want specs.Spec
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(name, err)
		}
		if !reflect.DeepEqual(spec, &want) {
			t.Errorf("%s: %+v, want %+v", name, spec, want)
		}
	}
}

// TestReadErrors: each names the property, and its line in the whole text.
func TestReadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{\"ociVersion\":\"1.3.0\"}":                                     "process: missing",
		"{\"ociVersion\":\"1.3.0\",\"process\":null}":                    "process: missing",
		"{\"ociVersion\":\"1.3.0\",\n\"process\":{\n\"args\":\"true\"}}": "line 3: process.args: string where []string is wanted",
		"{\"ociVersion\":\"1.3.0\",\n\"process\":[]}":                    "line 2: process: array where specs.Process is wanted",
		"{\n\n\"linux\":{\"resources\":{\"pids\":{\n\"limit\":\"5\"}}}}": "line 4: linux.resources.pids.limit: string where int64 is wanted",
		"{\n\"mounts\":[{\"destination\":\"/\"},\n{\"destination\":7}]}": "line 3: mounts.destination: number where string is wanted",
		"{\n\"process\":{\n\"args\":[":                                   "line 3: unexpected end of JSON input",
		`{"ociVersion":"1.3.0","process":{},"annotations":{"":"x"}}`:     "annotations: a key is empty",
		"null": `ociVersion "": want 1.x`,
		"[]":   "array where specs.Spec is wanted",
	} {
		spec, _, err := Read(bundleOf(t, text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v, want %q", text, spec, err, want)
		}
	}
}

func bundleOf(t *testing.T, config string) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
