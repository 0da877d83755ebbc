package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cgroups/systemd"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Container engines (containerd, Docker, Podman, CRI-O) call minirun as they
// call runc: with flags before the command, and with a log file for errors.
//
//	engine                                           minirun
//	--log FILE --log-format json create ... ID  -->  does it, or
//	                                            <--  one line in FILE, the bare message on stderr
//	takes the last line of level error (containerd),
//	or the whole file as one object (Podman)
//
// Therefore nothing but the error is in that file, unless --debug or
// --log-level ask for more.

// engineFlags are the flags before a command that engines give. They are those
// of runc, and two of crun's.
func engineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log", Usage: "append errors to `FILE`"},
		&cli.StringFlag{Name: "log-format", Usage: "`text` or json", DefaultText: "text"},
		&cli.StringFlag{Name: "log-level", Usage: "`error`, warning or debug: what the log is told", DefaultText: "error"},
		&cli.BoolFlag{Name: "debug", Usage: "the same as --log-level debug"},
		&cli.BoolFlag{Name: "systemd-cgroup", Usage: "let systemd make the cgroups"},
		&cli.StringFlag{Name: "cgroup-manager", Usage: "who makes the cgroups: `cgroupfs`, systemd or disabled", DefaultText: "cgroupfs"},
		&cli.StringFlag{Name: "rootless", Usage: "true, false or `auto`: minirun sees by itself whether it has privileges", DefaultText: "auto"},
	}
}

// mentioned are the flags that the words name, and those that mean something
// without being named; or all if the words ask for help. The library looks at
// each flag as often as there are flags, with a regular expression: so those
// that are not used should not be there.
func mentioned(flags []cli.Flag, words []string) []cli.Flag {
	if slices.ContainsFunc(words, func(w string) bool {
		return w == "--help" || w == "-h" || w == "help" || w == completion
	}) {
		return flags
	}
	var dashed []string
	for _, w := range words {
		if strings.HasPrefix(w, "-") {
			dashed = append(dashed, w)
		}
	}
	return slices.DeleteFunc(flags, func(f cli.Flag) bool {
		if hasValue(f) {
			return false
		}
		all := f.Names()
		return !slices.ContainsFunc(dashed, func(w string) bool { return names(w, all) })
	})
}

// hasValue says whether a flag has one when it is not given.
func hasValue(f cli.Flag) bool {
	switch f := f.(type) {
	case *cli.StringFlag:
		return f.Value != ""
	case *cli.IntFlag:
		return f.Value != 0
	case *cli.DurationFlag:
		return f.Value != 0
	}
	return false
}

// names says whether a word that begins with a dash is a flag with one of the
// names: --log, -log, --log=x, or -c among the letters of -dc.
func names(word string, all []string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	return slices.ContainsFunc(all, func(n string) bool {
		return n == name || len(n) == 1 && !strings.HasPrefix(word, "--") && strings.Contains(word, n)
	})
}

// checkEngineFlags refuses values that mean nothing.
func checkEngineFlags(c *cli.Context) error {
	for _, f := range []struct {
		name   string
		values []string
	}{
		{"log-format", []string{"text", "json"}},
		{"log-level", []string{"error", "warning", "info", "debug"}},
		{"cgroup-manager", []string{"cgroupfs", "systemd", "disabled"}},
		{"rootless", []string{"true", "false", "auto"}},
	} {
		if v := c.String(f.name); c.IsSet(f.name) && !slices.Contains(f.values, v) {
			return usage{fmt.Errorf("--%s %q: want %s", f.name, v, strings.Join(f.values, ", "))}
		}
	}
	l := newLog(os.Args[1:])
	return l.add(debug, fmt.Sprintf("minirun %s: %q", c.App.Version, os.Args[1:]))
}

// bySystemd says whether systemd is to make the cgroup of a new container.
func bySystemd(c *cli.Context) bool {
	return c.Bool("systemd-cgroup") || c.String("cgroup-manager") == "systemd"
}

// checkManager refuses to make a container whose cgroup systemd is to make,
// where there is none. It is asked for that alone: with the same flags, what
// there is can be looked at and removed.
func checkManager(c *cli.Context) error {
	if !bySystemd(c) {
		return nil
	}
	if err := systemd.Booted(); err != nil {
		return fmt.Errorf("--systemd-cgroup: %w", err)
	}
	return nil
}

// ownGroup leaves it to systemd, if that is to make it, where the group of an
// image's container is: the bundle names the one that we would make ourselves.
func ownGroup(c *cli.Context, spec *specs.Spec) {
	if bySystemd(c) {
		spec.Linux.CgroupsPath = ""
	}
}

