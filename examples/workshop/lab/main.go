// Lab is what a student types in the workshop: it starts a lab, asks for a prediction,
// and looks at the kernel to see whether the lab is done.
//
//	main.go      the table of commands, the session
//	student.go   start, predict, answer, check, hint, solve
//	reset.go     reset, goto
//	progress.go  list, progress, report
//	doctor.go    doctor
//	vm.go        vm
//	page.go      page
//	print.go     verdicts, colours, Markdown on a terminal
//
// Exit codes are for scripts: 0 right, 1 not yet, 2 wrong, 3 this machine cannot, 125 if
// lab itself failed.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"minirun/examples/workshop"
	"minirun/examples/workshop/course"
)

// failed is the exit code of an error of lab's own.
const failed = 125

// A session is one call of lab.
type session struct {
	store    *course.Store
	language string
	screen   *screen
}

// A command of lab. Run gets the words behind the command.
type command struct {
	name, arguments string
	about           course.Text
	run             func(s *session, words []string) error
}

// commands is a function, since help is one of them and prints them all.
func commands() []command {
	return []command{
		{"list", "", course.T("the labs, and which are done", "실습 목록과 진행 상황"), list},
		{"start", "N", course.T("begin lab N: its text, with your own values", "N번 실습 시작: 나만의 값이 든 본문"), start},
		{"predict", "N VALUE...", course.T("what you expect, before you look", "보기 전에 예상을 적어 두기"), predict},
		{"answer", "N VALUE...", course.T("what you have found", "찾은 답 알려 주기"), answer},
		{"check", "N [--watch]", course.T("ask the kernel whether it is done; --watch: until it is", "커널에게 확인하기; --watch: 될 때까지"), check},
		{"hint", "N", course.T("one hint more, of three", "힌트 하나 더 (모두 세 개)"), hint},
		{"solve", "N [--run]", course.T("the solution; --run: let it happen", "풀이 보기; --run: 실행까지"), solve},
		{"reset", "N | --all", course.T("undo lab N: its containers, its values", "N번 되돌리기: 컨테이너와 값"), reset},
		{"goto", "N", course.T("leave the labs begun, and start N", "하던 실습을 치우고 N번으로"), jump},
		{"progress", "[--json]", course.T("what you have done; --json: for report", "내 진행 상황; --json: report용"), progress},
		{"report", "FILE...", course.T("for instructors: who is stuck where", "강사용: 누가 어디서 막혔나"), report},
		{"page", "[-port N]", course.T("the labs and the containers as a page on loopback", "실습과 컨테이너를 웹 페이지로 (이 컴퓨터에서만)"), page},
		{"vm", "", course.T("a shell in a kernel of your own, with all controllers", "나만의 커널에서 도는 셸 (모든 컨트롤러 포함)"), vm},
		{"doctor", "", course.T("is this machine ready?", "이 컴퓨터는 준비되었나?"), doctor},
	}
}

func main() { os.Exit(run(os.Args[1:])) }

func run(words []string) int {
	s := &session{language: course.Language(), screen: newScreen(os.Stdout)}
	if len(words) == 0 || words[0] == "help" || words[0] == "--help" || words[0] == "-h" {
		s.help()
		return 0
	}
	for _, c := range commands() {
		if c.name != words[0] {
			continue
		}
		var err error
		if s.store, err = course.OpenStore(); err == nil {
			err = c.run(s, words[1:])
		}
		return s.end(err)
	}
	return s.end(fmt.Errorf("%s: no such command; lab help lists them", words[0]))
}

// end prints an error, unless it is only an exit code, and returns the exit code.
func (s *session) end(err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(os.Stderr, "lab: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	return failed
}

// An exitCode is an error of which everything has been said.
type exitCode int

func (e exitCode) Error() string { return "exit " + strconv.Itoa(int(e)) }

// say prints a line in the user's language.
func (s *session) say(en, ko string, args ...any) {
	fmt.Fprintln(s.screen, course.T(en, ko, args...).In(s.language))
}

func (s *session) help() {
	s.say("lab: the workshop of minirun. First: lab list, lab start 1", "lab: minirun 워크숍. 먼저 해 볼 것: lab list, lab start 1")
	for _, c := range commands() {
		fmt.Fprintf(s.screen, "  lab %-22s %s\n", strings.TrimSpace(c.name+" "+c.arguments), c.about.In(s.language))
	}
}

// labOf takes the lab's number from the front of the words.
func (s *session) labOf(words []string) (*course.Lab, []string, error) {
	if len(words) == 0 {
		return nil, nil, errors.New(course.T("which lab? give its number: lab list shows them", "몇 번 실습인가요? 번호를 적어 주세요 (lab list)").In(s.language))
	}
	n, err := strconv.Atoi(words[0])
	l := workshop.Find(n)
	if err != nil || l == nil {
		return nil, nil, errors.New(course.T("%s: no such lab: lab list shows them", "%s: 그런 실습은 없습니다 (lab list)", words[0]).In(s.language))
	}
	return l, words[1:], nil
}

// with locks the student's attempts, loads the one at a lab, lets do change it, and
// saves it. An attempt that was not started is an error.
func (s *session) with(l *course.Lab, do func(a *course.Attempt) error) error {
	unlock, err := s.store.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	a, err := s.load(l)
	if err != nil {
		return err
	}
	err = do(a)
	return errors.Join(s.store.Save(a), err)
}

func (s *session) load(l *course.Lab) (*course.Attempt, error) {
	a, err := s.store.Load(l.Number)
	if err != nil {
		return nil, fmt.Errorf("%w (lab reset %d)", err, l.Number)
	}
	if a == nil {
		return nil, errors.New(course.T("lab %d is not started: lab start %d", "%d번은 아직 시작하지 않았습니다: lab start %d", l.Number, l.Number).In(s.language))
	}
	return a, nil
}
