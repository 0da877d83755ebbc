package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// minirun makes no container, and enters none: it asks minirunc, as container
// engines ask their runtime, by becoming it (execve).
//
//	minirun run httpd       writes a bundle, and becomes   minirunc run --monitor --bundle DIR ID
//	minirun exec web ls     writes a process, and becomes  minirunc exec --insulate --process FILE ID
//	minirun update web      looks for its id, and becomes  minirunc update ID
//	minirun create ...      becomes                        minirunc create ...
//
// The last is for engines whose settings name minirun as their runtime. A command
// line is an engine's, and goes to minirunc word by word, if
//
//   - the command is one that only minirunc has, such as create, or
//   - a flag before the command is one that only minirunc has, such as --log, or
//   - a flag of the command is one that only minirunc has, such as run --bundle, or
//   - both have the command (start exec kill pause resume update events, ps ID), and --root
//     or another flag of runc's is before it, but not --store.
//
// So below the --root of an engine an id is an id, and never a name or the
// beginning of an id of people's containers. People who want other directories
// than the usual ones give both --root and --store.

// onlyRuntime are the commands that only minirunc has, and those that it lacks
// but engines ask for.
var onlyRuntime = []string{"create", "state", "delete", "list", "features", "spec", "checkpoint", "restore"}

// inBoth are the commands that both programs have, but for run and plan, which
// people can give the same flags before the command.
var inBoth = []string{"start", "exec", "kill", "pause", "resume", "update", "events", "ps"}

// runtimeFlags are the flags that only minirunc has, by command; "" are those
// before it.
var runtimeFlags = map[string][]string{
	"":     {"log", "log-format", "log-level", "debug", "rootless"},
	"run":  {"bundle", "b", "console-socket", "pid-file", "pidfd-socket", "preserve-fds", "no-pivot", "no-new-keyring", "no-subreaper", "keep"},
	"plan": {"bundle", "b"},
	"exec": {"process", "p", "console-socket", "pid-file", "pidfd-socket", "preserve-fds", "additional-gids", "g", "cap", "c", "cwd", "no-new-privs", "process-label", "apparmor", "cgroup", "ignore-paused"},
}

// valued are the flags before the command whose value may be the next word.
var valued = []string{"root", "store", "network-subnet", "cgroup-manager", "log", "log-format", "log-level", "rootless"}

func takesNext(name string) bool { return slices.Contains(valued, name) }

// isEngine says whether a command line is an engine's.
func isEngine(words []string) bool {
	flags, rest := leading(words, takesNext)
	if len(rest) == 0 || words[len(words)-1] == completion {
		return false
	}
	command := rest[0]
	has := func(flags []string, command string) bool {
		return slices.ContainsFunc(flags, func(f string) bool { return slices.Contains(runtimeFlags[command], f) })
	}
	own, arguments := leading(rest[1:], func(name string) bool { return takesValue(flagsOf(command), name) })
	switch {
	case command == "create" && len(flags) == 0 && !namesBundle(rest) && unix.Access("config.json", unix.F_OK) != nil:
		return false // there is no bundle: it is people's create, of an image
	case command == "delete" && !has(flags, "") && namesManifest(rest[1:]):
		return false // it is people's delete, of what a manifest describes
	case slices.Contains(onlyRuntime, command):
		return true
	case command != "run" && command != "plan" && !slices.Contains(inBoth, command), command == "ps" && len(arguments) == 0:
		return false // minirunc has no such command
	case has(flags, ""), has(own, command):
		return true
	}
	given := func(name string) bool { return slices.Contains(flags, name) }
	return slices.Contains(inBoth, command) && (given("root") || given("systemd-cgroup") || given("cgroup-manager")) && !given("store")
}

