package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"minirun/cmd/report"
	"minirun/cmd/testbed"
)

// TestGlobals: the flags before a command, in all forms that engines use.
func TestGlobals(t *testing.T) {
	for words, want := range map[string]struct {
		rest, root string
		log        log
		systemd    bool
	}{
		"state x": {rest: "state x", root: "/run/minirun"},
		"--root /r --log=/l --log-format json create --log x": {rest: "create --log x", root: "/r", log: log{path: "/l", json: true}},
		"-root=/r --debug --systemd-cgroup kill x":            {rest: "kill x", root: "/r", log: log{most: debug}, systemd: true},
		"--cgroup-manager=systemd --rootless true kill x":     {rest: "kill x", root: "/run/minirun", systemd: true},
	} {
		c := &call{out: &report.Output{To: io.Discard}}
		if err := c.globals(append([]string{}, strings.Fields(words)...)); err != nil {
			t.Errorf("globals(%s) = %v", words, err)
		}
		if !c.rootGiven {
			c.root = "/run/minirun"
		}
		if strings.Join(c.args, " ") != want.rest || c.root != want.root || c.log != want.log || c.systemd != want.systemd {
			t.Errorf("globals(%s) = %+v, want %+v", words, c, want)
		}
	}
}

// TestParse: flags may be before and behind the id, but behind a program's name
// they are the program's.
func TestParse(t *testing.T) {
	for words, want := range map[string]string{
		"kill a KILL":        "[a KILL] false",
		"kill --all a 9":     "[a 9] true",
		"kill a 9 -a":        "[a 9] true",
		"kill -- -a":         "[-a] false",
		"kill -all=false a":  "[a] false",
		"exec -a x sh -a":    "[x sh -a] true",
		"exec x -a":          "[x -a] false",
		"exec -a -- x -- -a": "[x -- -a] true",
	} {
		c := &call{out: &report.Output{To: io.Discard}, args: strings.Fields(words)}
		c.flags = newFlags(c.args[0])
		all := c.flags.yes("all a", "")
		most := 2
		if c.args[0] == "exec" {
			most = programs
		}
		err := c.parse(1, most)
		if got := fmt.Sprint(c.args, *all); err != nil || got != want {
			t.Errorf("parse(%s) = %s, %v; want %s", words, got, err, want)
		}
	}
}

// TestLogLines checks the two forms of a line, against what engines parse.
func TestLogLines(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	text := `no "such" thing <x>`
	if got, want := string(log{}.line(failed, text, at)), `time="2026-01-02T03:04:05Z" level=error msg="no \"such\" thing <x>"`+"\n"; got != want {
		t.Errorf("text line = %s, want %s", got, want)
	}
	var entry struct {
		Level, Msg string
		Time       time.Time
	}
	line := log{json: true}.line(warning, text, at)
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
		"--log-format text -v": {"error"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		c := &call{out: &report.Output{To: io.Discard}}
		testbed.Must(t, c.globals(append(strings.Fields("--log "+path+" "+flags), "state", "--debug")))
		for _, level := range []level{failed, warning, debug} {
			testbed.Must(t, c.log.add(level, "text"))
		}
		data, err := os.ReadFile(path)
		testbed.Must(t, err)
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

// TestLogUnopened: a log that cannot be opened is an error before anything is done, and
// it is told once.
func TestLogUnopened(t *testing.T) {
	for _, words := range []string{"features", "state x", "--debug features", "-v"} {
		cmd := called(t, nil, append([]string{"--log", "/nowhere/log"}, strings.Fields(words)...)...)
		err := cmd.Run()
		var exit *exec.ExitError
		if out := printed(t, cmd); !errors.As(err, &exit) || exit.ExitCode() != 1 || out != "log: open /nowhere/log: no such file or directory" {
			t.Errorf("minirunc --log /nowhere/log %s = %v, %q; want exit code 1 and the log's name", words, err, out)
		}
	}
}
