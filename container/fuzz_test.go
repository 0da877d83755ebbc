package container_test

import (
	"minirun/plan/print"

	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"minirun/container"
	"minirun/container/config"
)

// FuzzConfig: whatever a config.json has in it becomes a plan that can be
// printed, and read again, or an error without anything that would steer a
// terminal.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"docker", "full"} {
		data, err := os.ReadFile(filepath.Join("testdata", name, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
	}
	data, err := json.Marshal(minimal())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, true)
	f.Add([]byte(`{"ociVersion":"1.0.2","process":{},"linux":{"namespaces":[{"type":"mount"}]}}`), true)
	group, dir := f.TempDir(), f.TempDir()
	for name, text := range map[string]string{"cgroup.controllers": "memory pids\n", "cgroup.subtree_control": "pids\n", "cgroup.procs": "1\n"} {
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, wait bool) {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		spec, _, err := config.Read(dir)
		if err != nil {
			plain(t, err)
			return
		}
		p, err := container.PlanOn(container.FakeHost{Cgroup2: group}, "/bundle", spec, container.Options{Wait: wait, Monitor: !wait})
		if err != nil {
			plain(t, err)
			return
		}
		var text bytes.Buffer
		if err := print.JSON(&text, p); err != nil {
			t.Fatal(err)
		}
		var steps []struct{ Step int }
		if err := json.Unmarshal(text.Bytes(), &steps); err != nil || len(steps) != len(p.Steps) {
			t.Errorf("the printed plan has %d steps, %v; want %d", len(steps), err, len(p.Steps))
		}
	})
}

// plain says whether an error can be printed as it is; joined ones are lines.
func plain(t *testing.T, err error) {
	t.Helper()
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if strings.IndexFunc(line, unicode.IsControl) >= 0 || line == "" {
			t.Errorf("error %q: empty, or with control characters", err)
		}
	}
}
