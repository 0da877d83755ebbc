package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// This file reads what the programs print, TAP 13 (https://testanything.org),
// and says what of it passed.
//
//	TAP version 13
//	ok 1 - has expected hostname
//	  ---
//	  {"actual": "a", "expected": "a"}
//	  ...
//	ok 2 # SKIP linux.sysctl not set
//	not ok 3 - has expected umask
//	1..3
//
// The suite has habits of its own. A program may print several documents. What
// runtimetest printed in a container is a document in the diagnostic "stdout"
// of an outer one. And some programs assert nothing: they only fail by a
// diagnostic "error" in a document without assertions, or by their exit code.

// outcomes, the worst last.
const (
	skipped = iota
	passed
	failed
)

// A verdict is what came of one case: an assertion of a program. If it makes
// several with one text, that of the second is "text (2)", and so on.
type verdict struct {
	Program, Text string
	outcome       int
	why           string // of a failure; "" if there is nothing to say
}

// name is how the case is listed.
func (v verdict) name() string { return v.Program + ": " + v.Text }

// ends is the text of the case that every program has: that it ran to its end.
const ends = "runs to its end"

// judge returns the verdicts on a program, in the order of its output.
func judge(r run) []verdict {
	t := tap{program: r.Program, times: map[string]int{}}
	t.read(r.Output)
	t.close()
	if r.End != "" {
		t.broken = append(t.broken, r.End+": "+lastLine(r.Errors))
	}
	t.add(ends, outcome(len(t.broken) == 0, false), strings.Join(t.broken, "; "))
	return t.verdicts
}

// lastLine of a text that says something.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for len(lines) > 1 && strings.HasPrefix(lines[len(lines)-1], "exit status") {
		lines = lines[:len(lines)-1]
	}
	return lines[len(lines)-1]
}

type tap struct {
	program  string
	verdicts []verdict
	times    map[string]int // that a text came up
	broken   []string       // why it did not run to its end

	open       bool // a document has begun and its plan is missing
	assertions int  // of the document
}

var (
	assertion = regexp.MustCompile(`^(not )?ok \d+ (?:- |# (SKIP|TODO) ?)(.*)$`)
	planLine  = regexp.MustCompile(`^1\.\.(\d+)$`)
)

// read reads a text line by line.
func (t *tap) read(text string) {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line == "TAP version 13" {
			t.close()
			t.open, t.assertions = true, 0
		} else if m := assertion.FindStringSubmatch(line); m != nil {
			t.assertions++
			t.add(m[3], outcome(m[1] == "", m[2] != ""), "")
		} else if m := planLine.FindStringSubmatch(line); m != nil {
			t.open = false
			if m[1] != fmt.Sprint(t.assertions) {
				t.broken = append(t.broken, fmt.Sprintf("%d assertions, but %s planned", t.assertions, m[1]))
			}
		} else if line == "  ---" {
			block := i + 1
			for i++; i < len(lines) && lines[i] != "  ..."; i++ {
			}
			t.diagnostic(strings.Join(lines[block:min(i, len(lines))], "\n"))
		} else if text, ok := strings.CutPrefix(line, "# "); ok {
			t.explain(text)
		}
	}
}

func outcome(ok, directive bool) int {
	switch {
	case directive: // SKIP; or TODO, which may fail
		return skipped
	case ok:
		return passed
	}
	return failed
}

// close ends a document.
func (t *tap) close() {
	if t.open {
		t.broken = append(t.broken, "the output breaks off")
	}
	t.open = false
}

// diagnostic reads a block that follows an assertion, or precedes the first.
func (t *tap) diagnostic(block string) {
	var d map[string]any
	if err := json.Unmarshal([]byte(block), &d); err != nil {
		t.broken = append(t.broken, "a diagnostic that is not JSON: "+err.Error())
		return
	}
	if inner, ok := d["stdout"].(string); ok {
		said, _ := d["stderr"].(string)
		t.inner(inner, lastLine(said))
		return
	}
	if message, _ := d["error"].(string); t.assertions == 0 && message != "" {
		t.add(firstLine(message), failed, "")
		return
	}
	var why []string
	for _, key := range []string{"error", "stderr", "actual", "expected"} {
		if v, ok := d[key]; ok && fmt.Sprint(v) != "" {
			why = append(why, fmt.Sprintf("%s: %v", key, v))
		}
	}
	t.explain(strings.Join(why, "; "))
}

// inner reads what runtimetest printed in a container. A document that breaks
// off, or is none, does not bother the program that started it, but us.
func (t *tap) inner(text, said string) {
	outer := *t
	t.open, t.assertions = false, 0
	t.read(text)
	if t.open || t.assertions == 0 {
		t.broken = append(t.broken, "runtimetest breaks off: "+said)
	}
	t.open, t.assertions = outer.open, outer.assertions
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (t *tap) add(text string, outcome int, why string) {
	t.times[text]++
	if n := t.times[text]; n > 1 {
		text = fmt.Sprintf("%s (%d)", text, n)
	}
	t.verdicts = append(t.verdicts, verdict{t.program, text, outcome, why})
}

// explain says why the last case failed, if it did and nobody has said it before.
func (t *tap) explain(why string) {
	if len(t.verdicts) == 0 {
		return
	}
	if v := &t.verdicts[len(t.verdicts)-1]; v.outcome == failed && v.why == "" {
		v.why = strings.Join(strings.Fields(why), " ")
	}
}
