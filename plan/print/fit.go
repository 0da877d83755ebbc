package print

import (
	"fmt"
	"strings"

	"minirun/plan"
)

// This file makes a plan fit a terminal: it breaks lines, shortens ids, and finds
// what repeats.

// keepNames keeps the names of descriptors, such as <new /proc>, on one line.
func keepNames(line string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(line, "<")
		name, after, closed := strings.Cut(rest, ">")
		if !ok || !closed {
			return b.String() + line
		}
		b.WriteString(before + "<" + noBreak(name) + ">")
		line = after
	}
}

// noBreakSpace stands for a space at which wrap must not break a line; it becomes a plain
// space when the line is written.
const noBreakSpace = "\u00a0"

func noBreak(s string) string { return strings.ReplaceAll(s, " ", noBreakSpace) }

// shortenIDs shortens what programs call containers and layers: 64 hexadecimal
// digits.
func shortenIDs(line string) string {
	digits := 0
	for i := 0; i <= len(line); i++ {
		if i < len(line) && strings.IndexByte("0123456789abcdef", line[i]) >= 0 {
			digits++
			continue
		}
		if digits == 64 {
			line = line[:i-52] + line[i:]
			i -= 52
		}
		digits = 0
	}
	return line
}

// wrap breaks a line at spaces, and names of flags after "|". A word that is
// still longer than a line is cut.
func wrap(line, indent string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.SplitAfterSeq(line, " ") {
		for _, part := range parts(word, width-len(indent)) {
			if n := len([]rune(strings.TrimRight(part, " "))); column+n > width && column > len(indent) {
				b.WriteString("\n" + indent)
				column = len(indent)
			}
			if room := width - column; len([]rune(part)) > room+1 {
				part = string([]rune(part)[:max(room-1, 0)]) + "…"
			}
			b.WriteString(part)
			column += len([]rune(part))
		}
	}
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// parts takes a word apart if it does not fit in width columns.
func parts(word string, width int) []string {
	if len([]rune(word)) <= width {
		return []string{word}
	}
	return strings.SplitAfter(word, "|")
}

// repeated finds a group of steps at the beginning of a list that comes again right after it:
// the number of steps in the group, and how often it comes. Only three times or more count,
// because folding two would save no line. Of several such groups it takes the one that
// covers most steps.
func repeated(steps []*plan.Step) (length, times int) {
	const longest = 16
	for n := 1; n <= min(longest, len(steps)/3); n++ {
		same := 1
		for (same+1)*n <= len(steps) && alike(steps[:n], steps[same*n:][:n]) {
			same++
		}
		if same > 2 && same*n > length*times {
			length, times = n, same
		}
	}
	return length, times
}

// alike says that two lists of steps make the same calls, of other objects.
func alike(a, b []*plan.Step) bool {
	for i := range a {
		if shape(a[i]) != shape(b[i]) || b[i].Heading != "" || b[i].Note != "" && b[i].Note != a[i].Note {
			return false
		}
	}
	return true
}

// shape is equal for two steps that do the same with different objects, such as two files: it
// has the call, the side, and the first number, such as the operation of prctl(2).
func shape(s *plan.Step) string {
	first := ""
	for _, a := range s.Args {
		if n, ok := a.(plan.Num); ok && n != plan.CWD {
			first = fmt.Sprint(int(n))
			break
		}
	}
	if s.Call == "fsconfig" {
		first = strings.Join(arguments(s), ",") // each option says something of its own
	}
	return fmt.Sprint(s.Side, s.Call, len(s.Args), first, s.Tolerated)
}
