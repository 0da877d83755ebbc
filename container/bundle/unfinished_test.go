package bundle

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUnfinished(t *testing.T) {
	s := Store(filepath.Join(t.TempDir(), "store"))
	if found, err := s.Unfinished(); err != nil || len(found) != 0 {
		t.Fatalf("no store: Unfinished = %v, %v; want none", found, err)
	}
	b, name, err := s.create("web-1")
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Unfinished()
	if err != nil || found[name] == nil || found[name].ID != b.ID {
		t.Errorf("Unfinished = %v, %v; want %s", found, err, name)
	}
	if err := s.Delete(found[name]); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(b.Dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want that it is gone", b.Dir, err)
	}
	if left, err := os.ReadDir(filepath.Join(string(s), "names")); err != nil || len(left) != 0 {
		t.Errorf("names: %v, %v; want none", left, err)
	}
}
