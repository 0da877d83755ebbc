package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"minirun/container"
	"minirun/container/bundle"
	watching "minirun/container/events"
	"minirun/container/exit"
	"minirun/container/procfs"
	"minirun/namespaces/network/link"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "print all that is known of containers or images, as JSON",
		ArgsUsage: "CONTAINER|IMAGE...",
		Description: "Examples:\n" +
			"   minirun inspect web\n" +
			"   minirun inspect -f '{{.State.Pid}}' web",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print with a Go `TEMPLATE`, or json: on one line"},
			&cli.StringFlag{Name: "type", Usage: "only a `KIND`: container or image"},
		},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return usage{errors.New("inspect: no container or image given")}
			}
			list := []any{}
			var failed error
			for _, word := range c.Args().Slice() {
				found, err := inspect(c, word)
				if err != nil {
					if failed != nil {
						printError(failed)
					}
					failed = err
					continue
				}
				list = append(list, found)
			}
			return errors.Join(printInspected(c, list), failed)
		},
	}
}

func printInspected(c *cli.Context, list []any) error {
	switch c.String("format") {
	case "":
	case "json": // the same, on one line
		return printJSON(c.App.Writer, []any{list})
	default:
		t, err := parseFormat(c.String("format"))
		if err != nil {
			return err
		}
		for _, one := range list {
			if err := t.Execute(c.App.Writer, asJSON(reflect.ValueOf(one))); err != nil {
				return fmt.Errorf("format: %w", err)
			}
			fmt.Fprintln(c.App.Writer)
		}
		return nil
	}
	e := json.NewEncoder(c.App.Writer)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	return e.Encode(list)
}

func inspect(c *cli.Context, word string) (any, error) {
	kind := c.String("type")
	if kind != "" && kind != "container" && kind != "image" {
		return nil, usage{fmt.Errorf("inspect: type %q: want container or image", kind)}
	}
	if kind != "image" {
		b, err := bundleOf(c, word)
		if err == nil {
			return inspectContainer(c, b)
		}
		if kind == "container" || !errors.Is(err, bundle.ErrNoSuch) {
			return nil, err
		}
	}
	s, err := images(c)
	if err != nil {
		return nil, err
	}
	img, err := s.Find(word)
	if errors.Is(err, image.ErrNotFound) {
		return nil, fmt.Errorf("inspect %s: no such container or image", word)
	}
	if err != nil {
		return nil, err
	}
	return inspectImage(img), nil
}

// An inspected container has docker's names for the properties that docker shows.
type inspected struct {
	ID          string `json:"Id"`
	Name        string
	Created     time.Time
	Path        string
	Args        []string
	State       inspectedState
	Image       string // id
	Config      inspectedConfig
	HostConfig  inspectedHost
	GraphDriver struct{ Data map[string]string }
	Mounts      []inspectedMount // those that were asked for with -v

	NetworkSettings inspectedNetwork

	LogPath string // of a detached container; "": it ran attached
	Bundle  string
	Cgroup  string
	Spec    *specs.Spec // the whole config.json
}

type inspectedMount struct {
	Type        string
	Source      string
	Destination string
	Mode        string // "ro" or ""
	RW          bool
	Propagation string
}

// An inspectedNetwork has no address if loopback is all that there is, or if the network is
// the host's or another container's.
type inspectedNetwork struct {
	IPAddress   string
	IPPrefixLen int
	Gateway     string               // the bridge's address, and so the host's
	Link        string               // the host's end of the container's eth0
	Ports       map[string][]binding // null: not published
}

type inspectedState struct {
	Status     string
	Running    bool
	Paused     bool
	OOMKilled  bool
	Pid        int
	Monitor    int `json:",omitempty"` // the minirunc that waits for the end; 0: nobody does
	ExitCode   int
	StartedAt  time.Time
	FinishedAt time.Time
}

type inspectedConfig struct {
	Hostname   string
	User       string
	Tty        bool
	Env        []string
	Cmd        []string
	Image      string
	WorkingDir string
	StopSignal string
}

