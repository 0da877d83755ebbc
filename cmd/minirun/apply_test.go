package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"minirun/container/bundle"
	"minirun/container/manifest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestIsPodOf(t *testing.T) {
	d := manifest.Object{Deployment: &manifest.Deployment{Metadata: manifest.Metadata{Name: "web"}}}
	p := manifest.Object{Pod: &manifest.Pod{Metadata: manifest.Metadata{Name: "web"}}}
	for _, test := range []struct {
		name            string
		deployment, pod bool
	}{
		{"web-a1qfas8uqh-3redh", true, false},
		{"web", false, true},
		{"web-2", false, false},
		{"web-a1qfas8uqh", false, false},
		{"web-two-a1qfas8uqh-3redh", false, false},
	} {
		if got := isPodOf(d, test.name); got != test.deployment {
			t.Errorf("isPodOf(deployment web, %s) = %v", test.name, got)
		}
		if got := isPodOf(p, test.name); got != test.pod {
			t.Errorf("isPodOf(pod web, %s) = %v", test.name, got)
		}
	}
}

func TestSelects(t *testing.T) {
	b := &bundle.Bundle{Spec: &specs.Spec{Annotations: map[string]string{bundle.Owner: "pod/a", bundle.Labels: labelWords(map[string]string{"app": "web", "tier": "1"})}}}
	for text, want := range map[string]bool{"app=web": true, "tier=1,app=web": true, "app=we": false, "app=web,zone=x": false} {
		selector := map[string]string{}
		for _, word := range strings.Split(text, ",") {
			key, value, _ := strings.Cut(word, "=")
			selector[key] = value
		}
		if got := selects(selector, b); got != want {
			t.Errorf("selects(%s) = %v, want %v", text, got, want)
		}
	}
}

func TestManifestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yml", "a.yaml", "c.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := manifestFiles([]string{dir, "-"})
	if want := []string{filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yml"), "-"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("manifestFiles = %v, %v; want %v", got, err, want)
	}
	if _, err := manifestFiles([]string{filepath.Join(dir, "none")}); err == nil {
		t.Error("a missing file is no error")
	}
}

// An engine's delete -f ID stays minirunc's.
func TestDeleteOfManifests(t *testing.T) {
	for line, engine := range map[string]bool{
		"delete -f web.yaml": false, "delete -f -": false, "--store /a delete --filename x": false,
		"delete -f 0123abc": true, "delete --force web": true, "delete web": true, "--log /l delete -f a.yaml": true,
	} {
		if got := isEngine(strings.Fields(line)); got != engine {
			t.Errorf("isEngine(%s) = %v, want %v", line, got, engine)
		}
	}
}
