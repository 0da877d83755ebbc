package main

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

func TestGlobals(t *testing.T) {
	for _, test := range []struct {
		words, rest string
		flags       map[string]string
	}{
		{"", "", map[string]string{}},
		{"state x", "state x", map[string]string{}},
		{"--root /r --log=/l --log-format json create --log x", "create --log x", map[string]string{"root": "/r", "log": "/l", "log-format": "json"}},
		{"-root=/r --debug --systemd-cgroup kill x", "kill x", map[string]string{"root": "/r", "debug": "", "systemd-cgroup": ""}},
		{"--rootless=true --log", "", map[string]string{"rootless": "true", "log": ""}},
	} {
		flags, rest := globals(strings.Fields(test.words))
		if !maps.Equal(flags, test.flags) || strings.Join(rest, " ") != test.rest {
			t.Errorf("globals(%s) = %q, %q, want %q, %q", test.words, flags, rest, test.flags, test.rest)
		}
	}
}

func TestForEngine(t *testing.T) {
	for _, test := range []struct {
		words string
		want  int
	}{
		{"exec web ls", 127},
		{"exec -it web ls -p x", 127},
		{"exec web ls --process x", 127},
		{"exec --process x web", 255},
		{"exec -d -p x web", 255},
		{"exec --pid-file=x web ls", 255},
		{"exec -console-socket x web ls", 255},
		{"--root /r exec web ls", 255},
		{"--log /l exec web ls", 255},
		{"--store /s exec web ls", 127},
		{"run box ls", 127},
		{"run box ls --bundle x", 127},
		{"run --bundle . x", 1},
		{"run -d -b . x", 1},
		{"--root /r --store /s run --monitor --name n --bundle . x", 127},
		{"", 127},
	} {
		if got := exitCode(forEngine(failure{errors.New("x"), 127}, strings.Fields(test.words))); got != test.want {
			t.Errorf("exit code of minirun %s = %d, want %d", test.words, got, test.want)
		}
		if got := exitCode(forEngine(exit(3), strings.Fields(test.words))); got != 3 {
			t.Errorf("minirun %s: the program's exit code 3 becomes %d", test.words, got)
		}
	}
}

// TestHasBundle: what a program's own words are is not for run to take.
func TestHasBundle(t *testing.T) {
	for words, want := range map[string]bool{
		"run --bundle . x": true, "run -d -b . x": true, "run -db . x": true, "run -bundle=. x": true, "--root /r run --name n --monitor --bundle . x": true,
		"run box ls --bundle x": false, "run --rm box grep -b root /etc/passwd": false, "run box -b": false, "run --name -b box": false,
		"run": false, "": false, "run -it -e A=b -v /b:/b box sh --bundle": false,
	} {
		if hasBundle(strings.Fields(words)) != want {
			t.Errorf("minirun %s has a bundle: %v, want %v", words, !want, want)
		}
	}
}

// TestOneLine: an error is one line, and does nothing to a terminal.
func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"open ä: denied": "open ä: denied", "a\nb": "a; b", "\x1b]0;owned\a\r": `\x1b]0;owned\a\r`, "x\x00y\u009b31m": `x\x00y\u009b31m`,
	} {
		if got := oneLine(errors.New(text)); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestMentioned(t *testing.T) {
	for words, want := range map[string]string{
		"":                      "",
		"--log x state":         "log",
		"-log=x":                "log",
		"--log-format json":     "log-format",
		"state --debugging":     "",
		"exec -dc x":            "cap",
		"exec --dc x":           "",
		"exec debug log cap":    "",
		"--debug --cap x":       "debug cap",
		"state --help":          "log log-format debug cap",
		"--log x state --debug": "log debug",
	} {
		flags := []cli.Flag{&cli.StringFlag{Name: "log"}, &cli.StringFlag{Name: "log-format"}, &cli.BoolFlag{Name: "debug"}, &cli.StringFlag{Name: "cap", Aliases: []string{"c"}}}
		var got []string
		for _, f := range mentioned(flags, strings.Fields(words)) {
			got = append(got, f.Names()[0])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("mentioned(%s) = %q, want %q", words, got, want)
		}
	}
	for _, f := range []cli.Flag{
		&cli.StringFlag{Name: "tail", Value: "all"}, &cli.IntFlag{Name: "timeout", Value: 10}, &cli.DurationFlag{Name: "interval", Value: 1},
	} {
		if got := mentioned([]cli.Flag{f}, []string{"logs"}); len(got) != 1 {
			t.Errorf("mentioned leaves --%s out, which has a value without being named", f.Names()[0])
		}
	}
}

// TestLogLines checks the two forms of a line, against what engines parse.
func TestLogLines(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	text := `no "such" thing <x>`
	if got, want := string(engineLog{}.line(failed, text, at)), `time="2026-01-02T03:04:05Z" level=error msg="no \"such\" thing <x>"`+"\n"; got != want {
		t.Errorf("text line = %s, want %s", got, want)
	}
	var entry struct {
		Level, Msg string
		Time       time.Time
	}
	line := engineLog{json: true}.line(warning, text, at)
	if err := json.Unmarshal(line, &entry); err != nil || entry.Level != "warning" || entry.Msg != text || !entry.Time.Equal(at.Truncate(time.Second)) {
		t.Errorf("JSON line %s = %+v, %v", line, entry, err)
	}
	if n := strings.Count(string(line), "\n"); n != 1 {
		t.Errorf("JSON line %q has %d ends of line", line, n)
	}
}

func TestLogLevels(t *testing.T) {
	for flags, want := range map[string][]string{
		"":                     {"error"},
		"--log-level error":    {"error"},
		"--log-level info":     {"error", "warning"},
		"--log-level warning":  {"error", "warning"},
		"--log-level debug":    {"error", "warning", "debug"},
		"--debug":              {"error", "warning", "debug"},
		"--debug=false":        {"error"},
		"--systemd-cgroup":     {"error"},
		"--rootless auto":      {"error"},
		"--log-format text -x": {"error"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		l := newLog(append(strings.Fields("--log "+path+" "+flags), "state", "--debug"))
		for _, level := range []level{failed, warning, debug} {
			must(t, l.add(level, "text"))
		}
		data, err := os.ReadFile(path)
		must(t, err)
		var got []string
		for line := range strings.Lines(string(data)) {
			_, after, _ := strings.Cut(line, "level=")
			got = append(got, strings.Fields(after)[0])
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %q the log has %q, want %q", flags, got, want)
		}
	}
}
