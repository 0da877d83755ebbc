package main

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
)

func testApp() *cli.App {
	return newApp(&report.Output{To: io.Discard})
}

// TestExamples: every command shows how it is used, in a form that it takes.
func TestExamples(t *testing.T) {
	app := testApp()
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		found := false
		for line := range strings.Lines(c.Description) {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "minirun" {
				continue
			}
			found = found || words[1] == c.Name
			if _, err := arrange(app, words); err != nil {
				t.Errorf("minirun %s --help shows %q: %v", c.Name, strings.TrimSpace(line), err)
			}
		}
		if !found {
			t.Errorf("minirun %s --help shows no example", c.Name)
		}
	}
}

// TestArrange: what fingers type, and what the library gets.
func TestArrange(t *testing.T) {
	app := testApp()
	for words, want := range map[string]string{
		"":                              "",
		"ps":                            "ps --",
		"ps -aq":                        "ps --all --quiet --",
		"ps -n5":                        "ps --last 5 --",
		"ps -n=5":                       "ps --last=5 --",
		"run -it httpd sh":              "run --interactive --tty -- httpd sh",
		"run -dit --name x httpd":       "run --detach --interactive --tty --name x -- httpd",
		"run -v/src:/dst -eA=B httpd":   "run --volume /src:/dst --env A=B -- httpd",
		"run -e=A=B httpd":              "run --env=A=B -- httpd",
		"run -itv /a:/b httpd":          "run --interactive --tty --volume /a:/b -- httpd",
		"run httpd -it --rm":            "run -- httpd -it --rm",
		"run --rm -- httpd -d":          "run --rm -- httpd -d",
		"run -h web httpd":              "run --hostname web -- httpd",
		"run -dp80:80 httpd":            "run --detach --publish 80:80 -- httpd",
		"run -dP --publish=80 httpd":    "run --detach --publish-all --publish=80 -- httpd",
		"plan -p 80:80 httpd":           "plan --publish 80:80 -- httpd",
		"run --memory=64m httpd":        "run --memory=64m -- httpd",
		"run -m64m httpd":               "run --memory 64m -- httpd",
		"exec -e A=1 --env B=2 a":       "exec --env A=1 --env B=2 -- a",
		"exec -it web sh -c exit":       "exec --interactive --tty -- web sh -c exit",
		"exec web ls -l":                "exec -- web ls -l",
		"logs web -f":                   "logs --follow -- web",
		"logs -fn5 web":                 "logs --follow --tail 5 -- web",
		"rm web -f db":                  "rm --force -- web db",
		"stop web -t 3":                 "stop --timeout 3 -- web",
		"rm -- -f":                      "rm -- -f",
		"rm -h":                         "rm --help --",
		"help rm":                       "rm --help",
		"help":                          "--help",
		"--root /x --systemd-cgroup ps": "--root /x --systemd-cgroup ps --",
		"--root=/x rm a":                "--root=/x rm -- a",
		"-root /x rm a":                 "--root /x rm -- a",
		"run --net host httpd":          "run --network host -- httpd",
		"kill a KILL":                   "kill -- a KILL",
		"kill --all a 9":                "kill --all -- a 9",
		"import - name":                 "import -- - name",
		"run -d --entrypoint= httpd ls": "run --detach --entrypoint= -- httpd ls",
	} {
		got, err := arrange(app, append([]string{"minirun"}, strings.Fields(words)...))
		if err != nil || strings.Join(got, " ") != strings.TrimSpace("minirun "+want) {
			t.Errorf("minirun %s becomes %q, %v; want minirun %s", words, got, err, want)
		}
	}
}

// TestLongForms: docker's long forms, and its other names, of commands that there are.
func TestLongForms(t *testing.T) {
	app := testApp()
	for words, want := range map[string]string{
		"container ls -a":            "ps --all --",
		"container ps":               "ps --",
		"container exec -it web sh":  "exec --interactive --tty -- web sh",
		"container rm -f web":        "rm --force -- web",
		"container inspect web":      "inspect -- web",
		"image ls -q":                "images --quiet --",
		"image rm httpd":             "rmi -- httpd",
		"image inspect httpd":        "inspect -- httpd",
		"image load -i x.tar":        "load --input x.tar --",
		"unpause web":                "resume -- web",
		"container unpause web":      "resume -- web",
		"run --rm image ls":          "run --rm -- image ls",
		"--root /x image ls --quiet": "--root /x images --quiet --",
	} {
		got, err := arrange(app, append([]string{"minirun"}, strings.Fields(words)...))
		if err != nil || strings.Join(got, " ") != "minirun "+want {
			t.Errorf("minirun %s becomes %q, %v; want minirun %s", words, got, err, want)
		}
	}
}

