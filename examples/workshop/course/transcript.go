package course

import (
	"fmt"
	"strings"
)

// A Command is one line that a lab's text shows typed, with what it prints.
type Command struct {
	Line     int    // in the text
	Terminal string // "1", "2"; "": the text needs only one
	Prompt   string // "$": the host's shell; "/ #": that of a container
	Text     string // as it stands there, with «values»; "^C": a key
	Want     []string
	Stays    bool // it keeps the terminal: it goes on running
}

// prompts are those that a line of a transcript may begin with.
var prompts = []string{"$", "/ #"}

// Transcript returns the commands of a text. They are in blocks:
//
//	```console 2        terminal 2; without a number there is only one
//	$ command           typed into the host's shell
//	/ # command         typed into the shell of a container
//	^C                  a key
//	▏                   a cursor: the command above goes on running
//	anything else       what the command prints (package pattern: what may differ)
//	```
func Transcript(text string) (list []Command, err error) {
	number, terminal, inside := 0, "", false
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside && strings.HasPrefix(line, "```console")
			terminal = strings.TrimSpace(strings.TrimPrefix(line, "```console"))
		case !inside:
		case commandOf(line) != nil:
			c := commandOf(line)
			c.Line, c.Terminal = number, terminal
			list = append(list, *c)
		case len(list) == 0 || list[len(list)-1].Terminal != terminal:
			return nil, fmt.Errorf("line %d: output before the first command", number)
		case line == "▏":
			list[len(list)-1].Stays = true
		default:
			last := &list[len(list)-1]
			last.Want = append(last.Want, line)
		}
	}
	return list, nil
}

// commandOf is the command on a line; nil if the line is output.
func commandOf(line string) *Command {
	if len(line) == 2 && line[0] == '^' {
		return &Command{Text: line}
	}
	for _, p := range prompts {
		if rest, ok := strings.CutPrefix(line, p+" "); ok {
			return &Command{Prompt: p, Text: rest}
		}
	}
	return nil
}
