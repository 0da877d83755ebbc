package attacks

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// A fixture is one attack.
type fixture struct {
	id    string // of the vulnerability; "" where the attack is known without one
	about string // the attack
	naive string // the runtime that it succeeds against
	run   func(t *testing.T)
}

// fixtures are the attacks, by what they are aimed at. Several identifiers in
// one line are the same mistake, made by different people.
var fixtures = []fixture{
	// While a process enters: entering_test.go
	{"CVE-2016-9962", "a container with CAP_SYS_PTRACE looks into what enters", "clones into the container's pid namespace while it still has the host's root and descriptors", lookIntoExec},
	{"CVE-2016-9962", "a container without capabilities looks into what enters", "leaves the entering process dumpable", lookIntoExecWithout},
	{"CVE-2019-5736", "a container overwrites the runtime through /proc/PID/exe of an exec", "enters as a program that can be written to", overwriteByExec},
	{"CVE-2019-5736", "the container's program is /proc/self/exe", "lets the container execute the runtime, from a place that can be written to", executeSelf},
	{"CVE-2019-5736", "command lines in all forms that the library takes", "looks for words before it has parsed them, to know whether to protect its program", anyForm},
	{"CVE-2024-21626", "the working directory is a descriptor of the runtime's", "changes directory before closing its descriptors", cwdDescriptor},
	{"CVE-2024-21626", "the program is a descriptor of the runtime's", "executes before closing its descriptors", argsDescriptor},
	{"CVE-2024-21626", "the caller leaves descriptors open", "hands on what it inherits", inheritedDescriptors},
	{"CVE-2026-53495", "a program that is entered leaves a process behind, with its files", "waits until nobody has the program's pipes", leavesBehind},

	// The container's files: files_test.go
	{"CVE-2025-31133 CVE-2025-62161", "the container's /dev/null is a link, and masks a path", "mounts the container's own /dev/null on masked paths", nullMask},
	{"CVE-2025-31133", "the host's own devices are not what they are called", "mounts what is found at /dev/null, unseen", otherDevices},
	{"CVE-2026-88265", "the container's /dev/null is a link, and becomes standard input", "opens, and chowns, the container's /dev/null", nullStdio},
	{"CVE-2025-52565 CVE-2026-88264", "the container's /dev/console is a link", "makes or mounts /dev/console by its path", consoleLink},
	{"CVE-2025-52881 CVE-2025-62596 CVE-2019-16884", "a volume over /proc takes the writes of labels and parameters", "writes labels and parameters through the container's /proc", fakeProc},
	{"CVE-2019-19921 CVE-2023-27561 CVE-2025-54867", "the image's /proc is a link through what sysfs will hide", "mounts procfs where a link leads, and looks for what to mask by path", hiddenLink},
	{"CVE-2019-16884", "a volume of the image's, or of the user's, over /proc", "makes the volume, and then takes it for procfs", volumeOverProc},
	{"CVE-2026-41579 CVE-2026-47766", "the image's /dev is a link, and nothing is mounted there", "makes devices and links in /dev by path", devLink},
	{"CVE-2019-19921 CVE-2023-28642 CVE-2025-52565", "names in the root are exchanged with links to the host while containers are made", "looks at /proc, /sys, /dev/null, /dev/console or /dev/pts, and then mounts there", exchangedNames},
	{"CVE-2026-87766", "a directory above what is made is exchanged with a link to the host", "makes files and directories by path", exchangedParents},
	{"GHSA-3q8j-pf29-vwv8", "a path is exchanged while it is made read-only", "looks the path up once to mount it, and once more to make it read-only", exchangedReadOnly},
	{"CVE-2026-115521", "the image has a /proc/self/fd of its own", "makes the root read-only by a path below /proc", fakeSelfFd},
	{"CVE-2022-0492", "a cgroup mount has a release_agent", "mounts cgroup version 1", releaseAgent},
	{"", "the container makes cgroups below its own, deeper than any path", "removes groups by their whole paths", deepCgroups},
	{"", "the container makes directories deeper than there are descriptors", "removes directories by recursion, with one open at each level", deepDirectories},
	{"", "the container makes its log longer than any disk, and holds a lease on it", "reads a log as it comes, and waits for it", endlessLog},
	{"", "an exec into a cgroup outside of the container's", "joins paths", otherCgroup},
	{"CVE-2023-25809", "the cgroup mount is writable without a cgroup namespace", "drops the option ro of the cgroup mount", cgroupReadOnly},
	{"CVE-2025-24965", "the image's /etc is a link to the host's", "writes hosts and resolv.conf by path", etcLink},

	{"CVE-2021-41103", "another user of the host looks for programs and secrets in minirun's directories", "leaves the directory of layers or bundles open to all", otherUsers},

	// Images: images_test.go
	{"CVE-2026-47262", "an image's passwd and group have no end, or no line's end", "reads them into memory", endlessUsers},
	{"CVE-2024-40635", "an image's user does not fit into 32 bits", "cuts the number off, and has root", largeUsers},
	{"CVE-2024-9676", "an image's passwd and group are pipes, devices, links to the host's", "opens what is there", passwdKinds},
	{"", "a layer takes another one's passwd away, or leads it elsewhere", "looks users up in one layer", usersOfLayers},
	{"", "links that lead up and down hundreds of times", "lets the kernel follow them anew for each entry", costlyLinks},
	{"CVE-2026-53488", "an image's labels are commands", "executes a label, or makes a property of it", labels},
	{"CVE-2026-41567", "an image, and the caller's directory, have programs named gzip, zstd, tar", "looks for a program that unpacks where the image says", decompressors},
	{"CVE-2025-47290 CVE-2026-17106 CVE-2026-46703", "a layer's directories are exchanged with links to the host while it is unpacked", "looks at a directory, and then unpacks by its path", exchangedUnpack},
	{"GHSA-rp3h-jf77-q9p4", "a layer twice as large takes more than twice as long", "looks at all that it has for each entry", growingLayers},
	{"CVE-2026-15809", "line feeds in a host name, in HOME, in a user", "writes them into /etc/hosts or passwd", forgedLines},

	// Inodes of the host's: inodes_test.go
	{"", "root of a bundle's container changes mode, owner and times of each device that it has", "shows the host's devices, and hands its null device on, through mounts that can be written to", hostDevices},
	{"", "root of an image's container does so", "masks files with the host's null device", hostDevicesOfImages},
	{"", "a container listens (inotify) at what masks a file, and at its standard input", "masks files with the host's null device, read-only or not", hostUses},

	{"", "the caller's umask is 077, or none", "makes files, and leaves their modes to chance", callerUmask},
	{"", "the file for the process id is a device, a pipe or a link, and its temporary name is taken", "renames over whatever is there, and removes what is in its way", pidFiles},

	// The configuration: config_test.go
	{"GHSA-g54h-m393-cpwq", "no device rules, or only allowing ones", "takes the device list for a list of what is forbidden", deviceList},
	{"CVE-2021-43784", "strings longer than any buffer", "passes the configuration to its child in a message with 16 bit lengths", longStrings},
	{"CVE-2021-43784", "strings with a NUL in the middle", "cuts strings where C does", nulStrings},
	{"CVE-2022-0811", "parameters that are not the container's own", "writes any sysctl, or splits at +", hostParameters},
	{"CVE-2024-3154", "annotations with systemd's properties", "hands every annotation to systemd", annotations},
	{"CVE-2025-23266", "variables of the container's for the hooks", "runs hooks with the container's environment", hookEnvironment},
	{"CVE-2026-119101 CVE-2026-115520", "restoring a checkpoint from elsewhere", "restores mounts by name", noRestore},
	{"CVE-2026-41568 CVE-2026-42306", "copying into, and out of, a running container", "copies by path, while the container changes it", noCopy},
	{"", "no cgroup, and devices that are denied", "drops the rules where it has no filter for them", withoutCgroup},
	{"", "a mount's options are longer than a page", "gives mount(2) a string, which cuts it", manyLayers},
	{"", "ids of another directory of states are names, or the beginning of ids, in the store", "looks everywhere for what it is told", otherStore},
	{"", "hooks write to where they are", "starts hooks in the host's root directory", hookFolder},
	{"", "how hot, and how busy, each processor is", "masks what was masked ten years ago", heat},
	{"", "container ids that are paths", "makes the state's path of the id", idPaths},
	{"", "errors that write to the terminal", "prints names from the configuration as they are", errorText},
	{"", "a configuration nested without end", "parses by recursion", nestedConfig},

	// Who the process is: user_test.go
	{"CVE-2016-3697", "a user whose name is a number", "looks names up before numbers", numericName},
	{"CVE-2026-30892", "users that cannot be parsed", "takes what strtol leaves it", badUsers},
	{"", "hostile lines of /etc/passwd and /etc/group", "believes them", hostilePasswd},
	{"CVE-2022-29162 CVE-2022-24769 CVE-2022-27649 CVE-2022-27650 CVE-2022-27651 CVE-2022-27652 CVE-2025-27612", "inheritable capabilities of exec", "sets all five sets alike", inheritable},
	{"CVE-2022-2989 CVE-2022-2990 CVE-2022-36109 CVE-2023-25173", "the caller's supplementary groups", "calls setgroups only if there are groups to set", supplementaryGroups},
	{"CVE-2014-8989", "a user namespace drops a group that forbids", "writes gid_map without denying setgroups", deniesSetgroups},
	{"CVE-2016-2568", "a container types into the caller's terminal", "leaves the container in the terminal's session", typeIntoTerminal},
	{"", "another user plants a minirunc beside minirun, in libexec or in PATH", "executes what has the right name", plantedRuntime},
	{"", "the container's processes end before their numbers are used", "signals the numbers that cgroup.procs has", recycledNumbers},
	{"", "a reused process id", "signals numbers", reusedPid},
}

