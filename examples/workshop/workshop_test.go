package workshop

import (
	"io/fs"
	"strings"
	"testing"

	"minirun/examples/workshop/course"
)

// TestFiles: every lab has its texts in both languages, with the same commands; three
// hints; a solution, three wrong ways and a mutation, each with its sentences; and no
// text has a value that Setup does not draw.
func TestFiles(t *testing.T) {
	for i, l := range Labs {
		if i > 0 && l.Number <= Labs[i-1].Number {
			t.Errorf("lab %d stands behind lab %d", l.Number, Labs[i-1].Number)
		}
		values := l.Setup(course.NewDraw(nil))
		for _, language := range []string{"en", "ko"} {
			page, err := l.Page(language, values)
			if err != nil || strings.Contains(page, "«") {
				t.Errorf("lab %d, %s: %v, or a value that is not drawn", l.Number, language, err)
			}
			if hints, err := l.Hints(language, values); err != nil || len(hints) != 3 || strings.Contains(strings.Join(hints, ""), "«") {
				t.Errorf("lab %d, %s: %d hints, %v, want 3", l.Number, language, len(hints), err)
			}
			if l.Title.In(language) == "" || !strings.Contains(page, ". "+l.Title.In(language)+"\n") {
				t.Errorf("lab %d, %s: the title is not the text's", l.Number, language)
			}
		}
		sameCommands(t, l)
		scripts(t, l)
	}
}

// sameCommands: lab.md and lab.ko.md show the same commands in the same terminals.
func sameCommands(t *testing.T, l *course.Lab) {
	t.Helper()
	var lists [2][]course.Command
	for i, name := range []string{"lab.md", "lab.ko.md"} {
		text, err := fs.ReadFile(l.Files, name)
		if err == nil {
			lists[i], err = course.Transcript(string(text))
		}
		if err != nil || len(lists[i]) == 0 {
			t.Fatalf("lab %d, %s: %d commands, %v", l.Number, name, len(lists[i]), err)
		}
	}
	if len(lists[0]) != len(lists[1]) {
		t.Fatalf("lab %d: %d commands, %d in Korean", l.Number, len(lists[0]), len(lists[1]))
	}
	for i, c := range lists[0] {
		if k := lists[1][i]; c.Text != k.Text || c.Terminal != k.Terminal || c.Prompt != k.Prompt || c.Stays != k.Stays {
			t.Errorf("lab %d: %q in terminal %q, but in Korean %q in %q", l.Number, c.Text, c.Terminal, k.Text, k.Terminal)
		}
	}
}

func scripts(t *testing.T, l *course.Lab) {
	t.Helper()
	names, err := fs.Glob(l.Files, "wrong-*")
	if err != nil || len(names) < 3 {
		t.Errorf("lab %d: %d wrong ways, %v, want at least 3", l.Number, len(names), err)
	}
	for _, name := range append(names, "mutation") {
		text, err := fs.ReadFile(l.Files, name)
		if err != nil || !strings.Contains(string(text), "# en: ") || !strings.Contains(string(text), "# ko: ") {
			t.Errorf("lab %d: %s: %v, or without its two sentences", l.Number, name, err)
		}
	}
	if _, err := fs.ReadFile(l.Files, "solution"); err != nil {
		t.Errorf("lab %d: %v", l.Number, err)
	}
}
