package main

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/container"
	"minirun/container/bundle"
	"minirun/plan"
	"minirun/plan/print"
	"minirun/rootfs/image"
)

// All advice that minirun gives is in this file, and no message elsewhere names a
// command. A hint is printed on the line below an error. What it has between back quotes
// is a command as it can be typed; words in capitals, such as CONTAINER, stand for the
// reader's own. A test runs every command of every hint: one that fails would be worse
// than none.

// Hints in messages of other files.
const (
	removesContainer = "`minirun rm --force CONTAINER` removes it"
	removesImage     = "`minirun rmi --force IMAGE` removes it"
)

const (
	listContainers = "`minirun ps -a` lists all containers"
	listCommands   = "`minirun --help` lists the commands"
)

// afterErrors are the hints for errors of minirunc's rooms.
var afterErrors = []struct {
	is   func(err error) bool
	hint string
}{
	{isOne(bundle.ErrNoSuch, container.ErrNotExist), listContainers},
	{isOne(image.ErrNotFound), "`minirun images` lists those that are here; `minirun pull IMAGE` fetches one from a registry; `minirun import FILE NAME` makes one of a root file system's tar; in minirun's source, `examples/httpd/build` makes httpd"},
	{isOne(cgroups.ErrNotMounted), "`mount -t cgroup2 none /sys/fs/cgroup`"},
	{isUsersEPERM, "`minirun doctor` says what this machine lacks for an ordinary user's containers"},
}

func isOne(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
}

// isUsersEPERM says whether the kernel did not let an ordinary user make a container.
func isUsersEPERM(err error) bool {
	var failed *plan.StepError
	return errors.As(err, &failed) && errors.Is(err, unix.EPERM) && os.Geteuid() != 0
}

// A helped error comes with a hint of its own.
type helped struct {
	error
	hint string
}

func (h helped) Unwrap() error { return h.error }

// hint returns advice for an error; "" if there is none.
func hint(err error) string {
	var missing notDone
	var wrong usage
	var help helped
	switch {
	case errors.As(err, &help):
		return help.hint
	case errors.As(err, &missing):
		return missing.instead()
	case errors.As(err, &wrong):
		word, _, _ := strings.Cut(wrong.Error(), ":")
		return helpOf(word)
	}
	for _, e := range afterErrors {
		if e.is(err) {
			return e.hint
		}
	}
	return ""
}

// unpacked adds to an error about a compression that minirun does not read how another
// program decompresses the file for the command.
func unpacked(err error, file, command string) error {
	var how image.Compression
	if !errors.As(err, &how) {
		return err
	}
	words := []string{string(how), "-dc", print.Quote(file), "| minirun", command}
	if file == "" || file == "-" {
		words = slices.Delete(words, 2, 3)
	}
	return helped{err, "`" + strings.Join(words, " ") + "`"}
}

// helpOf says where a command is explained, or if the word is none, where all are.
func helpOf(word string) string {
	if !slices.ContainsFunc(commands(), func(c *cli.Command) bool { return c.Name == word }) {
		return listCommands
	}
	return "`minirun " + word + " --help` shows how it is used"
}

// An advice says what to do in place of commands or flags of docker's.
type advice struct{ of, hint string } // of: several have ", " between them

// adviceOn is the hint for one of them; "" if there is none.
func adviceOn(list []advice, what string) string {
	i := slices.IndexFunc(list, func(a advice) bool { return slices.Contains(strings.Split(a.of, ", "), what) })
	if i < 0 {
		return ""
	}
	return list[i].hint
}

// exportTar writes what a running container has below its root, without what is mounted
// there: /proc has files without an end.
const exportTar = "tar -c --one-file-system -C /proc/$(minirun inspect -f '{{.State.Pid}}' CONTAINER)/root ."

