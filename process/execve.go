package process

import (
	"cmp"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// CheckExecutable records a check that the program can be executed. It is for
// create, which otherwise would report nothing, and leave the error to start. A
// directory passes the check.
func (i *Identity) CheckExecutable(p *plan.Plan) {
	p.Alternatives(searchErrnos, func() {
		for _, file := range i.candidates() {
			p.Call("faccessat", unix.SYS_FACCESSAT, plan.CWD, plan.String(file), plan.Name{Value: unix.X_OK, Text: "X_OK"})
		}
	})
}

// Execve records the last steps of the plan, those after [plan.Plan.Ready].
func (i *Identity) Execve(p *plan.Plan) {
	p.Note("signals were blocked since the clone, because the child cannot handle any")
	p.RtSigprocmask()
	if i.filter != nil && i.loadsLast() {
		p.Note("as late as possible: the filter then needs to allow only one call of ours, execve")
		p.Seccomp(i.filter.Flags, i.filter.Program)
	}
	p.Note("the process becomes the program, and keeps everything that is set above")
	p.Alternatives(searchErrnos, func() {
		files := i.candidates()
		first := p.Execve(files[0], i.spec.Args, i.env)
		for _, file := range files[1:] {
			p.Call("execve", unix.SYS_EXECVE, plan.String(file), first.Args[1], first.Args[2]) // one copy of arguments and environment for all
		}
	})
}

// searchErrnos are those after which the search goes on in the next directory of
// PATH, as a shell's does.
var searchErrnos = []unix.Errno{unix.ENOENT, unix.EACCES, unix.ENOTDIR}

// mostDirectories is how many different directories PATH may have: each is a step,
// and the author of an image must not choose how many steps a plan has.
const mostDirectories = 256

// candidates are the files that the program's name may mean: itself if it has
// a slash, else one in each directory of the container's PATH. An empty or
// relative directory there counts from the root, not from the working directory.
// One that is named again is not searched again.
func (i *Identity) candidates() []string {
	program := cmp.Or(i.Program, i.spec.Args[0])
	if strings.Contains(program, "/") || len(program) > unix.NAME_MAX { // no directory has a longer name
		return []string{program}
	}
	search := cmp.Or(i.variable("PATH"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	var list []string
	seen := map[string]bool{}
	for _, dir := range strings.Split(search, ":") {
		if file := path.Join("/", dir, program); !seen[file] {
			seen[file], list = true, append(list, file)
		}
	}
	return list
}
