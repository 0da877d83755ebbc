package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPattern: what may differ, and what may not.
func TestPattern(t *testing.T) {
	for _, c := range []struct {
		want, printed string
		same          bool
	}{
		{"a 12 b", "a 7345  b", true},
		{"a 12 b", "a x b", false},
		{"  7 threads", "   82 threads", true},
		{"82 threads", "82 thread", false},
		{"82 threads", "82 threads in", false},
		{"3.945MiB", "864KiB", true},
		{"5a2e5e9c2d7b  web", "e296f13d6615  web", true},
		{"5a2e5e9c2d7b  web", "e296f13d66  web", false},
		{"/x/5a2e… end", "/x/5a2e77 and more end", true},
		{"one\n…\nfour", "one\ntwo\nthree\nfour", true},
		{"one\n…", "one\ntwo\nthree", true},
		{"one\n…\nfour", "one\ntwo\nthree\nfive", false},
		{"a.b", "axb", false},
		{"", "", true},
	} {
		lines := strings.SplitAfter(c.want+"\n", "\n")
		lines = lines[:len(lines)-1]
		if got := pattern(lines).MatchString(c.printed + "\n"); got != c.same {
			t.Errorf("%q stands for %q: %v, want %v", c.want, c.printed, got, c.same)
		}
	}
}

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
		if out, ok := list[i].check(); ok != want {
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