// insteadOfCommands are docker's that minirun does not have.
var insteadOfCommands = []advice{
	{"attach", "`minirun exec -it CONTAINER sh` runs a shell in it, `minirun logs -f CONTAINER` shows what it writes"},
	{"build, buildx", "`docker build -t IMAGE . && docker save IMAGE | minirun load`"},
	{"commit", "`" + exportTar + " | minirun import - NAME`, while it runs"},
	{"container", listContainers},
	{"container prune, system prune", "`minirun ps -aq -f status=exited | xargs -r minirun rm` removes the containers that have ended, `minirun prune` images without a name and what unfinished pulls have left"},
	{"cp", "`minirun exec CONTAINER cat /FILE >FILE` copies out of it, `minirun exec -i CONTAINER tee /FILE <FILE >/dev/null` into it"},
	{"create", "`minirun run -d --name NAME IMAGE` makes one and starts it"},
	{"diff", "`find $(minirun inspect -f '{{.GraphDriver.Data.UpperDir}}' CONTAINER)` lists what it has written"},
	{"export", "`" + exportTar + " >FILE || [ $? = 1 ]`, while it runs; tar's status 1 says that a file changed meanwhile"},
	{"history", "`minirun inspect IMAGE` shows its layers"},
	{"image", "`minirun images` lists images, `minirun prune` removes those that have no name"},
	{"info, system, system info", "`minirun doctor` is about this machine, `minirun ps -a` and `minirun images` about what is on it"},
	{"login, logout", "`docker login` writes a name and a password into ~/.docker/config.json, from where minirun reads them"},
	{"search", "`minirun pull IMAGE`, if you know its name"},
	{"network, network ls, network create, network connect", "there is one network, the bridge: several, IPv6, and networks across machines are Docker's and Kubernetes'; `minirun run --network none IMAGE` has loopback alone, `minirun run --network host IMAGE` the machine's network"},
	{"push", "`docker push IMAGE`"},
	{"rename", "`minirun run -d --name NAME IMAGE` makes another one of that name"},
	{"save", "`tar -c -C STORE oci-layout index.json blobs >FILE` writes all images; docker load and minirun load read it"},
	{"stats", "`minirun events --stats CONTAINER`, or `minirun ps --wide`"},
	{"system df", "`minirun images` shows the sizes"},
	{"top", "`minirun ps CONTAINER`, or with what they are to the host `minirun tree CONTAINER`"},
	{"version", "`minirun --version`"},
	{"volume, volume ls", "`minirun run -v ./DIR:/MOUNT IMAGE` mounts a directory"},
	{"wait", "`minirun logs -f CONTAINER >/dev/null 2>&1; minirun inspect -f '{{.State.ExitCode}}' CONTAINER`"},
}

// inBundle is the way to a property of the spec that no flag of run sets.
func inBundle(property string) string {
	return "`mkdir -p DIR/rootfs; minirun inspect -f '{{json .Spec}}' CONTAINER >DIR/config.json` writes down what a stopped container is; with " + property + " in that, `minirun run --bundle DIR NAME` makes it anew"
}

const oneNetwork = "each container has one link, with an IPv4 address that minirun chooses, and finds others by their names: other networks are Docker's and Kubernetes'; `minirun run -d --name NAME IMAGE`"

