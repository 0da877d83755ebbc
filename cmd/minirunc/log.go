package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cmd/report"
)

// An engine calls minirunc with a log file for errors:
//
//	engine                                           minirunc
//	--log FILE --log-format json create ... ID  -->  does it, or
//	                                            <--  one line in FILE, the bare message on stderr
//	takes the last line of level error (containerd),
//	or the whole file as one object (Podman)
//
// So nothing but the error may be in that file, unless --debug or --log-level
// ask for more.

// A log is the file that --log names. Without a path, errors go to stderr only.
type log struct {
	path   string
	json   bool
	most   level // the last level that is written
	people bool  // an error on stderr begins with minirun's name, by which people know us
}

// Levels of a log, by how much is said.
type level int

const (
	failed level = iota
	warning
	debug
)

// String is the level's word in a log.
func (l level) String() string { return []string{"error", "warning", "debug"}[l] }

// add appends a line to the log, if there is one and its level is asked for. It is an
// error if the log cannot be opened, whatever the level: main's first line tells of that
// before anything is done, for later nobody would learn of a failure.
func (l log) add(level level, text string) (err error) {
	if l.path == "" {
		return nil
	}
	// A FIFO without a reader is an error (ENXIO), because to wait for one would be for ever.
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if level <= l.most {
		f.SetWriteDeadline(time.Now().Add(time.Second)) // for a FIFO that is full; a regular file has none
		_, err = f.Write(l.line(level, text, time.Now()))
	}
	return errors.Join(err, f.Close())
}

// line is one line of a log, as logrus writes it: engines parse it.
func (l log) line(level level, text string, now time.Time) []byte {
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

// report tells of an error and returns the exit code. With a log the message
// goes into the log, and bare to stderr.
func (l log) report(err error) int {
	if report.Silent(err) {
		return report.Code(err)
	}
	text := report.OneLine(err)
	if l.path == "" {
		fmt.Fprintf(os.Stderr, "%s: %s\n", l.speaker(), text)
		return report.Code(err)
	}
	if logErr := l.add(failed, text); logErr != nil && logErr.Error() != err.Error() {
		fmt.Fprintln(os.Stderr, report.OneLine(logErr))
	}
	fmt.Fprintln(os.Stderr, text)
	return report.Code(err)
}

// warn tells of something that was left out, or that went wrong without
// consequences: in the log, or on stderr if there is none.
func (l log) warn(text string) {
	if l.path == "" {
		fmt.Fprintf(os.Stderr, "%s: warning: %s\n", l.speaker(), report.OneLine(errors.New(text)))
	} else if err := l.add(warning, text); err != nil {
		fmt.Fprintln(os.Stderr, report.OneLine(err))
	}
}

func (l log) speaker() string {
	if l.people {
		return "minirun"
	}
	return "minirunc"
}