type inspectedHost struct {
	Memory         int64
	NanoCpus       int64
	PidsLimit      int64
	ReadonlyRootfs bool
	NetworkMode    string
	PortBindings   map[string][]binding
	AutoRemove     bool
	Capabilities   []string
	SecurityOpt    []string
	PidMode        string // "host", or "private": a namespace of its own
	IpcMode        string
	UTSMode        string
	CgroupnsMode   string
	UsernsMode     string
	MaskedPaths    []string
	ReadonlyPaths  []string
	Without        []string // the layers that run --without has left out
}

func inspectContainer(c *cli.Context, b *bundle.Bundle) (inspected, error) {
	i := inspected{ID: b.ID, Name: "/" + b.Annotation(bundle.Name), Created: b.CreatedAt(), Image: "sha256:" + b.Annotation(bundle.ImageID), Bundle: b.Dir, Spec: b.Spec}
	i.State.Status = "created"
	if b.HasRun {
		i.State.Status = "exited"
	}
	if info, err := os.Lstat(filepath.Join(b.Dir, logFile)); err == nil && info.Mode().IsRegular() {
		i.LogPath = filepath.Join(b.Dir, logFile)
	}
	k, err := root(c).Load(b.ID)
	if err == nil {
		i.Cgroup = k.Cgroup
		i.State, err = stateOf(k)
	}
	if err = ignore(err, container.ErrNotExist); err != nil {
		return i, err
	}
	p := b.Spec.Process
	if p == nil {
		return i, nil // its making was cut short
	}
	i.Path, i.Args = p.Args[0], p.Args[1:]
	i.Config = inspectedConfig{Hostname: b.Spec.Hostname, User: fmt.Sprintf("%d:%d", p.User.UID, p.User.GID), Tty: p.Terminal, Env: p.Env, Cmd: p.Args,
		Image: b.Annotation(bundle.Image), WorkingDir: p.Cwd, StopSignal: b.Annotation(bundle.Signal)}
	i.HostConfig = hostConfig(b)
	i.GraphDriver.Data = overlayData(b)
	i.Mounts, i.NetworkSettings.Ports = volumes(b), bindings(b.Annotation(bundle.Ports), b.Published())
	if i.State.Running {
		i.NetworkSettings.take(linkOf(b))
	}
	return i, nil
}

// take adds the link of a container on the bridge; nil if it is on none.
func (n *inspectedNetwork) take(l *link.Config) {
	if l == nil {
		return
	}
	n.IPAddress, n.IPPrefixLen, n.Gateway, n.Link = l.Address.Addr().String(), l.Address.Bits(), l.Gateway.String(), l.Name()
}

// isSeparator is for annotations that are lists.
func isSeparator(r rune) bool { return r == ',' || r == ' ' }

// volumes are the mounts that the user asked for. The host's /proc and /sys, which some
// containers of an ordinary user get in place of their own, are none.
func volumes(b *bundle.Bundle) []inspectedMount {
	list := []inspectedMount{}
	for _, m := range b.Spec.Mounts {
		if m.Type != "bind" || b.IsEtc(m) || m.Destination == "/proc" || m.Destination == "/sys" || strings.HasPrefix(m.Destination, "/sys/") {
			continue
		}
		v := inspectedMount{Type: "bind", Source: m.Source, Destination: m.Destination, RW: true}
		for _, o := range m.Options {
			switch {
			case o == "ro" || o == "rro":
				v.Mode, v.RW = "ro", false
			case slices.Contains([]string{"private", "slave", "shared", "unbindable"}, strings.TrimPrefix(o, "r")):
				v.Propagation = o
			}
		}
		list = append(list, v)
	}
	return list
}

func stateOf(k *container.Container) (inspectedState, error) {
	s := inspectedState{StartedAt: k.Started}
	var err error
	if s.Status, err = statusWord(k); err != nil {
		return s, err
	}
	s.Running, s.Paused = s.Status == "running" || s.Status == "paused", s.Status == "paused"
	if s.Status != "exited" { // it has a process also while it is made, which --step makes slow
		s.Pid, s.Monitor = k.Pid, monitorOf(k.Pid)
	}
	if e, ok := exit.Read(k.Dir(), k.Identity); ok {
		s.ExitCode, s.FinishedAt = e.Code, e.At
	}
	s.OOMKilled = watching.OOMKilled(k)
	return s, nil
}

