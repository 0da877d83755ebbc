package bundle

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/files"
	"minirun/container/users"
	"minirun/namespaces/network"
	"minirun/rootfs/file"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Request is what the user of `run IMAGE` asks for. The zero value asks for
// the image's own program with the defaults.
type Request struct {
	Name       string   // "": one is made up
	Args       []string // instead of the image's command
	Entrypoint *string  // instead of the image's; "" for none
	Terminal   bool
	Env        []string // NAME=value, or NAME to pass on the caller's
	Volumes    []string // source:destination[:ro]
	Tmpfs      []string // destination[:options]
	User       string   // instead of the image's
	Workdir    string
	Hostname   string
	ReadOnly   bool

	Network     string         // "none", "host", "bridge" or "container:ID"; "" is none
	NetworkPath string         // the network namespace of that container; else ""
	Publish     []network.Port // the host's ports that lead to the container's
	Rate        network.Rate   // the bandwidth of the link
	Etc

	Memory  int64 // bytes; 0: no limit
	CPUs    float64
	Pids    int64 // 0: no limit
	CapAdd  []string
	CapDrop []string
	Remove  bool
	Systemd bool     // systemd decides where the cgroup is
	Without []string // layers to take away, see [LayerNames]; nil: none

	ConsoleSize *specs.Box
	Annotations map[string]string // more of them, of a pod; nil: none
}

// Make writes the bundle for a request. On failure nothing is left.
func (s Store) Make(img *image.Image, r Request) (*Bundle, error) {
	if err := img.Unpacked(); err != nil {
		return nil, err
	}
	b, name, err := s.create(r.Name)
	if err != nil {
		return nil, err
	}
	r.Name = name
	if err := b.fill(img, r); err != nil {
		b.Spec = &specs.Spec{Annotations: map[string]string{Name: name}}
		if gone := s.Delete(b); gone != nil {
			return nil, fmt.Errorf("%w (and %w)", err, gone)
		}
		return nil, err
	}
	return b, nil
}

// Preview is the bundle that Make would make, with nothing on disk.
func (s Store) Preview(img *image.Image, r Request, id string) (*Bundle, error) {
	b := &Bundle{ID: id, Dir: filepath.Join(s.containers(), id)}
	return b, b.describe(img, r)
}

// fill writes what is in the bundle's directory.
func (b *Bundle) fill(img *image.Image, r Request) error {
	if err := b.describe(img, r); err != nil {
		return err
	}
	if err := errors.Join(b.linkLayers(img.Layers()), b.addMountPoints(img), r.writeEtc(b)); err != nil {
		return err
	}
	return b.save()
}

// describe works out the spec.
func (b *Bundle) describe(img *image.Image, r Request) error {
	config := img.Config.Config
	args, err := r.command(img)
	if err != nil {
		return err
	}
	spec, err := r.spec(b, img)
	if err != nil {
		return err
	}
	user, home, err := r.user(img)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 && !(isMapped(spec.Linux.UIDMappings, user.UID) && isMapped(spec.Linux.GIDMappings, user.GID)) {
		return fmt.Errorf("user %d:%d: an ordinary user's container has no such id: only root, which is that user outside, and the ids that /etc/subuid and /etc/subgid give, if newuidmap(1) is there to map them", user.UID, user.GID)
	}
	spec.Process.Args, spec.Process.User = args, user
	spec.Process.Env = r.environment(config.Env, home)
	spec.Process.Cwd = firstOf(r.Workdir, config.WorkingDir, "/")
	spec.Annotations = map[string]string{Name: r.Name, Image: name(img), ImageID: img.ID.Hex(), Command: strings.Join(args, " "),
		Created: time.Now().UTC().Format(time.RFC3339Nano), Ports: ports(config.ExposedPorts), Signal: config.StopSignal, Network: r.Network}
	maps.Copy(spec.Annotations, r.Annotations)
	if len(r.Publish) > 0 {
		spec.Annotations[Published] = portWords(r.Publish)
	}
	if text := r.Rate.String(); text != "" {
		spec.Annotations[Rate] = text
	}
	if layers := img.Layers(); len(layers) > manyLayers {
		spec.Annotations[Layers] = diffIDs(layers)
	}
	if r.Remove {
		spec.Annotations[Remove] = "true"
	}
	if len(r.Without) > 0 {
		spec.Annotations[Without] = strings.Join(r.Without, ", ")
	}
	b.Spec = spec
	return nil
}

// name is what the image is called; its id if it has no name.
func name(img *image.Image) string {
	if len(img.Names) > 0 {
		return img.Names[0].Familiar()
	}
	return img.ID.Hex()[:12]
}

// firstOf is the first word that is not empty.
func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// command works out what to run: entrypoint and command, of the request or of
// the image. A new entrypoint takes the image's command away. In an image [""] is none:
// with that a Dockerfile takes the entrypoint of its base image away.
func (r Request) command(img *image.Image) (args []string, err error) {
	entrypoint, cmd := img.Config.Config.Entrypoint, img.Config.Config.Cmd
	if slices.Equal(entrypoint, []string{""}) {
		entrypoint = nil
	}
	if r.Entrypoint != nil {
		entrypoint, cmd = nil, nil
		if *r.Entrypoint != "" {
			entrypoint = []string{*r.Entrypoint}
		}
	}
	if len(r.Args) > 0 {
		cmd = r.Args
	}
	args = append(slices.Clone(entrypoint), cmd...)
	if len(args) == 0 {
		return nil, fmt.Errorf("image %s: names no command, and none was given", name(img))
	}
	return args, nil
}

