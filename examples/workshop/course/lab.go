// Package course is what all labs of the workshop stand on: the type of a lab, the
// attempt that a student has begun, the four answers of a check, and the few ways to
// look at a container from outside.
//
//	lab.go        Lab: texts, values, check; Text: both languages
//	attempt.go    Attempt: what is kept between two commands, and how
//	verdict.go    Verdict: right, not yet, wrong because, not on this machine
//	container.go  the student's container, found by its name
//	process.go    processes and files of /proc
//	draw.go       random values
//
// A check looks at the kernel, and changes nothing but its own attempt. It never reads
// what the student's commands printed.
package course

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// A Text is a sentence in both languages of the workshop.
type Text struct{ En, Ko string }

// T is a Text of two formats for fmt.Sprintf, which share their arguments.
func T(en, ko string, args ...any) Text {
	return Text{fmt.Sprintf(en, args...), fmt.Sprintf(ko, args...)}
}

// In returns the text in a language: "ko", or English for every other.
func (t Text) In(language string) string {
	if language == "ko" {
		return t.Ko
	}
	return t.En
}

// Language is "ko" if the user's locale is Korean, else "en". See locale(7): the first
// of the three variables that is set counts.
func Language() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := os.Getenv(name); value != "" {
			if strings.HasPrefix(value, "ko") {
				return "ko"
			}
			break
		}
	}
	return "en"
}

// A Lab is one exercise. It is plain data: a package per lab has one, in its check.go.
type Lab struct {
	Number int
	Title  Text

	// Files are lab.md, lab.ko.md, hints.md, hints.ko.md, solution, mutation and wrong-*.
	Files fs.FS

	// Images must be in minirun's store before the lab starts; each is the name of a
	// folder of examples/ with a program build that makes it.
	Images []string

	// Controllers of cgroup v2 that the lab cannot do without, such as "memory".
	Controllers []string

	// Root says that only root can do it.
	Root bool

	// Predict and Answer name the values that `lab predict` and `lab answer` take.
	// Nil: the lab has no such question.
	Predict, Answer []string

	// Setup draws the attempt's values, and changes nothing. A value whose key begins with
	// "name" is the name of a container, which reset removes.
	Setup func(d *Draw) map[string]string

	// Check looks at the kernel.
	Check func(a *Attempt) Verdict

	// Clean ends what the lab makes besides containers. It may run twice, or after a half
	// done lab. Nil: there is nothing else.
	Clean func(a *Attempt) error
}

// text reads one of the lab's files, in the language if it has one of that language.
func (l *Lab) text(name, extension, language string) (string, error) {
	if language == "ko" {
		extension = ".ko" + extension
	}
	text, err := fs.ReadFile(l.Files, name+extension)
	return string(text), err
}

// Page is lab.md with the attempt's values in place of the «key».
func (l *Lab) Page(language string, values map[string]string) (string, error) {
	text, err := l.text("lab", ".md", language)
	return Fill(text, values), err
}

// Hints are the steps of hints.md: each begins with its number, a full stop and a blank.
func (l *Lab) Hints(language string, values map[string]string) (list []string, err error) {
	text, err := l.text("hints", ".md", language)
	for line := range strings.Lines(text) {
		if number, rest, ok := strings.Cut(line, ". "); ok && number == fmt.Sprint(len(list)+1) {
			list = append(list, strings.TrimSpace(Fill(rest, values)))
		} else if len(list) > 0 && strings.TrimSpace(line) != "" {
			list[len(list)-1] += " " + strings.TrimSpace(Fill(line, values))
		}
	}
	return list, err
}

var placeholder = regexp.MustCompile(`«([a-z0-9]+)»`)

// Fill puts the values in place of the «key» in a text. An unknown key stays.
func Fill(text string, values map[string]string) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		if value, ok := values[strings.Trim(found, "«»")]; ok {
			return value
		}
		return found
	})
}
