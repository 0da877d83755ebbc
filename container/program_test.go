package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// program is what runs in the containers: it carries out its arguments, one
// command each, and prints what they find. It ends with 0, or as a command says.
func program(commands []string) int {
	for _, c := range commands {
		word, rest, _ := strings.Cut(c, " ")
		text, err := command(word, rest)
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		if text != "" {
			fmt.Println(strings.TrimRight(text, "\n"))
		}
	}
	return 0
}

func command(word, arg string) (string, error) {
	switch word {
	case "exit":
		n, _ := strconv.Atoi(arg)
		os.Exit(n)
	case "print":
		return arg, nil
	case "repeat":
		n, err := strconv.Atoi(arg)
		return strings.Repeat("x", n), err
	case "cat":
		text, err := os.ReadFile(arg)
		return string(text), err
	case "write":
		path, text, _ := strings.Cut(arg, " ")
		return "", writeExisting(path, text)
	case "append":
		return "", appendInput(arg)
	case "mkdir":
		return "", os.Mkdir(arg, 0o755)
	case "divide": // our cgroup, into one for us and one that gets all controllers
		return "", errors.Join(os.Mkdir(arg+"/init", 0o755), os.Mkdir(arg+"/rest", 0o755), writeExisting(arg+"/init/cgroup.procs", "0"), handDown(arg))
	case "ls":
		return names(arg)
	case "stat":
		info, err := os.Lstat(arg)
		if err != nil {
			return "", err
		}
		return info.Mode().String(), nil
	case "device":
		var s unix.Stat_t
		err := unix.Stat(arg, &s)
		return fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev)), err
	case "owner":
		var s unix.Stat_t
		err := unix.Stat(arg, &s)
		return fmt.Sprint(s.Uid, s.Gid), err
	case "readlink":
		return os.Readlink(arg)
	case "eat": // as many MB of memory
		n, err := strconv.Atoi(arg)
		for eaten = make([]byte, n<<20); n > 0; n-- {
			for i := 0; i < 1<<20; i += 4096 {
				eaten[n<<20-1-i] = 1
			}
		}
		return "", err
	case "env":
		return strings.Join(os.Environ(), "\n"), nil
	case "id":
		groups, err := os.Getgroups()
		return fmt.Sprint(os.Getuid(), os.Getgid(), groups), err
	case "cwd":
		return os.Getwd()
	case "hostname":
		return os.Hostname()
	case "pid":
		return strconv.Itoa(os.Getpid()), nil
	case "status":
		return field("/proc/self/status", arg)
	case "fds":
		return openFiles()
	case "tty":
		_, err := unix.IoctlGetTermios(0, unix.TCGETS)
		return "terminal", err
	case "mounted":
		return mounted(arg)
	case "tmpfs":
		return "", unix.Mount("tmpfs", arg, "tmpfs", 0, "")
	case "trap":
		return "", trap(arg)
	case "sleep":
		for { // not select, which Go calls a deadlock where there is nothing else
			time.Sleep(time.Hour)
		}
	case "die":
		signal.Reset()
		unix.Kill(os.Getpid(), unix.SignalNum(arg))
		select {}
	}
	return "", fmt.Errorf("no command %q", word)
}

// eaten is kept, so that the compiler cannot know that nobody needs it.
var eaten []byte

func handDown(group string) error {
	controllers, err := os.ReadFile(group + "/cgroup.controllers")
	if err == nil && len(controllers) < 2 {
		err = errors.New("no controllers to hand down")
	}
	return errors.Join(err, writeExisting(group+"/cgroup.subtree_control", "+"+strings.Join(strings.Fields(string(controllers)), " +")))
}

// writeExisting writes to a file that is there already.
func writeExisting(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// appendInput adds a line to a file: what is read from standard input.
func appendInput(path string) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s\n", text)
	return err
}

func names(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " "), err
}

// field is the value of a line "name: value" of a file.
func field(path, name string) (string, error) {
	text, err := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", err
}

// openFiles are the numbers of the descriptors, but for that of the list itself
// and those of Go's poller.
func openFiles() (string, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	var list []string
	for _, e := range entries {
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if link != "" && !strings.HasSuffix(link, "/fd") && !strings.HasPrefix(link, "anon_inode:[event") {
			list = append(list, e.Name())
		}
	}
	return strings.Join(list, " "), err
}

// mounted is the type and the options of the topmost mount on a path.
func mounted(path string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	found := "nothing"
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		dash := slices.Index(words, "-")
		if words[4] == path {
			found = words[dash+1] + " " + words[5] + " " + strings.Join(words[6:dash], " ")
		}
	}
	return strings.TrimSpace(found), err
}

// trap says that it is ready, waits for a signal, and exits with a number.
func trap(arg string) error {
	name, code, _ := strings.Cut(arg, " ")
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SignalNum(name))
	fmt.Println("ready")
	<-c
	n, err := strconv.Atoi(code)
	os.Exit(n)
	return err
}
