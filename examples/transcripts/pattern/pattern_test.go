package pattern

import (
	"reflect"
	"strings"
	"testing"
)

// TestMatch: what may differ, and what may not.
func TestMatch(t *testing.T) {
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
		{"a\tb", "a  b", true},
		{"‹A› and ‹A›", "7 and 7", true},
		{"‹A› and ‹A›", "7 and 8", false},
		{"‹A› and ‹B›", "7 and 8", true},
	} {
		if got := Match(strings.Split(c.want, "\n"), c.printed+"\n", map[string]string{}); got != c.same {
			t.Errorf("%q stands for %q: %v, want %v", c.want, c.printed, got, c.same)
		}
	}
	if !Match(nil, "", nil) || Match(nil, "x\n", nil) {
		t.Error("no lines stand for no output, and for nothing else")
	}
}

// TestWords: a word is kept, and is the same ever after.
func TestWords(t *testing.T) {
	words := map[string]string{}
	ps := "root  1 0.0 0.1 tty Ss 0:00 init\nroot  38  0.1  0.2 pts/0 S+ 0:00  \\_ sleep 4711\n"
	if Match([]string{"…", "… ‹HOST› x"}, ps, words) || len(words) > 0 {
		t.Errorf("words of no match: %v", words)
	}
	if !Match([]string{"…", "… ‹HOST› 0.0 0.0 … sleep 4711"}, ps, words) || !reflect.DeepEqual(words, map[string]string{"HOST": "38"}) {
		t.Errorf("words are %v, want HOST=38", words)
	}
	if got := Fill("kill ‹HOST› ‹OTHER›", words); got != "kill 38 ‹OTHER›" {
		t.Errorf("Fill() = %q", got)
	}
	if Match([]string{"NSpid: ‹HOST› ‹IN›"}, "NSpid:\t39\t2\n", words) {
		t.Error("38 was taken for 39")
	}
	if !Match([]string{"NSpid: ‹HOST› ‹IN›"}, "NSpid:\t38\t2\n", words) || words["IN"] != "2" {
		t.Errorf("words are %v, want IN=2", words)
	}
}
