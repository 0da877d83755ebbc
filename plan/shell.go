package plan

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// This file prints a plan as what one could type: each step as the command that
// does the same. A shell has no descriptors of directories, so a path stands
// for each: that of what it refers to, from the container's root directory.

// Shell gives the command that does the same at a prompt; strings among args
// are quoted for it, and an FD is the path of what it refers to.
func (s *Step) Shell(format string, args ...any) *Step {
	s.command = func() string {
		quoted := slices.Clone(args)
		for i, a := range quoted {
			switch a := a.(type) {
			case string:
				quoted[i] = Quote(a)
			case FD:
				quoted[i] = Quote(where(a, ""))
			}
		}
		return fmt.Sprintf(format, quoted...)
	}
	return s
}

// ShellLine gives it as a whole line, made only when the plan is printed.
func (s *Step) ShellLine(line func() string) *Step { s.command = line; return s }

// Path gives the path of what the step opened, where a shell has another one
// than the system calls: "." for a directory that it has changed to.
func (s *Step) Path(path string) *Step { s.path = path; return s }

// found remembers where a step finds what it opens.
func (s *Step) found(dir FD, file string) *Step {
	s.dir, s.file = dir, file
	return s
}

// where is the path of a file below what a descriptor refers to, or with ""
// of that itself.
func where(fd FD, file string) string {
	s, ok := fd.(*Step)
	if !ok {
		return file
	}
	dir := ""
	switch {
	case s.path != "":
		dir = s.path
	case s.at != nil:
		dir = where(s.at, "")
	case s.dir != nil:
		dir = where(s.dir, s.file)
	}
	if file == "" || dir == "" {
		return dir
	}
	return dir + "/" + strings.TrimPrefix(file, "/")
}

// chownCommand is chown(1), in which an id that is not to be changed is missing.
func chownCommand(path string, uid, gid uint32) string {
	owner := ""
	if int32(uid) != -1 {
		owner = fmt.Sprint(uid)
	}
	if int32(gid) != -1 {
		owner += fmt.Sprint(":", gid)
	}
	if path == "" {
		return ""
	}
	return "chown -h " + owner + " " + Quote(path)
}

// attach is mount(8) for a mount that was copied by open_tree(2), attached by
// move_mount(2); "" for others, and if a shell has no path for either.
func attach(from *Step, to FD) string {
	source, target := where(from.dir, from.file), where(to, "")
	if from.Call != "open_tree" || source == "" || target == "" {
		return ""
	}
	how := "--bind"
	if from.deep {
		how = "--rbind"
	}
	return "mount " + how + " " + Quote(source) + " " + Quote(target)
}

// Sh prints a shell script of the equivalent commands. Steps that have no
// command are comments.
func (p *Plan) Sh(w io.Writer) error {
	var b strings.Builder
	b.WriteString("#!/bin/sh -e\n")
	var closing []string
	var before *Step
	for _, s := range p.Steps {
		if s.Note != "" {
			b.WriteString("# " + Printable(s.Note) + "\n")
		}
		line := s.shell()
		if before != nil && before.or == s && before.shell() != "" {
			line = "" // a shell tries the alternatives by itself
		}
		switch {
		case s.program:
			if s.dir != nil {
				b.WriteString("echo $$ > " + Quote(where(s.dir, s.file)) + "\n")
			}
			end := "\x00" + p.born(s.Side).String() + "\x00"
			line += " sh -e /dev/fd/3 3<<'" + end + "'   # " + s.String()
			closing = append(closing, end)
		case line == "":
			line = "#   (no command) " + s.String()
		case len(s.Tolerated) > 0 && s.or == nil:
			line += " 2>/dev/null || :"
		}
		b.WriteString(line + "\n")
		before = s
	}
	slices.Reverse(closing)
	for _, end := range closing {
		b.WriteString(end + "\n")
	}
	text := b.String()
	for _, end := range closing {
		text = strings.ReplaceAll(text, end, endMark(text, strings.Trim(end, "\x00")))
	}
	_, err := io.WriteString(w, text)
	return err
}

// endMark is a line that ends the script of a side and is no other line of it,
// whatever lines there are in its words. (Until now a NUL stands for it: of these
// there is none in any word.)
func endMark(text, side string) string {
	mark := "END_OF_" + strings.ToUpper(side)
	for strings.Contains(text, mark) {
		mark += "_"
	}
	return mark
}

func (s *Step) shell() string {
	if s.command == nil {
		return ""
	}
	return s.command()
}

// mountCommand is mount(8) for mount(2).
func mountCommand(source, target, fstype string, flags uintptr, data string) string {
	options := data
	for _, o := range mountOptions {
		if flags&o.value == o.value {
			options = strings.Trim(options+","+o.name, ",")
		}
	}
	words := []string{"mount"}
	if fstype != "" && flags&unix.MS_BIND == 0 {
		words = append(words, "-t", Quote(fstype))
	}
	for _, o := range mountSwitches {
		if flags&(o.value|unix.MS_REC) == o.value {
			words = append(words, o.name)
		}
	}
	if options != "" {
		words = append(words, "-o", Quote(options))
	}
	if source != "" {
		words = append(words, Quote(source))
	}
	return strings.Join(append(words, Quote(target)), " ")
}

// mountOptions are the options of mount(8) that are flags of mount(2).
var mountOptions = []named{
	{unix.MS_RDONLY, "ro"}, {unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"}, {unix.MS_NOEXEC, "noexec"},
	{unix.MS_REMOUNT, "remount"}, {unix.MS_NOATIME, "noatime"}, {unix.MS_NODIRATIME, "nodiratime"},
	{unix.MS_RELATIME, "relatime"}, {unix.MS_STRICTATIME, "strictatime"},
}

// mountSwitches are the options of mount(8) that name another operation.
var mountSwitches = []named{
	{unix.MS_BIND, "--bind"}, {unix.MS_BIND | unix.MS_REC, "--rbind"},
	{unix.MS_PRIVATE, "--make-private"}, {unix.MS_PRIVATE | unix.MS_REC, "--make-rprivate"},
	{unix.MS_SLAVE, "--make-slave"}, {unix.MS_SLAVE | unix.MS_REC, "--make-rslave"},
	{unix.MS_SHARED, "--make-shared"}, {unix.MS_SHARED | unix.MS_REC, "--make-rshared"},
	{unix.MS_UNBINDABLE, "--make-unbindable"}, {unix.MS_UNBINDABLE | unix.MS_REC, "--make-runbindable"},
}

// Quote quotes a word for sh(1) where it needs it.
func Quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(shellSafe, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+"

func quoteAll(list []string) []string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = Quote(s)
	}
	return quoted
}