// elsewhere are attacks that tests of other packages carry out, since they need
// no minirun, or its insides; make attacks runs them, too.
var elsewhere = []struct{ id, about, naive, where, test string }{
	{"CVE-2019-18837 CVE-2019-19921", "links in the root lead to the host", "follows the last link of a mount's target", "container", "TestHostileRoot"},
	{"CVE-2021-30465 CVE-2024-45310", "a mount's target is exchanged with a link to the host", "looks at a target, and then mounts on it, or makes it, by its path", "container", "TestExchangedTarget"},
	{"CVE-2014-6407 CVE-2014-9356", "archives with names and links that lead out", "unpacks by path", "rootfs/image", "TestHostileArchives"},
	{"", "image layouts with links and pipes", "opens what is called index.json", "rootfs/image", "TestHostileDirectory"},
	{"", "archives with more, or larger, than is good", "unpacks what it is told", "rootfs/image", "TestLimits"},
	{"", "one image with hundreds of names", "looks through all names for each name", "rootfs/image", "TestManyNames"},
	{"", "PATH, groups and a directory's depth have no end", "makes a plan that grows faster than its input", "process", "TestSearchGrows"},
	{"", "directories that are made, as deep as a path can be", "looks each up from the root", "rootfs", "TestDeepGrows"},
	{"", "the container makes thousands of cgroups", "lists all of them again for each one", "cgroups", "TestDestroyGrows"},
	{"", "numbers in a cgroup's list are of strangers", "signals numbers", "cgroups/signals", "TestStranger"},
	{"", "a monitor says that a stranger is its child", "signals the number that it is told", "plan", "TestMonitorStranger"},
	{"", "no cgroup, and devices that are denied, in every form", "drops the rules", "cgroups/devices", "TestWithout"},
	{"", "the runtime is killed before it has written down the process", "clones first, and writes then", "container", "TestNobodyUnknown"},
	{"", "control characters in every string that there is", "prints names as they are", "cmd/minirun", "TestHostile"},
}

