// Package pattern says what the lines of a transcript stand for. What differs from run
// to run need not be the same: numbers, sizes, ids and blanks stand for others of their
// kind, … for any text, and a line of … alone for any lines. ‹NAME› stands for one word,
// and for the same word wherever it stands again.
package pattern

import (
	"regexp"
	"strings"
)

// alike says for what in a transcript others of its kind may stand.
var alike = []struct{ found, stands string }{
	{`^…$`, `(?:.*\n)*?.*`},
	{name, `([^\s,:()\[\]]+)`},
	{`…`, `.*`},
	{`\b[0-9a-f]{64}\b`, `[0-9a-f]{64}`},
	{`\b[0-9a-f]{12}\b`, `[0-9a-f]{12}`},
	{`[0-9.]+[KM]iB\b`, `[0-9.]+[KM]iB`},
	{`[0-9]+`, `[0-9]+`},
	{`[ \t]+`, `[ \t]+`},
}

// name is a word that is seen on the screen, ‹NAME›, or one that is known from the
// start, «name».
const name = `‹[A-Z]+›|«[a-z0-9]+»`

var names = regexp.MustCompile(name)

// Match says whether the output is what the lines stand for. Words are what ‹NAME›
// and «name» stand for, by the name; those that are new are added if the output matches.
func Match(lines []string, output string, words map[string]string) bool {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, l := range lines {
		b.WriteString(stands(l, 0, words) + `\n`)
	}
	found := regexp.MustCompile(b.String() + `\z`).FindStringSubmatch(output)
	if found == nil {
		return false
	}
	fresh := map[string]string{}
	for _, n := range names.FindAllString(strings.Join(lines, "\n"), -1) {
		if n = bare(n); words[n] != "" {
			continue
		}
		if old, ok := fresh[n]; ok && old != found[1] {
			return false
		}
		fresh[n], found = found[1], found[1:]
	}
	for n, word := range fresh {
		words[n] = word
	}
	return true
}

// bare is a name without its marks.
func bare(marked string) string { return strings.Trim(marked, "‹›«»") }

// Fill puts the known words in place of their names. An unknown name stays.
func Fill(text string, words map[string]string) string {
	return names.ReplaceAllStringFunc(text, func(found string) string {
		if word, ok := words[bare(found)]; ok {
			return word
		}
		return found
	})
}

// stands is the pattern for some text: each kind in turn splits what the kinds
// before it have left. A known word is itself.
func stands(text string, kind int, words map[string]string) string {
	if kind == len(alike) {
		return regexp.QuoteMeta(text)
	}
	found := regexp.MustCompile(alike[kind].found)
	var b strings.Builder
	at := 0
	for _, m := range found.FindAllStringIndex(text, -1) {
		b.WriteString(stands(text[at:m[0]], kind+1, words))
		if word := words[bare(text[m[0]:m[1]])]; word != "" && alike[kind].found == name {
			b.WriteString(regexp.QuoteMeta(word))
		} else {
			b.WriteString(alike[kind].stands)
		}
		at = m[1]
	}
	return b.String() + stands(text[at:], kind+1, words)
}
