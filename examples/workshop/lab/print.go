package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/examples/workshop/course"
)

// A screen is standard output: with colours and wrapped lines on a terminal, plain
// elsewhere. NO_COLOR (https://no-color.org) takes the colours away.
type screen struct {
	io.Writer
	colours bool
	width   int // columns; 0: no terminal, lines stay as they are
}

func newScreen(f *os.File) *screen {
	s := &screen{Writer: f}
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
		s.width = min(max(int(size.Col), 40), 100)
		s.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

// paint puts text in a colour or style of ECMA-48, see console_codes(4).
func (s *screen) paint(style, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (s *screen) green(text string) string { return s.paint("32", text) }
func (s *screen) red(text string) string   { return s.paint("31", text) }

// verdict prints what a check has found out.
func (s *screen) verdict(language string, l *course.Lab, v course.Verdict) {
	title := fmt.Sprintf("%d. %s", l.Number, l.Title.In(language))
	say := v.Say.In(language)
	switch v.Kind {
	case course.Right:
		fmt.Fprintln(s, s.green("✔ "+title))
		if say != "" {
			fmt.Fprintln(s, "  "+say)
		}
	case course.NotYet:
		fmt.Fprintln(s, s.paint("33", course.T("… not yet: ", "… 아직: ").In(language))+say)
	case course.Wrong:
		fmt.Fprintln(s, s.red(course.T("✘ wrong, because: ", "✘ 틀렸습니다: ").In(language))+say)
	case course.Cannot:
		fmt.Fprintln(s, s.red(course.T("✘ this machine cannot: ", "✘ 이 컴퓨터에서는 안 됩니다: ").In(language))+say)
	}
	for _, f := range v.Facts {
		line := "  " + f.What.In(language) + ": " + f.Observed.In(language)
		if want := f.Expected.In(language); want != "" {
			line += course.T("; expected: ", "; 기대한 값: ").In(language) + want
		}
		fmt.Fprintln(s, line)
	}
	if len(v.Read) > 0 {
		fmt.Fprintln(s, "  "+course.T("read: ", "읽은 것: ").In(language)+strings.Join(v.Read, ", "))
	}
	if v.See != "" {
		fmt.Fprintln(s, "  "+course.T("see for yourself: ", "직접 보기: ").In(language)+s.paint("36", v.See))
	}
}

var styles = []struct {
	found *regexp.Regexp
	style string
}{
	{regexp.MustCompile("`([^`]+)`"), "36"},
	{regexp.MustCompile(`\*\*([^*]+)\*\*`), "1"},
	{regexp.MustCompile(`\*([^*]+)\*`), "3"},
}

// markdown prints a lab's text: the little of Markdown that the labs use. Where there is
// no terminal it is printed as it is.
func (s *screen) markdown(text string) {
	if s.width == 0 {
		fmt.Fprint(s, text)
		return
	}
	code := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
			if terminal, ok := strings.CutPrefix(line, "```console "); ok && code {
				fmt.Fprintln(s, s.paint("2", "    ── terminal "+terminal+" ──"))
			}
		case code:
			fmt.Fprintln(s, "    "+s.paint("36", line))
		case strings.HasPrefix(line, "# "):
			fmt.Fprintln(s, s.paint("1;4", line[2:]))
		default:
			for _, l := range wrap(line, s.width) {
				fmt.Fprintln(s, s.inline(l))
			}
		}
	}
}

// inline styles words. A style that a line break has cut is left as it is.
func (s *screen) inline(line string) string {
	for _, m := range styles {
		line = m.found.ReplaceAllStringFunc(line, func(found string) string {
			return s.paint(m.style, m.found.FindStringSubmatch(found)[1])
		})
	}
	return line
}

// wrap breaks a line at blanks.
func wrap(line string, width int) (lines []string) {
	current, used := "", 0
	for _, word := range strings.Split(line, " ") {
		n := columns(word)
		if used > 0 && used+1+n > width {
			lines, current, used = append(lines, current), "", 0
		}
		if used > 0 {
			current, used = current+" ", used+1
		}
		current, used = current+word, used+n
	}
	return append(lines, current)
}

// columns is how wide a terminal draws a text: Hangul and what else is wide takes two.
func columns(text string) (n int) {
	for _, r := range text {
		n++
		if r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xff00 && r <= 0xff60 {
			n++
		}
	}
	return n
}

// sorted are the keys of a set.
func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
