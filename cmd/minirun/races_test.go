package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rounds is how often a race is run: usual, or MINIRUN_ROUNDS (make races: 1000).
func rounds(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("MINIRUN_ROUNDS")); err == nil {
		return n
	}
	return usual
}

// A result is how one of the commands of a race has ended.
type result struct {
	words, out string
	code       int
}

// atOnce carries out commands at the same time, each after up to that delay.
func (f *field) atOnce(delay time.Duration, commands ...string) []result {
	f.t.Helper()
	list := make([]result, len(commands))
	var group sync.WaitGroup
	for i, words := range commands {
		group.Go(func() {
			time.Sleep(rand.N(delay))
			out, err := f.do(words)
			list[i] = result{words, out, 0}
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				list[i].code = exit.ExitCode()
			} else if err != nil {
				f.t.Errorf("%s: %v", words, err)
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
	return r.code == 0 && !strings.Contains(r.out, "goroutine") || killed || oneError.MatchString(hintLine.ReplaceAllString(r.out, ""))
}

// TestRaces: commands from many processes at the same time. Each ends, what one
// refuses is a line, the state is true, and nothing is left.
func TestRaces(t *testing.T) {
	needRoot(t)
	programsTar = imageTar(t)
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			f := newField(t, m)
			for name, race := range map[string]func() bool{"one id": f.raceForOne, "many ids": f.raceOfMany, "init dies": f.raceWithDeath} {
				t.Run(name, func(t *testing.T) {
					f.t = t
					f.again(name, race)
				})
			}
			f.t = t
		})
	}
}

// again runs a race several times. In one of them something must be done.
func (f *field) again(name string, race func() bool) {
	f.t.Helper()
	won := 0
	for range rounds(4) {
		if race() {
			won++
		}
		f.after(name, "", false, false, verb{})
	}
	if won == 0 {
		f.t.Errorf("in %d rounds nothing was ever done", rounds(4))
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
				f.do("resume victim")
			case <-end:
				f.do("resume victim") // an ordinary user's was not paused
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// raceForOne: all that can be done to one id. Something was, if it was made.
func (f *field) raceForOne() bool {
	f.t.Helper()
	defer f.resumed()()
	list := f.atOnce(10*time.Millisecond, "create -b B/true victim", "create -b B/sleep victim", "run -d -b B/sleep victim", "start victim",
		"exec victim true", "state victim", "kill victim KILL", "pause victim", "resume victim", "delete victim", "delete --force victim")
	for _, r := range list {
		if !r.civil() {
			f.t.Errorf("%s: exit code %d, %q; want success or one line", r.words, r.code, r.out)
		}
	}
	return list[0].code == 0 || list[1].code == 0 || list[2].code == 0
}

// raceOfMany: ten lives that have nothing to do with each other.
func (f *field) raceOfMany() bool {
	f.t.Helper()
	ids := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	for _, word := range []string{"create -b B/sleep ", "start ", "exec -d ", "kill ", "delete --force "} {
		var commands []string
		for _, id := range ids {
			commands = append(commands, word+id+map[string]string{"exec -d ": " true", "kill ": " KILL"}[word])
		}
		for _, r := range f.atOnce(time.Millisecond, commands...) {
			if r.code != 0 || r.out != "" && !strings.HasPrefix(word, "exec") {
				f.t.Errorf("%s: exit code %d, %q; want success", r.words, r.code, r.out)
			}
		}
	}
	return true
}

// raceWithDeath: the container process is killed while others enter. Something
// was done if one of them came in, and one too late.
func (f *field) raceWithDeath() bool {
	f.t.Helper()
	f.must("run -d -b B/sleep victim")
	list := f.atOnce(40*time.Millisecond, "exec victim true", "exec victim true", "exec victim true", "exec victim true", "exec -d victim true", "kill victim KILL")
	entered, late := false, false
	for _, r := range list {
		if !r.civil() {
			f.t.Errorf("%s: exit code %d, %q; want success or one line", r.words, r.code, r.out)
		}
		entered, late = entered || r.code == 0, late || r.code != 0
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if out := f.must("state victim"); strings.Contains(out, `"stopped"`) {
			break
		} else if time.Now().After(end) {
			f.t.Fatalf("the container process was killed, and state says %s", out)
		}
	}
	f.must("delete victim")
	return entered && late
}
