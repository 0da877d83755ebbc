package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// String prints the step in the notation of strace(1), with descriptors by
// name: <rootfs> is what the step "… = <rootfs>" opened.
func (s *Step) String() string {
	var b strings.Builder
	b.WriteString(Printable(s.Call))
	if s.do == nil && s.open == nil {
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

// Printable is text that may have names from a configuration in it, on one line
// and without what a terminal would obey.
func Printable(text string) string {
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
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
	if s.holds != nil {
		r = append(r, "nothing else, or ENODEV")
	}
	if s.undoes != "" {
		r = append(r, "undo: "+Printable(s.undoes))
	}
	if len(r) == 0 {
		return ""
	}
	return "  /* " + strings.Join(r, "; ") + " */"
}

// Text prints the plan one step a line, in strace notation, with the notes as
// comments above their steps.
func (p *Plan) Text(w io.Writer) error {
	width := len(Runtime.String())
	for _, s := range p.Steps {
		width = max(width, len(s.Side.String()))
	}
	for _, s := range p.Steps {
		if s.Note != "" {
			if _, err := fmt.Fprintf(w, "# %s\n", Printable(s.Note)); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%3d %-*s %s%s\n", s.Index, width, s.Side, s, s.remarks()); err != nil {
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

func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
