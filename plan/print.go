package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// String prints the step in the notation of strace(1), with descriptors by
// name: <rootfs> is what the step "… = <rootfs>" opened.
func (s *Step) String() string {
	var b strings.Builder
	b.WriteString(s.Call)
	if s.do == nil {
		b.WriteByte('(')
		for i, a := range s.Args {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(a.String())
		}
		b.WriteByte(')')
	}
	if s.Result != "" {
		b.WriteString(" = <" + s.Result + ">")
	}
	return b.String()
}

// remarks says what strace notation has no words for.
func (s *Step) remarks() string {
	var r []string
	if len(s.Tolerated) > 0 {
		names := make([]string, len(s.Tolerated))
		for i, e := range s.Tolerated {
			names[i] = unix.ErrnoName(e)
		}
		word := "or "
		if s.or != nil {
			word = "else the next, on "
		}
		r = append(r, word+strings.Join(names, ", "))
	}
	if s.needs != nil {
		r = append(r, fmt.Sprintf("if step %d succeeded", s.needs.Index))
	}
	if s.undoes != "" {
		r = append(r, "undo: "+s.undoes)
	}
	if len(r) == 0 {
		return ""
	}
	return "  /* " + strings.Join(r, "; ") + " */"
}

// Text prints the plan one step a line, in strace notation, with the notes as
// comments above their steps.
func (p *Plan) Text(w io.Writer) error {
	for _, s := range p.Steps {
		if s.Note != "" {
			if _, err := fmt.Fprintf(w, "# %s\n", s.Note); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%3d %-7s %s%s\n", s.Index, s.Side, s, s.remarks()); err != nil {
			return err
		}
	}
	return nil
}

// jsonStep is a step as scripts read it.
type jsonStep struct {
	Step        int      `json:"step"`
	By          string   `json:"by"`
	Call        string   `json:"call"`
	Args        []string `json:"args,omitempty"`
	Result      string   `json:"result,omitempty"`
	Tolerates   []string `json:"tolerates,omitempty"`
	Alternative int      `json:"elseStep,omitempty"`
	Needs       int      `json:"needsStep,omitempty"`
	Undo        string   `json:"undo,omitempty"`
	Note        string   `json:"note,omitempty"`
	Shell       string   `json:"shell,omitempty"`
}

// JSON prints the plan as an array of objects, one a step; arguments are
// strings in strace notation.
func (p *Plan) JSON(w io.Writer) error {
	steps := make([]jsonStep, len(p.Steps))
	for i, s := range p.Steps {
		steps[i] = s.json()
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(steps)
}

func (s *Step) json() jsonStep {
	j := jsonStep{Step: s.Index, By: s.Side.String(), Call: s.Call, Result: s.Result, Undo: s.undoes, Note: s.Note, Shell: s.shell()}
	for _, a := range s.Args {
		j.Args = append(j.Args, a.String())
	}
	for _, e := range s.Tolerated {
		j.Tolerates = append(j.Tolerates, unix.ErrnoName(e))
	}
	if s.or != nil {
		j.Alternative = s.or.Index
	}
	if s.needs != nil {
		j.Needs = s.needs.Index
	}
	return j
}

func (s *Step) shell() string {
	if s.command == nil {
		return ""
	}
	return s.command()
}

// Sh prints a shell script of the equivalent commands. Steps that have no
// command are comments.
func (p *Plan) Sh(w io.Writer) error {
	var b strings.Builder
	b.WriteString("#!/bin/sh -e\n")
	var closing []string
	for i, s := range p.Steps {
		if s.Note != "" {
			b.WriteString("# " + s.Note + "\n")
		}
		switch {
		case s.program:
			end := "END_OF_" + strings.ToUpper(p.born(i).String())
			b.WriteString(s.shell() + " sh -e <<'" + end + "'   # " + s.String() + "\n")
			closing = append(closing, end)
		case s.command != nil:
			b.WriteString(s.command() + "\n")
		default:
			b.WriteString("#   (no command) " + s.String() + "\n")
		}
	}
	slices.Reverse(closing)
	for _, end := range closing {
		b.WriteString(end + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// born is the side that a clone3 starts: that of the next step of another one.
func (p *Plan) born(i int) Side {
	for _, s := range p.Steps[i:] {
		if s.Side > p.Steps[i].Side {
			return s.Side
		}
	}
	return Child
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
		words = append(words, "-t", fstype)
	}
	for _, o := range mountSwitches {
		if flags&(o.value|unix.MS_REC) == o.value {
			words = append(words, o.name)
		}
	}
	if options != "" {
		words = append(words, "-o", options)
	}
	if source != "" {
		words = append(words, quoteShell(source))
	}
	return strings.Join(append(words, quoteShell(target)), " ")
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

// quoteShell quotes a word for sh(1) where it needs it.
func quoteShell(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(shellSafe, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+"

func quoteAll(list []string) []string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quoteShell(s)
	}
	return quoted
}

func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