// TestAttacks carries out every fixture. After it, the host is what it was.
func TestAttacks(t *testing.T) {
	needRoot(t)
	for _, f := range fixtures {
		before := host()
		t.Run(f.about, func(t *testing.T) { f.run(t) })
		if left := harm(before, 2*time.Second); left != "" {
			t.Fatalf("%s %s: the host has changed:\n%s", f.id, f.about, left) // the next ones would not know theirs
		}
	}
}

var (
	update = flag.Bool("update", false, "write the matrix into SECURITY.md")
	tables = flag.Bool("tables", false, "print the attacks and the matrix")
)

// TestTable: make attacks prints the attacks, and every line is complete.
func TestTable(t *testing.T) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range fixtures {
		if f.about == "" || f.naive == "" || f.run == nil {
			t.Errorf("fixture %q %q is not complete", f.id, f.about)
		}
		if *tables {
			fmt.Fprintf(w, "%s\t%s\n", f.about, f.id)
		}
	}
	makefile, err := os.ReadFile("../../Makefile")
	must(t, err)
	for _, f := range elsewhere {
		if run := regexp.MustCompile(`go test .*\./` + f.where + ` -run '?[\w|]*` + f.test + `\b`); !run.Match(makefile) {
			t.Errorf("make attacks does not run %s of %s", f.test, f.where)
		}
		tests, _ := filepath.Glob("../../" + f.where + "/*_test.go")
		if !slices.ContainsFunc(tests, func(path string) bool {
			text, _ := os.ReadFile(path) // none: not found there
			return strings.Contains(string(text), "func "+f.test+"(t *testing.T)")
		}) {
			t.Errorf("%s has no %s", f.where, f.test)
		}
		if *tables {
			fmt.Fprintf(w, "%s\t%s\n", f.about, strings.TrimSpace(f.id+" ("+f.where+" "+f.test+")"))
		}
	}
	w.Flush()
}

// TestNamed: what SECURITY.md calls a test is one.
func TestNamed(t *testing.T) {
	text, err := os.ReadFile(document)
	must(t, err)
	var sources strings.Builder
	must(t, filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			source, failed := os.ReadFile(path)
			sources.Write(source)
			err = failed
		}
		return err
	}))
	names := regexp.MustCompile("(?m)^[|].*$").FindAllString(string(text), -1) // the rows of tables
	names = regexp.MustCompile("`(Test\\w+|[a-z]+[A-Z]\\w*)`").FindAllString(strings.Join(names, "\n"), -1)
	if len(names) < 15 {
		t.Errorf("%s names only %q", document, names)
	}
	for _, name := range names {
		if name = strings.Trim(name, "`"); !strings.Contains(sources.String(), "\nfunc "+name+"(t *testing.T)") {
			t.Errorf("%s names %s, which is no test", document, name)
		}
	}
}
