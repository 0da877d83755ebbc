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

// usageOf turns an error into a usage error of a command. For run and exec the exit
// code is 125.
func usageOf(word string, err error) error {
	switch {
	case err == nil:
		return nil
	case word == "run" || word == "exec":
		return report.Failure{Err: usage{fmt.Errorf("%s: %w", word, err)}, Code: 125}
	case word != "":
		err = fmt.Errorf("%s: %w", word, err)
	}
	return usage{err}
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
		return nil, false, notDone{"--" + name}
	}
	for i, letter := range word[1:] {
		f := findFlag(known, string(letter))
		switch rest := word[i+2:]; {
		case f == nil && letter == 'h':
			parts = append(parts, "--help") // the command has no -h of its own
		case f == nil:
			return nil, false, notDone{"-" + string(letter)}
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

// A notDone is something that minirun does not do: a flag, or a command.
type notDone struct{ what string }

func (n notDone) Error() string { return "minirun does not do " + n.what }

// instead is what to do in its place; "" if nothing is known.
func (n notDone) instead() string {
	return instead[n.what]
}

// unknown is the error for a command that does not exist. Docker's long forms, such
// as container ls, are named by both words.
func unknown(word string, rest []string) error {
	if len(rest) > 0 && instead[word+" "+rest[0]] != "" {
		return notDone{word + " " + rest[0]}
	}
	if instead[word] != "" {
		return notDone{word}
	}
	text := fmt.Sprintf("%q is not a command; see minirun --help", word)
	if n := nearest(word); n != "" {
		text = fmt.Sprintf("%q is not a command: did you mean %s?", word, n)
	}
	return report.Failure{Err: usage{errors.New(text)}, Code: 125}
}

// nearest is the command that a word was probably meant to be: the one with the
// fewest letters to change, and not more than two or half of them; "" if there is
// none.
func nearest(word string) string {
	best, fewest := "", min(2, (len(word)+1)/2)+1
	for _, c := range commands() {
		if d := distance(word, c.Name); d < fewest {
			best, fewest = c.Name, d
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

// instead says what to use in place of commands and flags of docker that minirun does
// not have.
var instead = map[string]string{
	// commands
	"attach":       "minirun logs -f shows the output, minirun exec -it runs a shell",
	"build":        "docker build, then docker save IMAGE | minirun load",
	"commit":       "minirun import makes an image from a tar",
	"container":    "leave out the word: minirun ps, minirun rm",
	"container ls": "minirun ps",
	"cp":           "run with -v, or minirun exec CONTAINER cat FILE",
	"diff":         "what a container wrote is in the directory UpperDir of minirun inspect",
	"export":       "minirun exec CONTAINER tar -c / > FILE",
	"history":      "minirun inspect IMAGE",
	"image":        "leave out the word: minirun images, minirun rmi",
	"image ls":     "minirun images",
	"info":         "minirun doctor",
	"login":        "docker save IMAGE | minirun load",
	"network":      "run --network none or host",
	"port":         "run --network host, and look with ss -ltnp",
	"pull":         "docker save IMAGE | minirun load",
	"push":         "docker push",
	"rename":       "run again with --name",
	"save":         "docker save",
	"search":       "docker search",
	"stats":        "minirun events --stats CONTAINER",
	"system":       "minirun ps -a, minirun images",
	"tag":          "minirun load keeps the names of the archive; minirun import gives one",
	"top":          "minirun tree",
	"unpause":      "minirun resume",
	"version":      "minirun --version",
	"volume":       "run -v /directory:/mount",
	"wait":         "minirun logs -f CONTAINER ends with it; minirun inspect -f '{{.State.ExitCode}}' tells how",

	// flags of run
	"--add-host":     "mount a file: -v ./hosts:/etc/hosts:ro",
	"--cidfile":      "minirun run -d prints the id",
	"--device":       "an OCI bundle: minirunc run --bundle, with linux.devices",
	"--dns":          "mount a file: -v ./resolv.conf:/etc/resolv.conf:ro",
	"--env-file":     "-e for each variable",
	"--rm":           "run --bundle removes a container at its end in any case, but with --keep",
	"--init":         "a program that reaps, such as tini, as the image's entrypoint",
	"-l":             "--name",
	"--label":        "--name",
	"--memory-swap":  "an OCI bundle: minirunc run --bundle, with linux.resources.memory.swap",
	"--mount":        "-v SOURCE:DESTINATION[:ro]",
	"-p":             "--network host",
	"-P":             "--network host",
	"--privileged":   "--cap-add ALL, or an OCI bundle: minirun run --bundle",
	"--publish":      "--network host",
	"--publish-all":  "--network host",
	"--security-opt": "an OCI bundle: minirunc run --bundle, with process.noNewPrivileges and linux.seccomp",
	"--stop-signal":  "minirun stop -s SIGNAL",
	"--stop-timeout": "minirun stop -t SECONDS",
	"--tmpfs":        "an OCI bundle: minirunc run --bundle, with a mount",
	"--ulimit":       "an OCI bundle: minirunc run --bundle, with process.rlimits",
}