// environment returns the program's variables: PATH, the image's, HOME, HOSTNAME
// (if the request names one), TERM (with a terminal), and the request's. Of two
// variables with one name the later wins.
func (r Request) environment(image []string, home string) []string {
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, image...)
	env = append(env, "HOME="+firstOf(home, "/"))
	if r.Hostname != "" {
		env = append(env, "HOSTNAME="+r.Hostname)
	}
	if r.Terminal {
		env = append(env, "TERM=xterm")
	}
	for _, e := range r.Env {
		if !strings.Contains(e, "=") {
			value, ok := os.LookupEnv(e)
			if !ok {
				continue // as docker: what the caller does not have is not passed on
			}
			e += "=" + value
		}
		env = append(env, e)
	}
	return lastWins(env)
}

// lastWins keeps of variables with one name the last, in the place of the first.
func lastWins(env []string) []string {
	place := map[string]int{}
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := place[name]; ok {
			kept[i] = e
			continue
		}
		place[name] = len(kept)
		kept = append(kept, e)
	}
	return kept
}

// user looks the user up in the files that the container will see, because a name such as
// www-data has another number in every image. It also returns the home directory.
func (r Request) user(img *image.Image) (specs.User, string, error) {
	v := img.View()
	for _, text := range r.Volumes {
		if m, err := volume(text); err == nil { // else mounts says what is wrong
			v.Mount(m.Source, m.Destination)
		}
	}
	return users.Lookup(firstOf(r.User, img.Config.Config.User), func(path string) (*os.File, error) {
		dir, below, err := v.Locate(path)
		if err != nil {
			return nil, err
		}
		return file.Open(dir, below)
	})
}

// ports lists the ports that an image says it listens on, in the form of docker ps.
func ports(exposed map[string]struct{}) string {
	var list []string
	for p := range exposed {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		list = append(list, p)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// volume turns source:destination[:ro|:rw] into a bind mount. source is a path on
// the host, which must exist, relative to the working directory of the caller.
func volume(v string) (specs.Mount, error) {
	parts := strings.Split(v, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !filepath.IsAbs(parts[1]) {
		return specs.Mount{}, fmt.Errorf("volume %q: want source:/destination or source:/destination:ro", v)
	}
	source, err := filepath.Abs(parts[0])
	if err != nil {
		return specs.Mount{}, err
	}
	if _, err := os.Stat(source); err != nil && !strings.Contains(parts[0], "/") {
		return specs.Mount{}, fmt.Errorf("volume %q: %w (volumes have no names here: give a path)", v, err)
	} else if err != nil {
		return specs.Mount{}, fmt.Errorf("volume %q: %w", v, err)
	}
	m := specs.Mount{Destination: parts[1], Type: "bind", Source: source, Options: []string{"rbind", "rprivate"}}
	if len(parts) == 3 {
		if parts[2] != "ro" && parts[2] != "rw" {
			return specs.Mount{}, fmt.Errorf("volume %q: option %q: want ro or rw", v, parts[2])
		}
		m.Options = append(m.Options, "r"+parts[2])
	}
	return m, nil
}

// tmpfs turns destination[:options] into the mount of an empty file system in memory. As
// with docker no program of it runs, unless an option says so.
func tmpfs(t string) (specs.Mount, error) {
	destination, options, _ := strings.Cut(t, ":")
	if !filepath.IsAbs(destination) {
		return specs.Mount{}, fmt.Errorf("tmpfs %q: want /destination or /destination:options, such as /run:size=64m", t)
	}
	m := specs.Mount{Destination: destination, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "noexec"}}
	if options != "" {
		m.Options = append(m.Options, strings.Split(options, ",")...)
	}
	return m, nil
}

// addMountPoints makes empty files on which the bundle's own are mounted (etc.go). They are
// put where the container's own first writes would go. An image may have a link there
// instead: the empty file takes its place, as it does with Docker.
func (b *Bundle) addMountPoints(img *image.Image) error {
	etc, err := b.copyDirectories(img, "etc")
	if err != nil {
		return err
	}
	for _, name := range etcFiles {
		if err := files.Replace(filepath.Join(etc, name), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyDirectories makes a directory, and those on the way to it, where the container's own
// writes go, and returns its path. If the image has the directory, it has its mode and
// owner: overlayfs shows those of the topmost. If the image has a link instead, the
// directory that it leads to is made: the link would be covered, and with it all that the
// container should see there.
func (b *Bundle) copyDirectories(img *image.Image, name string) (string, error) {
	v := img.View()
	place, stat, err := v.Find(name)
	if err != nil || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		place = name
	}
	made, dir := "", filepath.Join(b.Dir, "upper")
	for part := range strings.SplitSeq(place, "/") {
		made, dir = filepath.Join(made, part), filepath.Join(dir, part)
		if err := files.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		_, stat, err := v.Find(made)
		if err != nil || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue // the image does not have it
		}
		if os.Geteuid() == 0 {
			err = os.Lchown(dir, int(stat.Uid), int(stat.Gid))
		}
		if err = errors.Join(err, unix.Chmod(dir, stat.Mode&0o7777)); err != nil {
			return "", err
		}
	}
	return dir, nil
}