// withoutStore are an engine's words without the flag --store, which minirunc does not
// have: a bundle needs no image.
func withoutStore(words []string) []string {
	_, rest := leading(words, takesNext)
	var kept []string
	for global := words[:len(words)-len(rest)]; len(global) > 0; {
		name, _, hasValue := strings.Cut(strings.TrimLeft(global[0], "-"), "=")
		n := 1
		if !hasValue && takesNext(name) && len(global) > 1 {
			n = 2
		}
		if name != "store" {
			kept = append(kept, global[:n]...)
		}
		global = global[n:]
	}
	return append(kept, rest...)
}

// namesBundle says whether one of the words is create's flag --bundle.
func namesBundle(words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
		return strings.HasPrefix(w, "-") && (name == "bundle" || name == "b")
	})
}

// namesManifest says whether one of the words is delete's flag -f with a file: an engine's -f,
// force, has the id of a container behind it, and no file of that name is there.
func namesManifest(words []string) bool {
	for i, w := range words {
		name, value, has := strings.Cut(strings.TrimLeft(w, "-"), "=")
		if !strings.HasPrefix(w, "-") || name != "f" && name != "filename" {
			continue
		}
		if !has && i+1 < len(words) {
			value = words[i+1]
		}
		ext := filepath.Ext(value)
		return name == "filename" || value == "-" || ext == ".yaml" || ext == ".yml" || strings.HasSuffix(value, "/")
	}
	return false
}

// flagsOf are the flags of a command of minirun's.
func flagsOf(name string) []cli.Flag {
	for _, c := range commands() {
		if c.Name == name {
			return c.Flags
		}
	}
	return nil
}

// leading are the names of the flags that words begin with, and the words behind
// them.
func leading(words []string, takesValue func(name string) bool) (flags, rest []string) {
	for len(words) > 0 && len(words[0]) > 1 && words[0][0] == '-' && words[0] != "--" {
		name, _, hasValue := strings.Cut(strings.TrimLeft(words[0], "-"), "=")
		flags, words = append(flags, name), words[1:]
		if len(words) > 0 && !hasValue && takesValue(name) {
			words = words[1:]
		}
	}
	return flags, words
}

// become executes minirunc in the place of minirun. It returns only if that does
// not work.
func become(words ...string) error { return becomeProgram(runtimeProgram, words...) }

// becomeProgram is become for another program.
func becomeProgram(p program, words ...string) error {
	path, err := p.find()
	if err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", path, unix.Exec(path, append([]string{p.name}, words...), os.Environ()))
}

// A program is one that minirun executes.
type program struct{ name, what string }

var (
	runtimeProgram = program{"minirunc", "which makes the containers"}
	pullProgram    = program{"minirun-pull", "which fetches images"}
)

// find is where a program is: in the directory of minirun's own file, in
// ../libexec/minirun from there, or in PATH.
func (p program) find() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, p.name), filepath.Join(dir, "../libexec/minirun", p.name)} {
		if unix.Access(path, unix.X_OK) == nil {
			return path, checkPlanted(path, self)
		}
	}
	path, err := exec.LookPath(p.name)
	switch {
	case errors.Is(err, exec.ErrDot):
		return "", err
	case err != nil:
		return "", fmt.Errorf("%s, %s, is not in %s, in %s or in PATH", p.name, p.what, dir, filepath.Join(dir, "../libexec/minirun"))
	}
	return path, checkPlanted(path, self)
}

// checkPlanted refuses a program that another user can have put where it was found:
// anybody can, beside a minirun in /tmp. Its file, and a link to it, belong to root, to
// the caller, or to the user that minirun itself belongs to.
func checkPlanted(path, self string) error {
	own, err := os.Stat(self)
	if err != nil {
		return err
	}
	link, err := os.Lstat(path)
	if err != nil {
		return err
	}
	target, err := os.Stat(path)
	if err != nil {
		return err
	}
	owner := func(info os.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }
	for _, info := range []os.FileInfo{link, target} {
		if uid := owner(info); uid != 0 && uid != owner(own) && int(uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to user %d, and %s to user %d: not executed", path, uid, self, owner(own))
		}
	}
	return nil
}
