package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/yuin/goldmark"

	"minirun/examples/workshop"
	"minirun/examples/workshop/course"
)

//go:embed page.html
var pageHTML string

var pages = template.Must(template.New("").Parse(pageHTML))

// page serves the labs, and what the containers are just now, for a beamer: on loopback
// only, and to read only. Every answer is made of what minirun and the kernel say then.
func page(s *session, words []string) error {
	flags := flag.NewFlagSet("page", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	port := flags.Int("port", 8030, "port on loopback; 0: any")
	if err := flags.Parse(words); err != nil || flags.NArg() > 0 {
		return fmt.Errorf("page: want [-port NUMBER]: %v", err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(*port)))
	if err != nil {
		return err
	}
	s.say("http://%s/ shows the labs and the containers; ^C ends it", "http://%s/ 에서 실습과 컨테이너를 봅니다. ^C로 끝냅니다", listener.Addr())
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(listener)
}

// handler has three addresses: / for the list, /N for a lab, /state for what changes.
func (s *session) handler() http.Handler {
	mux := http.NewServeMux()
	plans := &planCache{}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.servePage(w, nil) })
	mux.HandleFunc("GET /{number}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("number"))
		l := workshop.Find(n)
		if err != nil || l == nil {
			http.NotFound(w, r)
			return
		}
		s.servePage(w, l)
	})
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) {
		state, err := s.look(plans)
		if err != nil {
			state.Error = err.Error()
		}
		render(w, "state", state)
	})
	return local(mux)
}

// local answers only who asks for this machine by a name of loopback. Otherwise a page of
// the web could read ours, under a name of its own that it lets point to 127.0.0.1.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil || host != "127.0.0.1" && host != "localhost" {
			http.Error(w, "only for this machine", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func render(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes())
}

// A row is a lab in the list.
type row struct {
	Number int
	Title  string
	State  string // "done", "begun" or ""
	Here   bool
}

func (s *session) servePage(w http.ResponseWriter, l *course.Lab) {
	data := struct {
		Language string
		Labs     []row
		Text     template.HTML
	}{Language: s.language}
	for _, other := range workshop.Labs {
		r := row{Number: other.Number, Title: other.Title.In(s.language), Here: other == l}
		if a, err := s.store.Load(other.Number); err == nil && a != nil {
			r.State = map[bool]string{true: "begun", false: "done"}[a.Passed.IsZero()]
		}
		data.Labs = append(data.Labs, r)
	}
	if l != nil {
		text, err := s.html(l)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		data.Text = text
	}
	render(w, "page", data)
}

// html is a lab's text with the values of this user's attempt, if there is one. goldmark
// leaves raw HTML out, so what it returns is only what it has made itself.
func (s *session) html(l *course.Lab) (template.HTML, error) {
	var values map[string]string
	if a, err := s.store.Load(l.Number); err == nil && a != nil {
		values = a.Values
	}
	text, err := l.Page(s.language, values)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = goldmark.Convert([]byte(text), &b)
	return template.HTML(b.String()), err
}

// A view is one container as the page draws it.
type view struct {
	Name, Image, Status string
	Processes           []process
	Namespaces          []namespace
	Figures             []figure
	Plan                []chapter
}

type process struct {
	Pid, ContainerPid, Parent, UID, Threads int
	RSS                                     int64
	State                                   string
	Command                                 []string
	Container                               string
	Depth                                   int
}

// Line is the command, Memory the resident memory, for the template.
func (p process) Line() string   { return strings.Join(p.Command, " ") }
func (p process) Memory() string { return units.BytesSize(float64(p.RSS)) }
func (p process) Indent() string { return strings.Repeat("  ", p.Depth) }

type namespace struct {
	Container, Kind, Inside, Host string
	Same                          bool
}

// A figure is a file of the cgroup and the first line in it.
type figure struct{ File, Value string }

// A chapter is the calls of a plan below one heading.
type chapter struct {
	Heading string
	Calls   int
}

type state struct {
	Time       string
	Containers []view
	Error      string
	Language   string
}

// look asks minirun for its containers, and the kernel for their cgroups.
func (s *session) look(plans *planCache) (state, error) {
	st := state{Time: time.Now().Format("15:04:05"), Language: s.language}
	program, err := course.Minirun()
	if err != nil {
		return st, err
	}
	type listed struct{ ID, Names, Image, Status string }
	containers, err := lines[listed](program, "ps", "--no-trunc", "--format", "json")
	if err != nil {
		return st, err
	}
	processes, err := lines[process](program, "tree", "-o", "json")
	if err != nil {
		return st, err
	}
	namespaces, err := lines[namespace](program, "ns", "-o", "json")
	if err != nil {
		return st, err
	}
	for _, c := range containers {
		v := view{Name: c.Names, Image: c.Image, Status: c.Status, Plan: plans.of(program, c.Image)}
		depths := map[int]int{}
		for _, p := range processes {
			if p.Container == c.ID {
				if depth, ok := depths[p.Parent]; ok {
					p.Depth = depth + 1
				}
				depths[p.Pid] = p.Depth
				v.Processes = append(v.Processes, p)
			}
		}
		for _, n := range namespaces {
			if n.Container == c.ID {
				v.Namespaces = append(v.Namespaces, n)
			}
		}
		v.Figures = figures(c.Names)
		st.Containers = append(st.Containers, v)
	}
	return st, nil
}

// lines runs minirun, and reads an object of JSON from each line.
func lines[T any](program string, words ...string) (list []T, err error) {
	out, err := exec.Command(program, words...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Stderr))
		}
		return nil, fmt.Errorf("minirun %s: %w", strings.Join(words, " "), err)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var one T
		if err := d.Decode(&one); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("minirun %s: %w", strings.Join(words, " "), err)
		}
		list = append(list, one)
	}
}

// figures are what the files of a container's cgroup say. Those of a controller that this
// machine does not have are missing.
func figures(name string) (list []figure) {
	c, err := course.FindContainer(name)
	if err != nil || c == nil || c.Cgroup == "" {
		return nil
	}
	for _, file := range []string{"cgroup.controllers", "memory.current", "memory.max", "pids.current", "pids.max", "cpu.stat", "cpu.max", "cgroup.events"} {
		text, err := os.ReadFile(filepath.Join(c.Cgroup, file))
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), "\n")
		list = append(list, figure{file, first})
	}
	return list
}

// A planCache keeps the plan of each image: it is the same every time.
type planCache struct {
	sync.Mutex
	byImage map[string][]chapter
}

// of are the chapters of an image's plan; nil if minirun cannot say.
func (p *planCache) of(program, image string) []chapter {
	p.Lock()
	defer p.Unlock()
	if list, ok := p.byImage[image]; ok {
		return list
	}
	steps, err := lines[[]struct{ Heading string }](program, "plan", "-o", "json", image)
	if err != nil || len(steps) != 1 {
		return nil
	}
	var list []chapter
	for _, step := range steps[0] {
		if step.Heading != "" || list == nil {
			list = append(list, chapter{Heading: step.Heading})
		}
		list[len(list)-1].Calls++
	}
	if p.byImage == nil {
		p.byImage = map[string][]chapter{}
	}
	p.byImage[image] = list
	return list
}
