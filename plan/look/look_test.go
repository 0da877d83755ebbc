package look

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// sample is a plan that makes a directory, and whose child exits.
func sample(dir string) *plan.Plan {
	p := &plan.Plan{}
	p.Mkdirat(plan.CWD, dir, 0o700).Undo("rmdir it", func() error { return unix.Rmdir(dir) })
	p.Clone3(plan.Clone{})
	p.On(plan.Child)
	p.Heading("the new root")
	p.Note("why here?")
	p.Chdir("/")
	p.Umask(0o22)
	p.Heading("the program")
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/true", []string{"true"}, nil)
	return p
}

// start carries out the sample with these answers at the prompt.
func start(t *testing.T, o Options, answers string) (out string, err error) {
	t.Helper()
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, answers)
		w.Close()
	}()
	var b bytes.Buffer
	o.In, o.Out = r, &b
	options, err := New(o)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(t.TempDir(), "made")
	process, err := sample(dir).Start(options)
	if err == nil {
		process.Wait()
	} else if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
	return b.String(), err
}

// TestStep: at a prompt one can go on, to the end or up to something, stop, and ask.
func TestStep(t *testing.T) {
	for _, c := range []struct {
		answers string
		prompts int
		want    error
	}{
		{"\nn\nc\n", 3, nil},
		{strings.Repeat("\n", 7), 7, nil},
		{"c\n", 1, nil},
		{"h\n?\nwhat\nc\n", 4, nil},
		{"u umask\nq\n", 2, ErrStopped},
		{"u the program\nc\n", 2, nil},
		{"u nothing\n", 1, nil},
		{"q\n", 1, ErrStopped},
		{"\n", 2, io.EOF},
	} {
		out, err := start(t, Options{Step: true}, c.answers)
		if !errors.Is(err, c.want) || strings.Count(out, "h for help]") != c.prompts {
			t.Errorf("%q: %v, %d prompts; want %v, %d\n%s", c.answers, err, strings.Count(out, "h for help]"), c.want, c.prompts, out)
		}
		if asked := strings.Count(c.answers, "h") + strings.Count(c.answers, "?"); strings.HasPrefix(c.answers, "h") && strings.Count(out, "u NAME") < asked {
			t.Errorf("%q: no help\n%s", c.answers, out)
		}
	}
}

// TestPrompt: the prompt says which process is about to make the call, and above
// it stands why.
func TestPrompt(t *testing.T) {
	out, err := start(t, Options{Step: true}, "u chdir\nc\n")
	if want := regexp.MustCompile(`== the new root ==\n# why here\?\n  4 child [1-9][0-9]*: chdir\("/"\)   \[Enter`); err != nil || !want.MatchString(out) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestStopped: a signal ends the wait for an answer.
func TestStopped(t *testing.T) {
	stop := make(chan os.Signal, 1)
	stop <- unix.SIGTERM
	r, w := io.Pipe()
	defer w.Close()
	options, err := New(Options{Step: true, In: r, Out: io.Discard, Stop: stop})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sample(filepath.Join(t.TempDir(), "made")).Start(options); !errors.Is(err, ErrStopped) {
		t.Errorf("Start() = %v, want %v", err, ErrStopped)
	}
}

// TestExplain: every step is printed, and after a failure what is undone.
func TestExplain(t *testing.T) {
	out, err := start(t, Options{Explain: true}, "")
	if err != nil || !strings.Contains(out, "child   chdir(\"/\") = 0 <") || !strings.Contains(out, "# why here?\n") || strings.Contains(out, "undo:") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = start(t, Options{Explain: true, Fault: "chdir=EPERM"}, "")
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), `step 4 (child): chdir "/"`) || !strings.Contains(out, "runtime undo: rmdir it <") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestParseFault: a step by number or name, and an errno or KILL.
func TestParseFault(t *testing.T) {
	for text, want := range map[string]plan.Fault{
		"42=ENOMEM":        {Step: 42, Errno: unix.ENOMEM},
		"7=KILL":           {Step: 7},
		"pivot_root=EPERM": {Call: "pivot_root", Errno: unix.EPERM},
		"execve=KILL":      {Call: "execve"},
	} {
		if got, err := ParseFault(text); got != want || err != nil {
			t.Errorf("ParseFault(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "=EPERM", "0=EPERM", "-1=KILL", "5=", "5=NOSUCH", "open at=EPERM", "Execve=EPERM"} {
		if got, err := ParseFault(text); err == nil {
			t.Errorf("ParseFault(%q) = %v, want an error", text, got)
		}
	}
	if _, err := start(t, Options{Fault: "reboot=EPERM"}, ""); err == nil || err.Error() != "fault at reboot: the plan has no such call" {
		t.Errorf("a call that the plan has not: %v", err)
	}
}
