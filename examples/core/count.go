package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// rooms are the folders at the top, in the order in which arrows point down.
var rooms = []string{"container", "namespaces", "cgroups", "rootfs", "process", "plan"}

// A house is all packages of the rooms, those of a room one after the other.
type house []pkg

// A pkg is one folder with Go files. Tests do not count.
type pkg struct {
	dir      string   // from the project's root: "rootfs/idmap"
	code     int      // lines with code
	comments int      // lines with a comment and no code
	exports  int      // exported types, functions, methods, variables and constants
	imports  []string // packages of this project, as folders
}

// look reads the rooms of the project in a folder.
func look(root string) (house, error) {
	var h house
	for _, room := range rooms {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test") { // nstest is for tests, as net/http/httptest is
				return fs.SkipDir
			}
			p, err := readPackage(root, path)
			if err == nil && p.code > 0 {
				h = append(h, p)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return h, nil
}

// readPackage counts the files of one folder.
func readPackage(root, dir string) (p pkg, err error) {
	if p.dir, err = filepath.Rel(root, dir); err != nil {
		return p, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return p, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), "_test.go"):
		case strings.HasSuffix(e.Name(), ".go"):
			err = p.addGo(path)
		case strings.HasSuffix(e.Name(), ".s"):
			err = p.addAssembly(path)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// addGo counts a Go file. One that go run is for, as generators are, is no part
// of the package.
func (p *pkg) addGo(path string) error {
	text, err := os.ReadFile(path)
	if err != nil || strings.HasPrefix(string(text), "//go:build ignore\n") {
		return err
	}
	code, comments := countGo(text)
	p.code += code
	p.comments += comments
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, i := range file.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: import %s: %w", path, i.Path.Value, err)
		}
		if ours, ok := strings.CutPrefix(name, "minirun/"); ok {
			p.imports = append(p.imports, ours)
		}
	}
	for _, d := range file.Decls {
		p.exports += exported(d)
	}
	return nil
}

// countGo counts the lines of a Go file: those on which there is a part of the
// language, even a brace alone, and those on which there is only a comment.
func countGo(text []byte) (code, comments int) {
	const isCode, isComment = 2, 1
	lines := map[int]int{}
	files := token.NewFileSet()
	file := files.AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, scanner.ScanComments)
	for {
		at, kind, word := s.Scan()
		if kind == token.EOF {
			break
		}
		what := isCode
		switch {
		case kind == token.COMMENT:
			what = isComment
		case kind == token.SEMICOLON && word == "\n":
			continue // the end of a line
		}
		first := file.Line(at)
		for n := first; n <= first+strings.Count(word, "\n"); n++ {
			lines[n] = max(lines[n], what)
		}
	}
	for _, what := range lines {
		if what == isCode {
			code++
		} else {
			comments++
		}
	}
	return code, comments
}

// addAssembly counts a file in Go's assembly.
func (p *pkg) addAssembly(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "//"):
			p.comments++
		case line != "":
			p.code++
		}
	}
	return nil
}

// exported is how many names a declaration exports.
func exported(d ast.Decl) (n int) {
	count := func(name *ast.Ident) {
		if name.IsExported() {
			n++
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		count(d.Name)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				count(s.Name)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					count(name)
				}
			}
		}
	}
	return n
}