// insteadOfFlags are docker's that minirun's commands do not have.
var insteadOfFlags = map[string][]advice{
	"run": {
		{"-a, --attach", "`minirun run -i IMAGE` is attached to all three"},
		{"--cgroup-parent", inBundle("linux.cgroupsPath")},
		{"--cgroupns", "`minirun run --without cgroup IMAGE` is in the host's"},
		{"--cidfile", "`minirun run -d IMAGE >FILE`"},
		{"-c, --cpu-shares, --cpu-period, --cpu-quota, --cpuset-cpus, --cpuset-mems", inBundle("linux.resources.cpu")},
		{"--device, --device-cgroup-rule, --gpus", inBundle("linux.devices and linux.resources.devices")},
		{"--dns-opt, --dns-option", "`minirun run -v ./FILE:/etc/resolv.conf:ro IMAGE`"},
		{"--domainname", inBundle("domainname")},
		{"--expose, --link, --ip, --ip6, --mac-address, --network-alias", oneNetwork},
		{"--group-add", inBundle("process.user.additionalGids")},
		{"--init", "a program of the image that reaps, such as tini or a shell, as its first"},
		{"--ipc, --uts", inBundle("another list of linux.namespaces")},
		{"-l, --label, --label-file, --annotation", "`minirun run --name NAME IMAGE`: containers are told apart by their names"},
		{"--log-driver, --log-opt", "`minirun logs CONTAINER`"},
		{"--memory-reservation, --memory-swap, --memory-swappiness, --oom-kill-disable", inBundle("linux.resources.memory")},
		{"--mount, --volumes-from, --volume-driver", "`minirun run -v ./DIR:/MOUNT:ro IMAGE`"},
		{"--oom-score-adj", inBundle("process.oomScoreAdj")},
		{"--pid", "`minirun run --without pid IMAGE` is among the host's processes"},
		{"--platform", "`minirun inspect -f '{{.Architecture}}' IMAGE` says what an image is for"},
		{"--privileged", "`minirun run --without capabilities,seccomp,no_new_privs,masks,devices IMAGE`"},
		{"--restart", "`until minirun run --rm IMAGE; do sleep 1; done`"},
		{"--security-opt", "`minirun run --without seccomp,no_new_privs IMAGE`; no-new-privileges is the default"},
		{"--shm-size", inBundle("another size= of the mount on /dev/shm")},
		{"--stop-signal", "`minirun stop -s TERM CONTAINER`"},
		{"--stop-timeout", "`minirun stop -t 3 CONTAINER`"},
		{"--sysctl", inBundle("linux.sysctl")},
		{"--ulimit", inBundle("process.rlimits")},
		{"--userns", "`minirun inspect -f '{{.HostConfig.UsernsMode}}' CONTAINER` is host if root made it"},
	},
	"exec": {
		{"--env-file", "`minirun exec -e NAME=VALUE CONTAINER COMMAND`"},
		{"--privileged", "`minirun run --cap-add ALL IMAGE`: a program has what its container has"},
	},
	"ps":      {{"-s, --size", "`du -sh $(minirun inspect -f '{{.GraphDriver.Data.UpperDir}}' CONTAINER)`"}},
	"images":  {{"--digests, --tree", "`minirun inspect IMAGE` has its id and its layers"}},
	"inspect": {{"-s, --size", "`du -sh $(minirun inspect -f '{{.GraphDriver.Data.UpperDir}}' CONTAINER)`"}},
	"logs":    {{"-t, --timestamps, --since, --until, --details", "no time is noted: `minirun logs -n 20 CONTAINER` prints the last lines"}},
	"import":  {{"-m, --message, --platform", "`minirun import --change 'LABEL NAME=VALUE' FILE NAME`"}},
}

// instead is what to do in place of something that minirun does not do: docker's way
// has a counterpart, or a flag was misspelt, or else help lists what there is.
func (n notDone) instead() string {
	if n.flag == "" {
		return n.with(adviceOn(insteadOfCommands, n.command))
	}
	flags, command := newApp(nil).Flags, n.command
	if command != "" {
		flags = flagsOf(command)
	}
	if command == "plan" {
		command = "run" // most of its flags
	}
	if h := adviceOn(insteadOfFlags[command], n.flag); h != "" {
		return n.with(h)
	}
	if near := nearest(strings.TrimLeft(n.flag, "-"), longNames(flags)); near != "" {
		return "did you mean --" + near + "?"
	}
	return helpOf(n.command)
}

// with puts what was typed into a hint: the only argument is the container or image that
// the hint is about.
func (n notDone) with(hint string) string {
	hint = strings.ReplaceAll(hint, "STORE", string(bundle.DefaultStore()))
	if len(n.rest) != 1 || !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./:@-]*$`).MatchString(n.rest[0]) {
		return hint
	}
	return strings.NewReplacer("CONTAINER", n.rest[0], "IMAGE", n.rest[0]).Replace(hint)
}

// longNames are the names of flags that are words.
func longNames(flags []cli.Flag) (names []string) {
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				names = append(names, name)
			}
		}
	}
	return names
}
