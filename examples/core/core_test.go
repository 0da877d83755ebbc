package main

import (
	"go/parser"
	"go/token"
	"os"
	"testing"
)

func TestCountGo(t *testing.T) {
	for _, c := range []struct {
		text           string
		code, comments int
	}{
		{"package a\n", 1, 0},
		{"// a\n\npackage a // b\n", 1, 1},
		{"package a\n\n/* b\n\nc */\nvar x = `d\n// e\n\nf`\n", 5, 3},
		{"package a\n\nfunc f() {\n\t// why\n\tg()\n\n}\n", 4, 1},
	} {
		if code, comments := countGo([]byte(c.text)); code != c.code || comments != c.comments {
			t.Errorf("countGo(%q) = %d, %d, want %d, %d", c.text, code, comments, c.code, c.comments)
		}
	}
}

func TestExported(t *testing.T) {
	const text = `package a
type T struct{ F int }
type t int
func (T) M() {}
func (T) m() {}
func F() {}
const A, b = 1, 2
var ( C = 1; D, _ = 1, 2 )
`
	file, err := parser.ParseFile(token.NewFileSet(), "", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range file.Decls {
		n += exported(d)
	}
	if want := 6; n != want { // T, M, F, A, C, D
		t.Errorf("exported names: %d, want %d", n, want)
	}
}

func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"rootfs", "plan", true},
		{"rootfs/idmap", "plan", true},
		{"rootfs/idmap", "rootfs", true},
		{"process/seccomp", "process/seccomp/table", true},
		{"container", "rootfs/idmap", true},
		{"container/hooks", "container", true},
		{"container/bundle", "rootfs/image", true},
		{"plan/print", "plan", true},
		{"plan/look", "plan/print", true},
		{"rootfs", "rootfs/idmap", false},
		{"rootfs", "cgroups", false},
		{"rootfs/idmap", "rootfs/copyup", false},
		{"rootfs/idmap", "process/labels", false},
		{"rootfs/idmap", "container/procfs", false},
		{"cgroups", "container", false},
		{"cgroups", "plan/print", false},
		{"plan", "plan/print", false},
		{"plan", "rootfs", false},
		{"container", "cmd/minirun", false},
		{"container", "examples/leftovers", false},
	} {
		if got := allowed(c.from, c.to); got != c.want {
			t.Errorf("allowed(%s imports %s) = %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

func TestSource(t *testing.T) {
	s := step{Source: "rootfs/mounts.go:112 Root.mount"}
	if file, line, function := s.source(); file != "rootfs/mounts.go" || line != "112" || function != "Root.mount" {
		t.Errorf("source of %+v = %q, %q, %q", s, file, line, function)
	}
}

// TestHouse: the core is small enough, and imports point down.
func TestHouse(t *testing.T) {
	h, err := look("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(h) < len(rooms) || h.core().code == 0 {
		t.Fatalf("only %d packages found", len(h))
	}
	for _, broken := range append(h.tooLarge(), h.wrongImports()...) {
		t.Error(broken)
	}
}

// TestSources: the steps of ordinary containers were recorded by the core.
func TestSources(t *testing.T) {
	needPrograms(t)
	for _, broken := range wrongSources(os.Getenv("MINIRUN"), os.Getenv("MINIRUNC")) {
		t.Error(broken)
	}
}
