package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A place is a function that the README's table names.
type place struct{ file, function string }

// runtimeWay are the places on the way of `minirun run -d httpd` that record no
// step of the plan: what happens before there is a plan, and what carries it out.
var runtimeWay = []place{
	{"cmd/minirun/main.go", "main"},
	{"cmd/minirun/run.go", "run"},
	{"container/bundle/request.go", "Make"},
	{"cmd/minirun/runtime.go", "become"},
	{"cmd/minirunc/main.go", "main"},
	{"cmd/minirunc/run.go", "run"},
	{"container/protect/protect.go", "Protect"},
	{"container/create.go", "New"},
	{"container/check.go", "check"},
	{"container/create.go", "plan"},
	{"plan/run.go", "Start"},
	{"plan/run.go", "carryOut"},
	{"plan/run.go", "undo"},
	{"plan/child.go", "clone"},
	{"plan/child.go", "walk"},
	{"container/kill.go", "Delete"},
	{"container/protect/entry_amd64.s", "_minirunc_linux_amd64"},
}

// TestWay: every place in the README's table exists, and is on the way: it has
// recorded a step of the plan of httpd, or it is one of runtimeWay, all of which
// are there.
func TestWay(t *testing.T) {
	places := readmePlaces(t)
	if len(places) < 15 {
		t.Fatalf("only %d places found", len(places))
	}
	for _, p := range places {
		if !declared(t, p) {
			t.Errorf("README: %s has no %s", p.file, p.function)
		}
	}
	for _, p := range runtimeWay {
		if !slices.Contains(places, p) {
			t.Errorf("README: %s %s is not in the table, but on the way", p.file, p.function)
		}
	}
	recorded := recorders(t)
	for _, p := range places {
		if !slices.Contains(runtimeWay, p) && !slices.Contains(recorded, p) {
			t.Errorf("README: %s %s has recorded no step of httpd's plan", p.file, p.function)
		}
	}
}

// readmePlaces are those in the table: a file, and behind it functions, all in
// backquotes.
func readmePlaces(t *testing.T) (places []place) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- way -->")
	table, _, _ = strings.Cut(table, "<!-- end -->")
	file := ""
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		switch word := m[1]; {
		case strings.Contains(word, "/") && path.Ext(word) != "":
			file = word
		case file != "" && regexp.MustCompile(`^\w+$`).MatchString(word):
			places = append(places, place{file, word})
		}
	}
	return places
}

// declared says whether a file has a function or method of that name.
func declared(t *testing.T, p place) bool {
	t.Helper()
	name := "../../" + p.file
	text, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
		return false
	}
	if path.Ext(p.file) == ".s" {
		return strings.Contains(string(text), "\nTEXT "+p.function+"(SB)")
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && f.Name.Name == p.function
	})
}

// recorders are the functions that recorded the plan of httpd.
func recorders(t *testing.T) (places []place) {
	t.Helper()
	needPrograms(t)
	plans, err := ordinaryPlans(os.Getenv("MINIRUN"), os.Getenv("MINIRUNC"))
	if err != nil {
		t.Fatal(err)
	}
	for name, steps := range plans {
		if !strings.Contains(name, "httpd") {
			continue
		}
		for _, s := range steps {
			file, _, function := s.source()
			places = append(places, place{file, function[strings.LastIndex(function, ".")+1:]})
		}
	}
	return places
}

// needPrograms skips a test that prints the plans of root: an ordinary user's
// are others, without a cgroup and with id maps that newuidmap(1) writes.
func needPrograms(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: an ordinary user's plans have a user namespace, which is an annex")
	}
	if os.Getenv("MINIRUN") == "" || os.Getenv("MINIRUNC") == "" {
		t.Skip("no programs: make test sets MINIRUN and MINIRUNC")
	}
}
