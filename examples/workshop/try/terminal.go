package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"minirun/examples/transcripts/pattern"
	"minirun/examples/workshop/course"
)

// transcript types the commands of a text, each into the terminal of its block, compares
// what comes out, and looks at the end whether the lab is done.
func (p *player) transcript(language string) error {
	name := map[string]string{"en": "lab.md", "ko": "lab.ko.md"}[language]
	text, err := fs.ReadFile(p.lab.Files, name)
	if err != nil {
		return err
	}
	lines, err := course.Transcript(string(text))
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		return errors.New("no transcripts")
	}
	terminals := map[string]*terminal{}
	defer func() {
		for _, t := range terminals {
			t.close()
		}
	}()
	words := p.values()
	for _, c := range lines {
		if terminals[c.Terminal] == nil {
			if terminals[c.Terminal], err = openTerminal(p.environment(language), p.home); err != nil {
				return err
			}
		}
		if err := p.typed(terminals[c.Terminal], c, words); err != nil {
			return fmt.Errorf("%s:%d: %w", name, c.Line, err)
		}
	}
	return p.check(language, "✔", course.Right)
}

// once are commands that do something else when they are run again.
var once = regexp.MustCompile(`\b(run|rm|stop|load|import|kill|umount|mount|unshare)\b`)

// typed types a command, and waits for what it is to print. One whose output is not yet
// the expected one is typed again, for some seconds, unless it may be run only once.
func (p *player) typed(t *terminal, c course.Command, words map[string]string) error {
	text := pattern.Fill(c.Text, words)
	if strings.ContainsAny(text, "«‹") {
		return fmt.Errorf("%s: a value that nobody has seen yet", text)
	}
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := t.enter(text, c.Stays, func(out string) bool { return pattern.Match(c.Want, out, words) })
		if err == nil {
			return nil
		}
		if once.MatchString(text) || c.Stays || time.Now().After(end) {
			return fmt.Errorf("%s %s: %w; it prints:\n%s\nwhere the text has:\n%s", c.Prompt, text, err, out, strings.Join(c.Want, "\n"))
		}
	}
}

// A terminal is a shell on a pseudoterminal: see pty(7).
type terminal struct {
	master console.Console
	shell  *exec.Cmd

	sync.Mutex
	shown bytes.Buffer
}

func openTerminal(env []string, dir string) (*terminal, error) {
	master, path, err := console.NewPty()
	if err != nil {
		return nil, err
	}
	// Wide: a shell that edits its line would begin a new one at the edge.
	if err := master.Resize(console.WinSize{Height: 50, Width: 1000}); err != nil {
		return nil, err
	}
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	t := &terminal{master: master, shell: exec.Command("sh")}
	t.shell.Env, t.shell.Dir = env, dir
	t.shell.Stdin, t.shell.Stdout, t.shell.Stderr = slave, slave, slave
	t.shell.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := t.shell.Start(); err != nil {
		return nil, err
	}
	go t.read()
	_, err = t.wait(func(out string) bool { return prompt.MatchString(out) })
	return t, err
}

func (t *terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := t.master.Read(buffer)
		t.Lock()
		t.shown.Write(buffer[:n])
		t.Unlock()
		if err != nil { // EIO: the last process closed the terminal
			return
		}
	}
}

// close hangs up, as a window that is closed.
func (t *terminal) close() {
	t.master.Close()
	t.shell.Process.Kill() // if SIGHUP has not ended it
	t.shell.Wait()
}

var (
	prompt  = regexp.MustCompile(`(?:^|\n)(?:\$|/ #) $`)
	escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]|\r")
)

// text is what was shown since the last command, without escape sequences.
func (t *terminal) text() string {
	t.Lock()
	defer t.Unlock()
	return escapes.ReplaceAllString(t.shown.String(), "")
}

// wait waits until what is shown is as is wanted.
func (t *terminal) wait(good func(out string) bool) (out string, err error) {
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if out = t.text(); good(out) {
			return out, nil
		}
		if time.Now().After(end) {
			return out, errors.New("not what the text shows")
		}
	}
}

// enter types a line, waits for the next prompt (unless the command stays in the
// foreground), and compares what is between the two.
func (t *terminal) enter(text string, stays bool, good func(out string) bool) (out string, err error) {
	t.Lock()
	t.shown.Reset()
	t.Unlock()
	typed := text + "\n"
	if len(text) == 2 && text[0] == '^' { // a key, such as ^C
		typed = string(text[1] & 0x1f)
	}
	if _, err := t.master.Write([]byte(typed)); err != nil {
		return "", err
	}
	body := func(out string) string {
		_, out, _ = strings.Cut(out, "\n") // the echo
		return prompt.ReplaceAllString("\n"+out, "\n")[1:]
	}
	if stays {
		return t.wait(func(out string) bool { return strings.Contains(out, "\n") && good(body(out)) })
	}
	if out, err = t.wait(func(out string) bool { return strings.Contains(out, "\n") && prompt.MatchString(out) }); err != nil {
		return out, errors.New("it does not end")
	}
	if out = body(out); !good(out) {
		err = errors.New("not what the text shows")
	}
	return out, err
}
