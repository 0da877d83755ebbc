// Package print writes plans for people, shells and scripts.
//
// A plan is data: the name of each system call and its arguments as the kernel
// gets them. This package knows what they are called. It writes a plan
//
//	Text   in the notation of strace(1), with notes, headings and explanations
//	Sh     as the shell commands that do the same
//	JSON   as an array of objects, with everything
//
// and, for error messages and traces, a single [Step]. It does not change a plan
// and calls nothing of it. What is written about a call follows from the call and
// its arguments alone: the tables are in names.go and notation.go, the commands
// in shell.go, the explanations in explain.go. A call that only one room makes
// brings its own words along ([plan.Name], [plan.Memory].Show).
package print

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Options say how Text writes a plan. The zero value writes every step in full,
// on one line each, without explanations.
type Options struct {
	Width   int  // wrap lines at this many columns, as for a terminal; 0: not at all
	Fold    bool // write what repeats once and say how often; shorten ids to 12 digits
	Explain bool // what a flag, a mount or a descriptor is for, where it first appears
	Source  bool // the function that recorded the step, if the plan knows: see [plan.Plan].Sources
}

// Terminal are the options for a person: on a terminal, lines that fit, and what
// repeats folded. Anywhere else, and with all, every step is written in full.
func Terminal(f *os.File, all bool) Options {
	o := Options{Explain: true}
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && !all { // ENOTTY: no terminal
		o.Width, o.Fold = int(size.Col), true
	}
	return o
}

// Write writes the plan in one of the formats text, sh and json.
func Write(w io.Writer, p *plan.Plan, format string, o Options) error {
	switch format {
	case "text":
		return Text(w, p, o)
	case "sh":
		return Sh(w, p)
	case "json":
		return JSON(w, p)
	}
	return fmt.Errorf("output %q: want text, sh or json", format)
}

// Text writes the plan one step a line, with the notes as comments above their
// steps.
func Text(w io.Writer, p *plan.Plan, o Options) error {
	t := &text{o: o, side: len(plan.Runtime.String())}
	for _, s := range p.Steps {
		t.side = max(t.side, len(s.Side.String()))
	}
	for i := 0; i < len(p.Steps); {
		t.step(p.Steps[i])
		i++
		if !o.Fold {
			continue
		}
		if length, times := repeated(p.Steps[i-1:]); times > 1 {
			for _, s := range p.Steps[i : i-1+length] {
				t.step(s)
			}
			first, last := i-1+length, i-1+length*times
			t.line("%*s %d more like this (steps %d to %d)", t.side+4, "...", times-1, first+1, last)
			i = last
		}
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// A text is a plan being written.
type text struct {
	b         strings.Builder
	o         Options
	side      int // columns for the names of sides
	explained [len(explanations)]bool
}

// step writes one step and what stands above it.
func (t *text) step(s *plan.Step) {
	if s.Heading != "" {
		if s.Index > 1 {
			t.b.WriteByte('\n')
		}
		t.line("== %s ==", plan.Printable(s.Heading))
	}
	notation := Step(s)
	if t.o.Explain {
		for i, e := range explanations {
			if !t.explained[i] && strings.Contains(notation, e.text) {
				t.explained[i] = true
				t.line("#   %s: %s", e.name, e.sentence)
			}
		}
	}
	if s.Note != "" {
		t.line("# %s", plan.Printable(s.Note))
	}
	line := notation + remarks(s)
	if source := Source(s); t.o.Source && source != "" {
		line += " " + noBreak(" @ "+source)
	}
	t.line("%3d %-*s %s", s.Index, t.side, s.Side, line)
}

// line writes one line, or as many as it takes.
func (t *text) line(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if t.o.Fold {
		line = shortenIDs(line)
	}
	indent := "#   "
	if line[0] != '#' {
		indent = strings.Repeat(" ", t.side+7)
	}
	if t.o.Width > 0 {
		line = wrap(keepNames(line), indent, max(t.o.Width, 40))
	}
	t.b.WriteString(strings.ReplaceAll(line, noBreakSpace, " ") + "\n")
}

// remarks says what strace notation has no words for.
func remarks(s *plan.Step) string {
	var r []string
	if len(s.Tolerated) > 0 {
		word := "or "
		if s.Else != nil {
			word = "else the next, on "
		}
		r = append(r, word+strings.Join(errnoNames(s), ", "))
	}
	if s.If != nil {
		r = append(r, fmt.Sprintf("if step %d succeeded", s.If.Index))
	}
	if s.Verified != nil {
		r = append(r, "nothing else, or ENODEV")
	}
	if s.Undoing != "" {
		r = append(r, "undo: "+plan.Printable(s.Undoing))
	}
	if len(r) == 0 {
		return ""
	}
	return "  /* " + strings.Join(r, "; ") + " */"
}

func errnoNames(s *plan.Step) (names []string) {
	for _, e := range s.Tolerated {
		names = append(names, unix.ErrnoName(e))
	}
	return names
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
	Heading     string   `json:"heading,omitempty"`
	Note        string   `json:"note,omitempty"`
	Shell       string   `json:"shell,omitempty"`
	Source      string   `json:"source,omitempty"`
}

// JSON writes the plan as an array of objects, one a step; arguments are
// strings in strace notation.
func JSON(w io.Writer, p *plan.Plan) error {
	sh := newShell(p)
	steps := make([]jsonStep, len(p.Steps))
	for i, s := range p.Steps {
		j := jsonStep{Step: s.Index, By: s.Side.String(), Call: s.Call, Args: arguments(s), Result: s.Result, Tolerates: errnoNames(s),
			Undo: s.Undoing, Heading: s.Heading, Note: s.Note, Shell: sh.command(s), Source: Source(s)}
		if s.Else != nil {
			j.Alternative = s.Else.Index
		}
		if s.If != nil {
			j.Needs = s.If.Index
		}
		steps[i] = j
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(steps)
}
