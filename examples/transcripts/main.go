// Transcripts runs what a Markdown file shows and compares what comes out.
//
//	transcripts FILE...
//
// A transcript is a block that begins with ```console. Lines that begin with
// "$ " are commands for sh(1); the lines below them are what they print. Package
// pattern says what of it may differ. Since programs take a moment to start, a
// command whose output is not yet the expected one is run again, for some seconds;
// so the first that can be run only once, such as run -d, must come out right at
// once.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"minirun/examples/transcripts/pattern"
)

func main() {
	failed := false
	words := map[string]string{}
	for _, path := range os.Args[1:] {
		commands, err := read(path)
		if err == nil && len(commands) == 0 {
			err = fmt.Errorf("%s: no transcripts", path)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "transcripts:", err)
			os.Exit(1)
		}
		for _, c := range commands {
			if out, ok := c.check(words); !ok {
				fmt.Printf("FAIL\t%s:%d: $ %s\nprints:\n%swhere the transcript has:\n%s", path, c.line, c.text, out, strings.Join(c.want, "\n")+"\n")
				failed = true
			}
		}
		fmt.Printf("ok  \ttranscripts: %s, %d commands\n", path, len(commands))
	}
	if failed {
		os.Exit(1)
	}
}

// A command and the lines that it is to print.
type command struct {
	line int
	text string
	want []string
}

// read returns the commands of a file, in its order.
func read(path string) ([]command, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []command
	inside := false
	s := bufio.NewScanner(f)
	for line := 1; s.Scan(); line++ {
		text, isCommand := strings.CutPrefix(s.Text(), "$ ")
		switch {
		case strings.HasPrefix(s.Text(), "```"):
			inside = s.Text() == "```console"
		case !inside:
		case isCommand:
			list = append(list, command{line: line, text: text})
		case len(list) == 0:
			return nil, fmt.Errorf("%s:%d: output before the first command", path, line)
		default:
			last := &list[len(list)-1]
			last.want = append(last.want, s.Text())
		}
	}
	return list, s.Err()
}

// check runs the command until it prints what it should, or some seconds are
// over. One that may not be run twice is run once.
func (c command) check(words map[string]string) (out string, ok bool) {
	once := regexp.MustCompile(`\b(run|rm|stop|load|import)\b`).MatchString(c.text)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		printed, err := exec.Command("sh", "-c", pattern.Fill(c.text, words)).CombinedOutput()
		if err != nil {
			printed = fmt.Appendf(printed, "(%v)\n", err)
		}
		if pattern.Match(c.want, string(printed), words) {
			return string(printed), true
		}
		if once || time.Now().After(end) {
			return string(printed), false
		}
	}
}
