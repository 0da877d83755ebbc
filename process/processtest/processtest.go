// Package processtest is for the tests of the rooms below package process: it
// makes a process and lets it look at itself.
package processtest

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"minirun/plan"
	"minirun/plan/print"
	"minirun/process"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// NeedRoot skips a test without root's privileges.
func NeedRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to change what a process is")
	}
}

// Run makes a process whose first steps are what first records, and that then
// becomes a shell with a script. It returns what the script prints.
func Run(t *testing.T, c plan.Clone, script string, first func(p *plan.Plan)) (string, error) {
	t.Helper()
	i, err := process.New(&specs.Process{Args: []string{"sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &plan.Plan{}
	p.Clone3(c)
	p.On(plan.Child)
	p.Dup3(plan.Inherited("output"), 1, 0)
	first(p)
	i.Session(p)
	i.CloseDescriptors(p)
	i.Credentials(p)
	p.Ready()
	i.Execve(p)
	child, err := p.Start(plan.Options{FirstFD: 3, Inherited: map[plan.Inherited]int{"output": int(w.Fd())}})
	w.Close()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	b.ReadFrom(r)
	if status, err := child.Wait(); err != nil || status != 0 {
		t.Errorf("%q: status %v, error %v, printed %q", script, status, err, b.String())
	}
	return strings.TrimSpace(b.String()), nil
}

// Text is the plan that record records, as it is printed.
func Text(t *testing.T, side plan.Side, record func(p *plan.Plan)) string {
	t.Helper()
	p := &plan.Plan{}
	p.On(side)
	record(p)
	var b bytes.Buffer
	if err := print.Text(&b, p, print.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