// valued are the flags before a command whose value may be the next word.
var valued = []string{"root", "store", "log", "log-format", "log-level", "cgroup-manager", "rootless"}

// globals are the flags before the command, by name, and the words from the
// command on. Read by hand, for those who must know them before the library
// has read them, or when it cannot: where an error is to be written, and with
// which exit code.
func globals(words []string) (flags map[string]string, rest []string) {
	flags = map[string]string{}
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		name, value, found := strings.Cut(strings.TrimLeft(words[0], "-"), "=")
		words = words[1:]
		if slices.Contains(valued, name) && !found && len(words) > 0 {
			value, words = words[0], words[1:]
		}
		flags[name] = value
	}
	return flags, words
}

// Levels of a log, by how much is said.
type level int

const (
	failed level = iota
	warning
	debug
)

// String is the level as logs have it.
func (l level) String() string { return []string{"error", "warning", "debug"}[l] }

// An engineLog is the file that --log names. The zero value is none.
type engineLog struct {
	path string
	json bool
	most level // the last that is written
}

func newLog(words []string) engineLog {
	flags, _ := globals(words)
	l := engineLog{path: flags["log"], json: flags["log-format"] == "json"}
	switch level := flags["log-level"]; {
	case level == "debug", hasKey(flags, "debug") && flags["debug"] != "false":
		l.most = debug
	case level == "warning", level == "info":
		l.most = warning
	}
	return l
}

func hasKey(m map[string]string, key string) bool { _, ok := m[key]; return ok }

// add appends a line to the log, if there is one and its level is asked for.
func (l engineLog) add(level level, text string) error {
	if l.path == "" || level > l.most {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	_, err = f.Write(l.line(level, text, time.Now()))
	return errors.Join(err, f.Close())
}

// line is one line of a log, as logrus writes it: engines parse it.
func (l engineLog) line(level level, text string, now time.Time) []byte {
	at := now.Format(time.RFC3339)
	if !l.json {
		return fmt.Appendf(nil, "time=%q level=%s msg=%q\n", at, level, text)
	}
	line, _ := json.Marshal(struct { // strings: no error
		Level string `json:"level"`
		Msg   string `json:"msg"`
		Time  string `json:"time"`
	}{level.String(), text, at})
	return append(line, '\n')
}

// report is the function of that name, for an engine: the message goes into the
// log, and bare to stderr.
func (l engineLog) report(err error) int {
	var code exit
	if l.path == "" || err == nil || errors.As(err, &code) {
		return report(err)
	}
	text := oneLine(err)
	if logErr := l.add(failed, text); logErr != nil {
		fmt.Fprintln(os.Stderr, oneLine(logErr))
	}
	fmt.Fprintln(os.Stderr, text)
	return exitCode(err)
}

// forEngine gives an error of run and exec the exit code that engines want: 1,
// and 255 for exec. Docker's 125, 126 and 127 are for people and their scripts.
// Who calls is told by the form, and the rule is this:
//
//	exec   an engine's if --process, --pid-file or --console-socket is given,
//	       or --root or --log before it
//	run    an engine's if --bundle is given, but for our own second stage
//
// Other commands have only one form, and end with 1. The exit code of the
// program in the container is the same for all.
func forEngine(err error, words []string) error {
	var own failure
	if !errors.As(err, &own) {
		return err
	}
	flags, rest := globals(words)
	if len(rest) == 0 {
		return err
	}
	given := func(names ...string) bool {
		return slices.ContainsFunc(flagWords(rest[1:]), func(w string) bool { return slices.Contains(names, w) })
	}
	switch {
	case rest[0] == "exec" && (hasKey(flags, "root") || hasKey(flags, "log") || given("process", "p", "pid-file", "console-socket")):
		return failure{own.error, 255}
	case rest[0] == "run" && given("bundle", "b") && !given("monitor"):
		return failure{own.error, 1}
	}
	return err
}

// flagWords are the names of the flags among words, up to where a program's own
// words may begin: a second word in a row that is no flag, since the first may
// be a flag's value; or the first, if no flag is before it.
func flagWords(words []string) (list []string) {
	value := false
	for _, w := range words {
		isFlag := strings.HasPrefix(w, "-")
		if w == "--" || !isFlag && !value {
			return list
		}
		if isFlag {
			name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
			list = append(list, name)
		}
		value = isFlag
	}
	return list
}
