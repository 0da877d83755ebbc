package course

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

// TestTranscript: terminals, prompts, keys, and commands that go on running.
func TestTranscript(t *testing.T) {
	text := "# x\n```console 1\n$ sh\n…\n/ # sleep 1\n▏\n```\n$ not this\n```sh\n$ nor this\n```\n```console 2\n$ ps\na\nb\n```\n```console 1\n^C\n```\n"
	got, err := Transcript(text)
	want := []Command{
		{Line: 3, Terminal: "1", Prompt: "$", Text: "sh", Want: []string{"…"}},
		{Line: 5, Terminal: "1", Prompt: "/ #", Text: "sleep 1", Stays: true},
		{Line: 13, Terminal: "2", Prompt: "$", Text: "ps", Want: []string{"a", "b"}},
		{Line: 18, Terminal: "1", Text: "^C"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Transcript() = %+v, %v, want %+v", got, err, want)
	}
	if _, err := Transcript("```console\nout\n```\n"); err == nil {
		t.Error("output without a command is taken")
	}
}

// TestTexts: values are filled in; hints may have several lines; a language has its file.
func TestTexts(t *testing.T) {
	l := Lab{Files: fstest.MapFS{
		"lab.md": {Data: []byte("run «name» «other»")}, "lab.ko.md": {Data: []byte("«name» 실행")},
		"hints.md": {Data: []byte("1. a\n   b «name»\n2. c\n")},
	}}
	values := map[string]string{"name": "otter12"}
	if page, err := l.Page("en", values); page != "run otter12 «other»" || err != nil {
		t.Errorf("Page(en) = %q, %v", page, err)
	}
	if page, err := l.Page("ko", values); page != "otter12 실행" || err != nil {
		t.Errorf("Page(ko) = %q, %v", page, err)
	}
	if hints, err := l.Hints("en", values); !reflect.DeepEqual(hints, []string{"a b otter12", "c"}) || err != nil {
		t.Errorf("Hints() = %q, %v", hints, err)
	}
}

// TestDraw: a name that is taken is not drawn.
func TestDraw(t *testing.T) {
	asked := 0
	name := NewDraw(func(string) bool { asked++; return asked < 3 }).Name()
	if asked != 3 || !regexp.MustCompile(`^[a-z]+[1-9][0-9]$`).MatchString(name) {
		t.Errorf("Name() = %q after %d questions", name, asked)
	}
}

// TestStore: an attempt is kept as it was. A file that somebody spoilt is an error, and
// can be removed.
func TestStore(t *testing.T) {
	s := Store{t.TempDir()}
	if a, err := s.Load(3); a != nil || err != nil {
		t.Errorf("Load() of nothing = %v, %v", a, err)
	}
	a := &Attempt{Lab: 3, Started: time.Now().UTC().Truncate(time.Second), Values: map[string]string{"name": "otter12"}}
	a.See("sleep", "38 2")
	if err := s.Save(a); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(3); !reflect.DeepEqual(got, a) || err != nil {
		t.Errorf("Load() = %+v, %v, want %+v", got, err, a)
	}
	if err := os.WriteFile(s.path(3), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(3); err == nil {
		t.Error("a spoilt file is taken")
	}
	if err := errors.Join(s.Forget(3), s.Forget(3)); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(s.Dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// TestFullDisk: if there is no room, the error says so, and the old attempt is whole. A
// limit of the file's size stands for the disk: write(2) says EFBIG.
func TestFullDisk(t *testing.T) {
	s := Store{t.TempDir()}
	a := &Attempt{Lab: 3, Values: map[string]string{"name": "otter12"}}
	if err := s.Save(a); err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 8, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	a.Checks = 1
	err := s.Save(a)
	if restore := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); restore != nil {
		t.Fatal(restore)
	}
	if !errors.Is(err, unix.EFBIG) {
		t.Errorf("Save() = %v, want EFBIG", err)
	}
	if got, err := s.Load(3); err != nil || got.Checks != 0 || got.Values["name"] != "otter12" {
		t.Errorf("after that Load() = %+v, %v", got, err)
	}
	if left, _ := filepath.Glob(s.Dir + "/*.new"); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// TestLanguage: the first variable that is set counts.
func TestLanguage(t *testing.T) {
	for _, c := range []struct{ all, messages, lang, want string }{
		{"", "", "", "en"}, {"", "", "ko_KR.UTF-8", "ko"}, {"C", "", "ko_KR.UTF-8", "en"}, {"", "ko", "C", "ko"},
	} {
		t.Setenv("LC_ALL", c.all)
		t.Setenv("LC_MESSAGES", c.messages)
		t.Setenv("LANG", c.lang)
		if got := Language(); got != c.want {
			t.Errorf("%v: Language() = %q", c, got)
		}
	}
}
