package testbed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/signals"
)

// programs are those in the tests' image, by name: what scripts run in
// containers. The image has a link for each, as busybox has.
var programs = map[string]func(args []string) int{
	"true":     func([]string) int { return 0 },
	"echo":     func(args []string) int { fmt.Println(strings.Join(args, " ")); return 0 },
	"exit":     func(args []string) int { return number(args[0]) },
	"cat":      cat,
	"env":      func([]string) int { fmt.Println(strings.Join(os.Environ(), "\n")); return 0 },
	"serve":    func(args []string) int { return say("", serve(args[0])) },
	"fetch":    func(args []string) int { text, err := fetch(args[0], args[1]); return say(text, err) },
	"pwd":      func([]string) int { dir, err := os.Getwd(); return say(dir, err) },
	"hostname": func([]string) int { name, err := os.Hostname(); return say(name, err) },
	"id": func([]string) int {
		groups, err := os.Getgroups()
		return say(fmt.Sprint(os.Getuid(), os.Getgid(), groups), err)
	},
	"ls": listDir,
	"mode": func(args []string) int {
		info, err := os.Stat(args[0])
		if err != nil {
			return say("", err)
		}
		return say(info.Mode().String(), nil)
	},
	"write": func(args []string) int { return say("written", os.WriteFile(args[0], []byte(args[1]+"\n"), 0o644)) },
	"copy": func(args []string) int {
		text, err := os.ReadFile(args[0])
		return say("copied", errors.Join(err, os.WriteFile(args[1], text, 0o644)))
	},
	"sh":       func([]string) int { io.Copy(io.Discard, os.Stdin); return 0 }, // a shell without a command of its own
	"tee":      tee,
	"cut":      func([]string) int { cut("/proc/self/fd/1"); return say("written", nil) },
	"mkdir":    func(args []string) int { return say("made", makeDir(args[0], args[1])) },
	"status":   status,
	"pid":      func([]string) int { fmt.Println(os.Getpid()); return 0 },
	"sleep":    func(args []string) int { time.Sleep(time.Duration(number(args[0])) * time.Second); return 0 },
	"die":      die,
	"trap":     trap,
	"deaf":     deaf,
	"lines":    lines,
	"window":   window,
	"children": children,
	"notify":   notify,
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(100)
	}
	return n
}

// say prints what was found out, or why not.
func say(text string, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(text)
	return 0
}

// cut truncates a file and opens it to all, as a program may do to what it is given
// as its standard output. A device stays as it is: should a fault of the runtime put one
// of the machine's there, then every program of the machine would have to do with it.
func cut(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() && info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	os.Truncate(path, 0)  // EINVAL: a pipe
	os.Chmod(path, 0o777) // EPERM: somebody else's
}

// cat prints files or, without one, standard input.
func cat(args []string) int {
	if len(args) == 0 {
		io.Copy(os.Stdout, os.Stdin)
		return 0
	}
	for _, path := range args {
		text, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Stdout.Write(text)
	}
	return 0
}

// tee writes standard input to a file, and to standard output.
func tee(args []string) int {
	text, err := io.ReadAll(os.Stdin)
	os.Stdout.Write(text)
	if err = errors.Join(err, os.WriteFile(args[0], text, 0o644)); err != nil {
		return say("", err)
	}
	return 0
}

// makeDir makes a directory with a mode, whatever the umask.
func makeDir(mode, path string) error {
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return err
	}
	if err := os.Mkdir(path, 0); err != nil {
		return err
	}
	return os.Chmod(path, os.FileMode(bits))
}

func listDir(args []string) int {
	entries, err := os.ReadDir(args[0])
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return say(strings.Join(names, " "), err)
}

// status prints a field of /proc/self/status.
func status(args []string) int {
	text, err := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, args[0]+":"); ok {
			return say(strings.TrimSpace(value), err)
		}
	}
	return say("", fmt.Errorf("%s: no such field: %v", args[0], err))
}

// die ends by a signal: not as process 1 of a pid namespace, which gets none
// that it does not handle.
func die(args []string) int {
	unix.Kill(os.Getpid(), unix.SignalNum("SIG"+args[0]))
	time.Sleep(time.Second)
	return 99
}

// trap says that it is ready, and exits with the given number on each of some
// signals: trap TERM=3 INT=4.
func trap(args []string) int {
	c := make(chan os.Signal, 1)
	codes := map[os.Signal]int{}
	for _, a := range args {
		name, code, _ := strings.Cut(a, "=")
		s, err := signals.Parse(name)
		if err != nil {
			return say("", err)
		}
		codes[s] = number(code)
		signal.Notify(c, s)
	}
	fmt.Println("ready")
	s := <-c
	name := unix.SignalName(s.(unix.Signal))
	if name == "" {
		name = fmt.Sprint(int(s.(unix.Signal)))
	}
	fmt.Println("got", name)
	return codes[s]
}

// deaf ignores everything that can be ignored.
func deaf([]string) int {
	signal.Ignore()
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return 0
}

// lines prints n lines on standard output, and one on standard error before the last two.
func lines(args []string) int {
	n := number(args[0])
	for i := range n {
		if i == n-2 {
			fmt.Fprintln(os.Stderr, "to stderr")
		}
		fmt.Println("line", i+1)
	}
	return 0
}

// window prints the size of its terminal, now and after each change, and what
// it reads; "quit" ends it.
func window([]string) int {
	changes := make(chan os.Signal, 8)
	signal.Notify(changes, unix.SIGWINCH)
	words := make(chan string)
	go func() {
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			words <- s.Text()
		}
		close(words)
	}()
	for {
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("size", size.Row, size.Col)
		select {
		case <-changes:
		case w := <-words:
			if w == "quit" || w == "" {
				return 5
			}
			fmt.Println("read", w)
		}
	}
}

// children starts n processes that sleep, and waits.
func children(args []string) int {
	for range number(args[0]) {
		p, err := os.StartProcess("/proc/self/exe", []string{"sleep", "1000"}, &os.ProcAttr{})
		if err != nil {
			return say("", err)
		}
		defer p.Wait()
	}
	fmt.Println("ready")
	return 0
}

// notify says something to the socket of NOTIFY_SOCKET, one datagram an
// argument, and goes on, whether anybody listens or, as after READY=1, not.
func notify(args []string) int {
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return say("", err)
	}
	for _, a := range args {
		c.Write([]byte(strings.ReplaceAll(a, ";", "\n")))
	}
	time.Sleep(time.Hour)
	return 0
}

// programNames are the names of all programs, sorted.
func programNames() (names []string) {
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// serve answers each connection to a port, and each packet, with the name of the host and the
// address that the caller has.
func serve(port string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp4", ":"+port)
	if err != nil {
		return err
	}
	go func() {
		for buffer := make([]byte, 1500); ; {
			_, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			packets.WriteTo([]byte(name+" "+from.String()), from)
		}
	}()
	l, err := net.Listen("tcp4", ":"+port)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprint(c, name, " ", c.RemoteAddr())
		c.Close()
	}
}

// fetch returns what serve answers. It waits for at most two seconds.
func fetch(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, 2*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if network == "udp" {
		fmt.Fprint(c, "?")
	}
	buffer := make([]byte, 1500)
	n, err := c.Read(buffer)
	return string(buffer[:n]), err
}
