package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestJudge: what the suite's programs print, and what came of their cases.
func TestJudge(t *testing.T) {
	const block = "  ---\n  {\n    \"error\": \"e\",\n    \"actual\": 1\n  }\n  ...\n"
	for name, c := range map[string]struct {
		run  run
		want []verdict
	}{
		"all kinds": {run{Output: "TAP version 13\nok 1 - a\n" + block + "not ok 2 - b\n" + block + "ok 3 # SKIP c\nnot ok 4 # TODO d\nnot ok 5 - e\n# because\n# really\n1..5\n"},
			[]verdict{{"p", "a", passed, ""}, {"p", "b", failed, "error: e; actual: 1"}, {"p", "c", skipped, ""}, {"p", "d", skipped, ""},
				{"p", "e", failed, "because"}, {"p", ends, passed, ""}}},
		"the same text again": {run{Output: "TAP version 13\nok 1 - a\n1..1\nTAP version 13\nnot ok 1 - a\n1..1\n"},
			[]verdict{{"p", "a", passed, ""}, {"p", "a (2)", failed, ""}, {"p", ends, passed, ""}}},
		"only an error":           {run{Output: "TAP version 13\n" + block + "1..0\n"}, []verdict{{"p", "e", failed, ""}, {"p", ends, passed, ""}}},
		"an error that is none":   {run{Output: "TAP version 13\n  ---\n  {\"error\": \"\"}\n  ...\n1..0\n"}, []verdict{{"p", ends, passed, ""}}},
		"nothing":                 {run{}, []verdict{{"p", ends, passed, ""}}},
		"an exit code":            {run{Errors: "why\nexit status 1\n", End: "exit status 1"}, []verdict{{"p", ends, failed, "exit status 1: why"}}},
		"no plan":                 {run{Output: "TAP version 13\nok 1 - a\n"}, []verdict{{"p", "a", passed, ""}, {"p", ends, failed, "the output breaks off"}}},
		"another plan":            {run{Output: "TAP version 13\n1..2\n"}, []verdict{{"p", ends, failed, "0 assertions, but 2 planned"}}},
		"a block without an end":  {run{Output: "TAP version 13\n  ---\n"}, []verdict{{"p", ends, failed, "a diagnostic that is not JSON: unexpected end of JSON input; the output breaks off"}}},
		"a container":             {run{Output: outer(`TAP version 13\nnot ok 1 - x\n1..1\n`)}, []verdict{{"p", "x", failed, ""}, {"p", "a", passed, ""}, {"p", ends, passed, ""}}},
		"a container that breaks": {run{Output: outer(`TAP version 13\nok 1 - x\n`)}, []verdict{{"p", "x", passed, ""}, {"p", "a", passed, ""}, {"p", ends, failed, "runtimetest breaks off: oh"}}},
		"a container that is mum": {run{Output: outer("")}, []verdict{{"p", "a", passed, ""}, {"p", ends, failed, "runtimetest breaks off: oh"}}},
	} {
		c.run.Program = "p"
		if got := judge(c.run); !slices.Equal(got, c.want) {
			t.Errorf("%s: judge() = %+v, want %+v", name, got, c.want)
		}
	}
}

// outer is a document about a container in which runtimetest printed text.
func outer(text string) string {
	return "TAP version 13\n  ---\n  {\"stderr\": \"oh\", \"stdout\": \"" + text + "\"}\n  ...\nok 1 - a\n1..1\n"
}

// TestReport: only a failure that is not listed is one; what is listed and did
// not fail is told.
func TestReport(t *testing.T) {
	ran := []run{{Program: "p", Output: "TAP version 13\nok 1 - a\nnot ok 2 - b\nnot ok 3 - c\n1..3\n"}}
	reasons := []reason{{"why", []string{"p: a", "p: b", "p: gone"}}}
	var out strings.Builder
	if report(&out, ran, reasons, true) {
		t.Errorf("report() = true, want false: c is not listed")
	}
	for _, want := range []string{
		"2        0                 1       1  p\n", "expected to fail: why\n    p: b\n",
		"take them off the list\n    p: a\n    p: gone  (did not come up)\n", "failed\n    p: c\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report() prints\n%s\nwant %q in it", out.String(), want)
		}
	}
	reasons = append(reasons, reason{"sometimes it rains", []string{"p: c", "p: dry"}})
	out.Reset()
	if !report(&out, ran, reasons, true) {
		t.Errorf("report() = false, want true: all is listed")
	}
	if strings.Contains(out.String(), "dry") {
		t.Errorf("report() prints\n%s\nand in it a case that need not come up", out.String())
	}
}

// TestReasons: the file that comes with this program can be read; what is
// no list is refused, with the line.
func TestReasons(t *testing.T) {
	if list, err := readReasons("cannot-pass"); err != nil || len(list) < 5 || slices.ContainsFunc(list, func(r reason) bool { return len(r.cases) == 0 }) {
		t.Errorf("cannot-pass = %v, %v; want reasons, each with cases", list, err)
	}
	file := filepath.Join(t.TempDir(), "list")
	for text, want := range map[string]string{"\tp: a\n": file + ":1: a case without a reason", "why\n\tp: a\n\tp: a\n": file + ":3: listed twice: p: a"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readReasons(file); err == nil || err.Error() != want {
			t.Errorf("readReasons(%q) = %v, want %s", text, err, want)
		}
	}
}