// TestNotDone: what docker has and minirun has not is an error that helps, with
// the exit code that docker's errors have.
func TestNotDone(t *testing.T) {
	app := testApp()
	for words, want := range map[string]struct {
		text, hint string
		code       int
	}{
		"run --ip 1.2.3.4 httpd": {"run: minirun does not do --ip", "each container has one link", 125},
		"network create x":       {"minirun does not do network create", "there is one network", 125},
		"run --nosuch httpd":     {"run: minirun does not do --nosuch", "`minirun run --help` shows how it is used", 125},
		"run --nmae web httpd":   {"run: minirun does not do --nmae", "did you mean --name?", 125},
		"run --memroy 1m httpd":  {"run: minirun does not do --memroy", "did you mean --memory?", 125},
		"run -z httpd":           {"run: minirun does not do -z", "`minirun run --help` shows how it is used", 125},
		"exec --nosuch web true": {"exec: minirun does not do --nosuch", "`minirun exec --help` shows how it is used", 125},
		"exec --privileged web":  {"exec: minirun does not do --privileged", "`minirun run --cap-add ALL IMAGE`", 125},
		"ps --nosuch":            {"ps: minirun does not do --nosuch", "`minirun ps --help` shows how it is used", 125},
		"ps --fromat json":       {"ps: minirun does not do --fromat", "did you mean --format?", 125},
		"ps -s":                  {"ps: minirun does not do -s", "`du -sh $(minirun inspect ", 125},
		"--nosuch ps":            {"minirun does not do --nosuch", "`minirun --help` lists the commands", 125},
		"--stroe x ps":           {"minirun does not do --stroe", "did you mean --store?", 125},
		"search httpd":           {"minirun does not do search", "`minirun pull httpd`, if you know its name", 125},
		"top web":                {"minirun does not do top", "`minirun ps web`", 125},
		"top $(x)":               {"minirun does not do top", "`minirun ps CONTAINER`", 125},
		"container export web":   {"minirun does not do export", "`tar -c --one-file-system", 125},
		"system prune":           {"minirun does not do system prune", "`minirun ps -aq -f status=exited | xargs -r minirun rm` removes", 125},
		"container prune":        {"minirun does not do container prune", "`minirun ps -aq -f status=exited | xargs -r minirun rm` removes", 125},
		"image frobnicate":       {"minirun does not do image", "`minirun images` lists images", 125},
		"save":                   {"minirun does not do save", "`tar -c -C /", 125},
		"frobnicate":             {`"frobnicate" is not a command`, "`minirun --help` lists the commands", 125},
		"rnu httpd":              {`"rnu" is not a command: did you mean run?`, "`minirun --help` lists the commands", 125},
		"treee":                  {`"treee" is not a command: did you mean tree?`, "`minirun --help` lists the commands", 125},
	} {
		_, err := arrange(app, append([]string{"minirun"}, strings.Fields(words)...))
		if err == nil || err.Error() != want.text || report.Code(err) != want.code {
			t.Errorf("minirun %s = %v, exit code %d; want %s, %d", words, err, report.Code(err), want.text, want.code)
			continue
		}
		if got := hint(err); !strings.HasPrefix(got, want.hint) {
			t.Errorf("minirun %s: hint %q, want %q", words, got, want.hint)
		}
	}
}

// TestInstead: no answer is given for what minirun does do, and none twice.
func TestInstead(t *testing.T) {
	app, seen := testApp(), map[string]bool{}
	lists := maps.Clone(insteadOfFlags)
	lists[""] = insteadOfCommands
	for command, list := range lists {
		for _, a := range list {
			for _, what := range strings.Split(a.of, ", ") {
				if name := command + " " + what; seen[name] {
					t.Errorf("minirun%s: two answers", name)
				}
				seen[command+" "+what] = true
				if command == "" && (app.Command(what) != nil || sameAs[what] != "") {
					t.Errorf("minirun %s: a command that there is", what)
				}
				if command != "" && findFlag(flagsOf(command), strings.TrimLeft(what, "-")) != nil {
					t.Errorf("minirun %s %s: a flag that there is", command, what)
				}
			}
		}
	}
	for command := range insteadOfFlags {
		if app.Command(command) == nil {
			t.Errorf("flags of %s, which is no command", command)
		}
	}
}

// FuzzArrange: whatever is typed, no word of a program's is lost, changed or
// taken for a flag of minirun's.
func FuzzArrange(f *testing.F) {
	for _, words := range []string{"run -it httpd sh -c x", "ps -aq", "logs web -fn5", "--root x rm y", "run -- -x", "-", "--", "exec -e", "rm -=", "run -\xff"} {
		f.Add(strings.ReplaceAll(words, " ", "\n"))
	}
	app := testApp()
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, "\n")
		got, err := arrange(app, append([]string{"minirun"}, words...))
		if err != nil {
			if strings.TrimSpace(report.OneLine(err)) == "" {
				t.Error("an error without words")
			}
			return
		}
		if i := slices.Index(got, "--"); i >= 0 && len(got)-i-1 > len(words) {
			t.Errorf("%q becomes %q: more words than there were", words, got)
		}
		if words[0] == "run" && len(words) > 1 && !strings.HasPrefix(words[1], "-") {
			if want := append([]string{"minirun", "run", "--"}, words[1:]...); !slices.Equal(got, want) {
				t.Errorf("%q becomes %q, want %q", words, got, want)
			}
		}
	})
}
