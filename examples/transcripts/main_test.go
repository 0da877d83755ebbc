package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestCheck: a transcript that is right, and one that is not.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	text := "# x\n\n```console\n$ echo a 1; echo b\na 2\nb\n$ true\n```\n\n```\n$ not run\n```\n\n```console\n$ echo rm c\nd\n```\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := read(path)
	if err != nil || len(list) != 3 {
		t.Fatalf("read() = %v, %v, want 3 commands", list, err)
	}
	for i, want := range []bool{true, true, false} {
		if out, ok := list[i].check(map[string]string{}); ok != want {
			t.Errorf("line %d: %v, want %v: %s", list[i].line, ok, want, out)
		}
	}
}

// TestPaths: every file and folder that the pages at the top name in backquotes,
// or in the map of the house, is there. What the README's table of functions names
// is examples/core's to check.
func TestPaths(t *testing.T) {
	for page, least := range map[string]int{"README.md": 20, "CONTRIBUTING.md": 5, "SECURITY.md": 10} {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		paths := regexp.MustCompile("(?m)^([a-z]+/[a-z/]*) |  ([a-z]+/[a-z/]+) |`([a-z]+/[a-z_0-9./-]+)`").FindAllStringSubmatch(string(text), -1)
		for _, p := range paths {
			if _, err := os.Stat("../../" + p[1] + p[2] + p[3]); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
		if len(paths) < least {
			t.Errorf("%s: only %d paths found", page, len(paths))
		}
	}
}
