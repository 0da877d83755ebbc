package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"minirun/examples/workshop/course"
)

// fakeMinirun puts a minirun in PATH that prints what a file of the given name, after its
// first word, has.
func fakeMinirun(t *testing.T, answers map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range answers {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\nexec cat " + dir + "/$1\n"
	if err := os.WriteFile(filepath.Join(dir, "minirun"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// ask is the answer of the page to one request.
func ask(t *testing.T, s *session, method, host, path string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestPage: the list, a lab with this attempt's values, and the state that minirun tells,
// in which a process's own words are text.
func TestPage(t *testing.T) {
	fakeMinirun(t, map[string]string{
		"ps":   `{"ID":"aa","Names":"otter12","Image":"busybox:latest","Status":"Up 3 seconds"}`,
		"tree": `{"Container":"aa","Pid":27,"Parent":1,"Threads":1,"Command":["minirunc"]}{"Container":"aa","Pid":28,"ContainerPid":1,"Parent":27,"Threads":1,"RSS":2048,"Command":["sh","<b>4711"]}`,
		"ns":   `{"Container":"aa","Kind":"uts","Inside":"uts:[402]","Host":"uts:[401]","Same":false}`,
		"plan": `[{"heading":"cgroup"},{},{"heading":"the new root"}]`,
	})
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", "")
	s := &session{store: &course.Store{Dir: t.TempDir()}, language: "en"}
	a := &course.Attempt{Lab: 3, Started: time.Now(), Values: map[string]string{"name": "otter12", "seconds": "4711"}}
	if err := s.store.Save(a); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, host, path string
		code               int
		words              []string
	}{
		{"GET", "127.0.0.1:8030", "/", 200, []string{"Two names for one process", `class="begun"`}},
		{"GET", "localhost:8030", "/3", 200, []string{"sleep 4711", "--name otter12"}},
		{"GET", "127.0.0.1:8030", "/state", 200, []string{"otter12", "sh &lt;b&gt;4711", "uts:[402]", "cgroup 2", "the new root 1", "2KiB"}},
		{"GET", "127.0.0.1:8030", "/999", 404, nil},
		{"POST", "127.0.0.1:8030", "/state", 405, nil},
		{"GET", "evil.example:8030", "/", 403, nil},
	} {
		code, body := ask(t, s, c.method, c.host, c.path)
		if code != c.code {
			t.Errorf("%s %s of %s = %d, want %d", c.method, c.path, c.host, code, c.code)
		}
		for _, word := range c.words {
			if !strings.Contains(body, word) {
				t.Errorf("%s has no %q: %s", c.path, word, body)
			}
		}
	}
}

// TestPageBroken: what minirun cannot say is an error on the page, and not an empty list.
func TestPageBroken(t *testing.T) {
	fakeMinirun(t, nil)
	code, body := ask(t, &session{store: &course.Store{Dir: t.TempDir()}}, http.MethodGet, "localhost:1", "/state")
	if code != 200 || !strings.Contains(body, `class="error"`) || strings.Contains(body, "No container runs") {
		t.Errorf("/state = %d %s", code, body)
	}
}

// TestWrap: lines break at blanks; Hangul is two columns wide.
func TestWrap(t *testing.T) {
	if got := strings.Join(wrap("one two three", 7), "|"); got != "one two|three" {
		t.Errorf("wrap() = %s", got)
	}
	if got := strings.Join(wrap("커널 이름", 6), "|"); got != "커널|이름" {
		t.Errorf("wrap() = %s", got)
	}
}
