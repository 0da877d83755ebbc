package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
)

// People who are used to docker type -it, -n5, -v/src:/dst, and logs web -f. The flag
// package accepts none of these: each flag must be a word of its own, its value
// another, and all flags must come first. So the words are put into that form
// before the flag package reads them. For a flag or command that docker has and
// minirun does not have, the error says what to use instead.

// arrange rewrites the words of a command line, args[0] being the program's name.
func arrange(app *cli.App, args []string) ([]string, error) {
	if args[len(args)-1] == completion {
		return arrangeCompletion(args), nil
	}
	global, rest, err := arrangeWords(append(slices.Clone(app.Flags), cli.VersionFlag), args[1:], false)
	if err != nil || len(rest) == 0 {
		return append(args[:1:1], global...), usageOf("", err)
	}
	word, rest := rest[0], rest[1:]
	if word == "help" {
		return append(args[:1:1], append(rest[:min(1, len(rest))], "--help")...), nil
	}
	word, rest = translate(app, word, rest)
	command := app.Command(word)
	if command == nil {
		return nil, unknown(word, rest)
	}
	flags, rest, err := arrangeWords(command.Flags, rest, !runsProgram[word])
	if err != nil {
		return nil, usageOf(word, err)
	}
	words := append(append(args[:1:1], global...), word)
	words = append(append(words, flags...), "--")
	return append(words, rest...), nil
}

// runsProgram are the commands whose arguments end with those of a program. Behind
// the first word that is no flag, minirun looks for no flags of its own.
var runsProgram = map[string]bool{"run": true, "exec": true, "plan": true, "ps": true}

// usageOf turns an error into the usage error of a command; "" is minirun itself. The
// exit code is 125, as docker's is for a flag or command that it does not have.
func usageOf(word string, err error) error {
	if err == nil {
		return nil
	}
	var missing notDone
	if errors.As(err, &missing) && missing.flag != "" {
		missing.command = word
		err = missing
	}
	if word != "" {
		err = fmt.Errorf("%s: %w", word, err)
	}
	return report.Failure{Err: usage{err}, Code: 125}
}

// arrangeWords separates flags from other words. If mixed is false, the first other
// word ends the flags.
func arrangeWords(known []cli.Flag, words []string, mixed bool) (flags, others []string, err error) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--":
			return flags, append(others, words[i+1:]...), nil
		case len(w) > 1 && w[0] == '-':
			parts, wantsValue, err := arrangeFlag(known, w)
			if err != nil {
				return nil, nil, err
			}
			flags = append(flags, parts...)
			if wantsValue && i+1 == len(words) {
				return nil, nil, fmt.Errorf("%s: wants a value", w)
			} else if wantsValue {
				i++
				flags = append(flags, words[i])
			}
		case !mixed:
			return flags, words[i:], nil
		default:
			others = append(others, w)
		}
	}
	return flags, others, nil
}

// arrangeFlag takes one word apart: -it is -i and -t, -n5 is -n and 5. Each flag is
// written by its first name, because the library refuses two names of one flag in
// the same command line, such as -e and --env.
func arrangeFlag(known []cli.Flag, word string) (parts []string, wantsValue bool, err error) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if f := findFlag(known, name); f != nil && (len(name) > 1 || hasValue || len(word) == 2) {
		if hasValue {
			return []string{first(f) + "=" + value}, false, nil
		}
		return []string{first(f)}, !isBool(f), nil
	}
	if strings.HasPrefix(word, "--") || name == "" {
		return nil, false, notDone{flag: "--" + name}
	}
	for i, letter := range word[1:] {
		f := findFlag(known, string(letter))
		switch rest := word[i+2:]; {
		case f == nil && letter == 'h':
			parts = append(parts, "--help") // the command has no -h of its own
		case f == nil:
			return nil, false, notDone{flag: "-" + string(letter)}
		case isBool(f):
			parts = append(parts, first(f))
		case rest == "":
			return append(parts, first(f)), true, nil
		default:
			return append(parts, first(f), strings.TrimPrefix(rest, "=")), false, nil
		}
	}
	return parts, false, nil
}

// findFlag is the flag with a name. Every command also has the flags that the
// library adds.
func findFlag(known []cli.Flag, name string) cli.Flag {
	known = append(slices.Clone(known), cli.HelpFlag, cli.BashCompletionFlag)
	if i := slices.IndexFunc(known, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }); i >= 0 {
		return known[i]
	}
	return nil
}

// first is the first name of a flag, as a word.
func first(f cli.Flag) string { return "--" + f.Names()[0] }

func isBool(f cli.Flag) bool {
	_, ok := f.(*cli.BoolFlag)
	return ok
}

// A notDone is something that minirun does not do: a command, or a flag of one.
type notDone struct {
	command string // "": a flag before the command
	flag    string // "": the command itself
	rest    []string
}

func (n notDone) Error() string {
	if n.flag != "" {
		return "minirun does not do " + n.flag
	}
	return "minirun does not do " + n.command
}

// sameAs are docker's names for commands that minirun has by other names.
var sameAs = map[string]string{
	"unpause":      "resume",
	"container ls": "ps", "container list": "ps", "container ps": "ps", "container remove": "rm", "container unpause": "resume",
	"image ls": "images", "image list": "images", "image rm": "rmi", "image remove": "rmi", "image prune": "prune",
}

// translate turns docker's name of a command into minirun's. In docker's long forms the
// word container or image comes before a command.
func translate(app *cli.App, word string, rest []string) (string, []string) {
	if name := sameAs[word]; name != "" {
		return name, rest
	}
	if len(rest) == 0 || word != "container" && word != "image" {
		return word, rest
	}
	long := word + " " + rest[0]
	switch {
	case sameAs[long] != "":
		return sameAs[long], rest[1:]
	case adviceOn(insteadOfCommands, long) != "":
		return long, rest[1:]
	case app.Command(rest[0]) != nil || adviceOn(insteadOfCommands, rest[0]) != "":
		return rest[0], rest[1:]
	}
	return word, rest
}

// unknown is the error for a command that does not exist. Some of docker's are two
// words, such as system prune.
func unknown(word string, rest []string) error {
	if len(rest) > 0 && adviceOn(insteadOfCommands, word+" "+rest[0]) != "" {
		word, rest = word+" "+rest[0], rest[1:]
	}
	if adviceOn(insteadOfCommands, word) != "" {
		return usageOf("", notDone{command: word, rest: rest})
	}
	text := fmt.Sprintf("%q is not a command", word)
	var names []string
	for _, c := range commands() {
		names = append(names, c.Name)
	}
	if n := nearest(word, names); n != "" {
		text += ": did you mean " + n + "?"
	}
	return usageOf("", errors.New(text))
}

// nearest is the name that a word was probably meant to be: the one with the fewest
// letters to change, and not more than two or half of them; "" if there is none.
func nearest(word string, names []string) string {
	best, fewest := "", min(2, (len(word)+1)/2)+1
	for _, name := range names {
		if d := distance(word, name); d < fewest {
			best, fewest = name, d
		}
	}
	return best
}

// distance is how many letters must be added, removed or replaced to make b of a
// (Levenshtein's distance). row has those of the beginnings of b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // in the row above, one to the left
		row[0] = i + 1
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}
