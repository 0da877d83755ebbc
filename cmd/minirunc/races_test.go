package main

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"minirun/cmd/testbed"
)

// A result is how one of the commands of a race has ended.
type result struct {
	words, out string
	code       int
}

// atOnce carries out commands at the same time, each after up to that delay.
func (f *field) atOnce(delay time.Duration, commands ...string) []result {
	f.T.Helper()
	list := make([]result, len(commands))
	var group sync.WaitGroup
	for i, words := range commands {
		group.Go(func() {
			time.Sleep(rand.N(delay))
			out, err := f.Do(words)
			list[i] = result{words, out, 0}
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				list[i].code = exit.ExitCode()
			} else if err != nil {
				f.T.Errorf("%s: %v", words, err)
			}
		})
	}
	group.Wait()
	return list
}

var hintLine = regexp.MustCompile(`(?m)^hint: .*\n\z`)

// civil: it worked, or it was refused in one line, or the program was killed
// that it had started.
func (r result) civil() bool {
	killed := strings.HasPrefix(r.words, "exec") && r.code == 137 && r.out == ""
	return r.code == 0 && !strings.Contains(r.out, "goroutine") || killed || testbed.OneError.MatchString(hintLine.ReplaceAllString(r.out, ""))
}

// TestRaces: commands from many processes at the same time. Each ends, what one
// refuses is a line, the state is true, and nothing is left.
func TestRaces(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	for _, m := range testbed.Makers {
		t.Run(m.Name, func(t *testing.T) {
			f := newField(t, m)
			for name, race := range map[string]func() bool{"one id": f.raceForOne, "many ids": f.raceOfMany, "init dies": f.raceWithDeath} {
				t.Run(name, func(t *testing.T) {
					f.T = t
					f.again(name, race)
				})
			}
			f.T = t
		})
	}
}

// again runs a race several times. In one of them something must be done.
func (f *field) again(name string, race func() bool) {
	f.T.Helper()
	won := 0
	for range testbed.Rounds(4) {
		if race() {
			won++
		}
		f.after(name, "", false, false, verb{})
	}
	if won == 0 {
		f.T.Errorf("in %d rounds nothing was ever done", testbed.Rounds(4))
	}
}

// resumed has the container resumed again and again until the function that it
// returns is called: who enters one that is being paused waits there.
func (f *field) resumed() func() {
	end, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for {
			select {
			case <-time.After(500 * time.Millisecond):
				f.Do("resume victim")
			case <-end:
				f.Do("resume victim") // an ordinary user's was not paused
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// raceForOne: all that can be done to one id. Something was, if it was made.
func (f *field) raceForOne() bool {
	f.T.Helper()
	defer f.resumed()()
	list := f.atOnce(10*time.Millisecond, "create -b B/true victim", "create -b B/sleep victim", "run -d -b B/sleep victim", "start victim",
		"exec victim true", "state victim", "kill victim KILL", "pause victim", "resume victim", "delete victim", "delete --force victim")
	for _, r := range list {
		if !r.civil() {
			f.T.Errorf("%s: exit code %d, %q; want success or one line", r.words, r.code, r.out)
		}
	}
	return list[0].code == 0 || list[1].code == 0 || list[2].code == 0
}

// raceOfMany: ten lives that have nothing to do with each other.
func (f *field) raceOfMany() bool {
	f.T.Helper()
	ids := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	for _, word := range []string{"create -b B/sleep ", "start ", "exec -d ", "kill ", "delete --force "} {
		var commands []string
		for _, id := range ids {
			commands = append(commands, word+id+map[string]string{"exec -d ": " true", "kill ": " KILL"}[word])
		}
		for _, r := range f.atOnce(time.Millisecond, commands...) {
			if r.code != 0 || r.out != "" && !strings.HasPrefix(word, "exec") {
				f.T.Errorf("%s: exit code %d, %q; want success", r.words, r.code, r.out)
			}
		}
	}
	return true
}

// raceWithDeath: the container process is killed while others enter. Something
// was done if one of them came in, and one too late.
func (f *field) raceWithDeath() bool {
	f.T.Helper()
	f.Must("run -d -b B/sleep victim")
	list := f.atOnce(40*time.Millisecond, "exec victim true", "exec victim true", "exec victim true", "exec victim true", "exec -d victim true", "kill victim KILL")
	entered, late := false, false
	for _, r := range list {
		if !r.civil() {
			f.T.Errorf("%s: exit code %d, %q; want success or one line", r.words, r.code, r.out)
		}
		entered, late = entered || r.code == 0, late || r.code != 0
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if out := f.Must("state victim"); strings.Contains(out, `"stopped"`) {
			break
		} else if time.Now().After(end) {
			f.T.Fatalf("the container process was killed, and state says %s", out)
		}
	}
	f.Must("delete victim")
	return entered && late
}