// monitorOf is the pid of the minirunc that is the parent of a process, or 0.
func monitorOf(pid int) int {
	p, err := procfs.One("/proc", pid)
	if err != nil {
		return 0
	}
	if parent, err := procfs.One("/proc", p.Parent); err != nil || parent.Name != "minirunc" {
		return 0
	}
	return p.Parent
}

// statusWord is docker's word for a status.
func statusWord(k *container.Container) (string, error) {
	s, err := k.Status()
	if err != nil {
		return "", fmt.Errorf("state of %s: %w", k.ID, err)
	}
	switch s {
	case specs.StateStopped:
		return "exited", nil
	case specs.StateCreating: // its program does not run yet
		return "created", nil
	}
	return string(s), nil
}

func hostConfig(b *bundle.Bundle) inspectedHost {
	l := b.Spec.Linux
	h := inspectedHost{ReadonlyRootfs: b.Spec.Root.Readonly, NetworkMode: "host", AutoRemove: b.Annotation(bundle.Remove) != "", Capabilities: b.Spec.Process.Capabilities.Bounding}
	if mode(l, specs.NetworkNamespace) != "host" { // a bundle of an earlier minirun does not say which
		h.NetworkMode = cmp.Or(b.Annotation(bundle.Network), "none")
	}
	h.PortBindings = bindings("", b.Published())
	h.PidMode, h.IpcMode, h.UTSMode = mode(l, specs.PIDNamespace), mode(l, specs.IPCNamespace), mode(l, specs.UTSNamespace)
	h.CgroupnsMode, h.UsernsMode = mode(l, specs.CgroupNamespace), mode(l, specs.UserNamespace)
	h.MaskedPaths, h.ReadonlyPaths = l.MaskedPaths, l.ReadonlyPaths
	h.Without = strings.FieldsFunc(b.Annotation(bundle.Without), isSeparator)
	if b.Spec.Process.NoNewPrivileges {
		h.SecurityOpt = append(h.SecurityOpt, "no-new-privileges")
	}
	if l.Seccomp == nil {
		h.SecurityOpt = append(h.SecurityOpt, "seccomp=unconfined")
	}
	r := l.Resources
	if r == nil {
		return h
	}
	if r.Memory != nil && r.Memory.Limit != nil {
		h.Memory = *r.Memory.Limit
	}
	if r.CPU != nil && r.CPU.Quota != nil && r.CPU.Period != nil {
		h.NanoCpus = *r.CPU.Quota * 1e9 / int64(*r.CPU.Period)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		h.PidsLimit = *r.Pids.Limit
	}
	return h
}

// mode says whether the container has a namespace of its own.
func mode(l *specs.Linux, kind specs.LinuxNamespaceType) string {
	if slices.ContainsFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind }) {
		return "private"
	}
	return "host"
}

// overlayData tells where the layers of the root are; the merged view exists
// only in the container's mount namespace.
func overlayData(b *bundle.Bundle) map[string]string {
	data := map[string]string{"MergedDir": filepath.Join(b.Dir, "rootfs")}
	for _, m := range b.Spec.Mounts {
		for _, o := range m.Options {
			for key, name := range map[string]string{"lowerdir=": "LowerDir", "upperdir=": "UpperDir", "workdir=": "WorkDir"} {
				if value, ok := strings.CutPrefix(o, key); ok && m.Type == "overlay" {
					data[name] = value
				}
			}
		}
	}
	return data
}

func inspectImage(img *image.Image) any {
	var names []string
	for _, n := range img.Names {
		names = append(names, n.Familiar())
	}
	return struct {
		ID           string `json:"Id"`
		RepoTags     []string
		Created      *time.Time
		Architecture string
		Os           string
		Config       image.RunConfig
		Size         int64
		RootFS       image.RootFS
		Layers       []string // directories, the topmost first
	}{"sha256:" + img.ID.Hex(), names, img.Config.Created, img.Config.Architecture, img.Config.OS, img.Config.Config, img.Size, img.Config.RootFS, img.Layers()}
}
