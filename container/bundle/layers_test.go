package bundle

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestWithout: each layer is taken away by a change of that alone, and a
// warning says so. (What it blocks, examples/attacks finds out.)
func TestWithout(t *testing.T) {
	s, img := newStore(t)
	with := properties(t, must1(s.Preview(img, Request{Hostname: "web"}, strings.Repeat("0", 64)))(t))
	want := map[string]string{
		"pid": "linux.namespaces", "mount": "mounts", "net": "linux.namespaces", "cgroup": "linux.namespaces mounts", "capabilities": "process.capabilities",
		"seccomp": "linux.seccomp", "no_new_privs": "process.noNewPrivileges", "masks": "linux.maskedPaths linux.readonlyPaths mounts", "devices": "linux.resources",
	}
	if os.Geteuid() != 0 { // what shows a namespace that is not one's own cannot be mounted anew
		want["pid"], want["net"] = "linux.namespaces mounts", "linux.namespaces mounts"
	}
	for _, name := range LayerNames() {
		r := Request{Hostname: "web", Without: []string{name}}
		b, err := s.Preview(img, r, strings.Repeat("0", 64))
		if name == "user" {
			if err == nil || !strings.Contains(err.Error(), "--without user: ") {
				t.Errorf("without user: %v; want a refusal", err)
			}
			if w := r.Warnings(); w != nil {
				t.Errorf("without user, which is refused: warnings %q", w)
			}
			continue
		}
		must(t, err)
		without := properties(t, b)
		if got := changed(with, without); got != want[name] {
			t.Errorf("without %s, other properties are: %s; want %s", name, got, want[name])
		}
		if w := r.Warnings(); len(w) != 1 || !strings.HasPrefix(w[0], "--without "+name+": ") {
			t.Errorf("without %s: warnings %q", name, w)
		}
		if b.Annotation(Without) != name {
			t.Errorf("without %s: the annotation says %q", name, b.Annotation(Without))
		}
	}
	all := slices.DeleteFunc(LayerNames(), func(name string) bool { return name == "user" })
	if _, err := s.Preview(img, Request{Without: all}, strings.Repeat("0", 64)); err != nil {
		t.Errorf("without %v: %v", all, err)
	}
	if _, err := s.Preview(img, Request{Without: []string{"roof"}}, strings.Repeat("0", 64)); err == nil || !strings.HasPrefix(err.Error(), `--without "roof": want one of pid, `) {
		t.Errorf("without roof: %v; want a refusal", err)
	}
}

func must1[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T { t.Helper(); must(t, err); return value }
}

// properties are the parts of a spec that have names, two levels deep.
func properties(t *testing.T, b *Bundle) map[string]any {
	t.Helper()
	text, err := json.Marshal(b.Spec)
	must(t, err)
	var spec map[string]any
	must(t, json.Unmarshal(text, &spec))
	all := map[string]any{}
	for name, value := range spec {
		if parts, ok := value.(map[string]any); ok {
			for part, v := range parts {
				all[fmt.Sprint(name, ".", part)] = v
			}
		} else {
			all[name] = value
		}
	}
	maps.DeleteFunc(all, func(name string, _ any) bool { return strings.HasPrefix(name, "annotations.") })
	return all
}

func changed(a, b map[string]any) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if !reflect.DeepEqual(a[name], b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
