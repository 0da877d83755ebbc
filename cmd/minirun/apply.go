package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/container/bundle"
	"minirun/container/manifest"
	"minirun/container/manifest/difference"
	"minirun/namespaces/network"
	"minirun/plan"
	"minirun/plan/print"
)

// A manifest says which pods there shall be. apply compares that with the containers that carry
// the annotations below, and makes or removes the difference. It keeps no list of its own, so it
// may be killed anywhere: the next apply looks again, and does what is missing.
//
//	flock             two applies at once: the second waits
//	make pods         each as run -d does, some at the same time
//	serve             the services lead to the pods that stay, and to no other
//	remove pods       last, so no connection goes to a pod that is being removed
//
// There is no daemon: a pod that has ended is replaced by the next apply.

func applyCommand() *cli.Command {
	return &cli.Command{
		Name:  "apply",
		Usage: "make the pods and services of a manifest, or what is missing of them",
		Description: "There is no daemon: a pod that has ended is made anew by the next apply. Examples:\n" +
			"   minirun apply -f httpd.yaml\n" +
			"   minirun apply --dry-run -f httpd.yaml   say what would be done",
		Flags: append(manifestFlags(),
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done"}),
		Action: apply,
	}
}

// manifestFlags are those of all commands that read manifests.
func manifestFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "filename", Aliases: []string{"f"}, Usage: "read `FILE`, the .yaml and .yml files of a directory, or - for standard input"},
		&cli.BoolFlag{Name: "lenient", Usage: "warn of fields that minirun does not know, and leave them out"},
	}
}

// apply makes what is missing.
func apply(c *cli.Context) error {
	objects, err := readManifests(c)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		actions, err := wanted(c, objects)
		if err == nil {
			difference.Print(c.App.Writer, actions)
		}
		return err
	}
	unlock, err := begin(c, objects)
	if err != nil {
		return err
	}
	defer unlock()
	actions, err := wanted(c, objects)
	if err != nil {
		return err
	}
	if err := enough(actions); err != nil {
		return err
	}
	if err := portsFree(c, objects); err != nil {
		return err
	}
	for _, a := range actions {
		if err := makePods(c, a); err != nil {
			return err
		}
	}
	if err := serveAll(c, objects, actions); err != nil {
		return err
	}
	for _, a := range actions {
		if err := removePods(c, a.Remove); err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "%s %s\n", a.Owner, a.Word())
	}
	return nil
}

// readManifests reads all files that the command line names.
func readManifests(c *cli.Context) (all []manifest.Object, err error) {
	names := c.StringSlice("filename")
	if len(names) == 0 || c.Args().Present() {
		return nil, usage{fmt.Errorf("%s: want -f FILE", c.Command.Name)}
	}
	files, err := manifestFiles(names)
	if err != nil {
		return nil, err
	}
	seen := map[string]manifest.Place{}
	for _, name := range files {
		data, err := readLimited(name)
		if err != nil {
			return nil, err
		}
		objects, warnings, err := manifest.Parse(name, data, manifest.Options{Lenient: c.Bool("lenient")})
		if err != nil {
			return nil, err
		}
		for _, w := range warnings {
			warn(w.Error())
		}
		for _, o := range objects {
			if at, twice := seen[difference.Owner(o)]; twice {
				return nil, fmt.Errorf("%v: %s: is at %v, too", o.Place, difference.Owner(o), at)
			}
			seen[difference.Owner(o)] = o.Place
		}
		all = append(all, objects...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no object in it", strings.Join(names, ", "))
	}
	return all, nil
}

// manifestFiles are the named files, and those in named directories.
func manifestFiles(names []string) (files []string, err error) {
	for _, name := range names {
		info, err := os.Stat(name)
		if name == "-" || err == nil && !info.IsDir() {
			files = append(files, name)
			continue
		} else if err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
				files = append(files, filepath.Join(name, e.Name()))
			}
		}
	}
	return files, nil
}

// readLimited reads no more of a file than Parse needs to see that it is too long.
func readLimited(name string) ([]byte, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	return io.ReadAll(io.LimitReader(f, manifest.Longest+1))
}

// begin waits until nobody else applies or deletes, and removes what those have left who were killed.
func begin(c *cli.Context, objects []manifest.Object) (unlock func(), err error) {
	if unlock, err = lockManifests(c); err != nil {
		return nil, err
	}
	if err = sweep(c, objects); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// lockManifests keeps other applies and deletes waiting (flock(2)); the kernel unlocks if we die.
func lockManifests(c *cli.Context) (unlock func(), err error) {
	dir := string(store(c))
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "apply.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		warn("another apply or delete is at work: waiting for it")
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// wanted is the difference between the objects and the pods that exist.
func wanted(c *cli.Context, objects []manifest.Object) ([]difference.Action, error) {
	for _, o := range objects {
		if err := possible(o); err != nil {
			return nil, err
		}
	}
	pods, err := existing(c)
	if err != nil {
		return nil, err
	}
	return difference.Of(objects, pods)
}

// sweep removes what was left by those that were killed: an apply's half-made pods, and the
// elements of pods whose monitors were killed with them.
func sweep(c *cli.Context, objects []manifest.Object) error {
	if err := sweepUnfinished(c, objects); err != nil || network.Possible() != nil {
		return err
	}
	return network.Sweep()
}

// sweepUnfinished removes what an apply that was killed has begun: bundles with a pod's name and
// without a config.json. The caller holds the lock, so nobody is making a pod.
func sweepUnfinished(c *cli.Context, objects []manifest.Object) error {
	found, err := store(c).Unfinished()
	if err != nil {
		return err
	}
	for name, b := range found {
		if slices.ContainsFunc(objects, func(o manifest.Object) bool { return isPodOf(o, name) }) {
			if err := store(c).Delete(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// isPodOf says whether a name is that of an object's pod: web-6f9c4d7b58-x7k2p of web.
func isPodOf(o manifest.Object, name string) bool {
	if o.Deployment == nil {
		return o.Pod != nil && name == o.Name()
	}
	rest, ok := strings.CutPrefix(name, o.Name()+"-")
	hash, random, both := strings.Cut(rest, "-")
	return ok && both && len(hash) == 10 && len(random) == 5
}

// podSpec is what an object's pods are made of; nil if it has none.
func podSpec(o manifest.Object) (*manifest.PodSpec, map[string]string) {
	switch {
	case o.Deployment != nil:
		t := &o.Deployment.Spec.Template
		return &t.Spec, t.Metadata.Labels
	case o.Pod != nil:
		return &o.Pod.Spec, o.Pod.Metadata.Labels
	}
	return nil, nil
}

// possible refuses what manifests may say but minirun does not do.
func possible(o manifest.Object) error {
	if o.Service != nil {
		for _, p := range o.Service.Spec.Ports {
			if p.TargetPort.Name != "" {
				return fmt.Errorf("%v: %s: targetPort %q: minirun wants its number", o.Place, difference.Owner(o), p.TargetPort.Name)
			}
		}
		return nil
	}
	s, _ := podSpec(o)
	if len(s.Containers) > 1 {
		return fmt.Errorf("%v: %s: has %d containers: minirun makes pods of one", o.Place, difference.Owner(o), len(s.Containers))
	}
	refuse := func(field string) error {
		return fmt.Errorf("%v: %s: %s: this is not done yet", o.Place, difference.Owner(o), field)
	}
	switch k := s.Containers[0]; {
	case k.Resources.Requests != manifest.Amounts{}:
		return refuse("resources.requests")
	case k.ImagePullPolicy == "Always":
		return refuse("imagePullPolicy: Always")
	case o.Pod != nil && s.RestartPolicy != "" && s.RestartPolicy != "Never":
		return refuse("restartPolicy: " + s.RestartPolicy)
	}
	for _, v := range s.Volumes {
		if v.HostPath != nil && v.HostPath.Type != "" {
			return refuse("hostPath.type")
		}
		if v.EmptyDir != nil && v.EmptyDir.Medium != "Memory" {
			return fmt.Errorf("%v: %s: volume %s: minirun makes an emptyDir with medium: Memory only", o.Place, difference.Owner(o), v.Name)
		}
	}
	return nil
}

// existing are the pods that there are: one container each.
func existing(c *cli.Context) (pods []difference.Existing, err error) {
	bundles, err := store(c).List()
	if err != nil {
		return nil, err
	}
	for _, b := range bundles {
		if b.Annotation(bundle.Owner) == "" {
			continue
		}
		pods = append(pods, difference.Existing{Name: b.Annotation(bundle.Name), Owner: b.Annotation(bundle.Owner),
			Hash: b.Annotation(bundle.Template), Running: runs(c, b), Created: b.CreatedAt()})
	}
	return pods, nil
}

// runs says whether a bundle's container runs.
func runs(c *cli.Context, b *bundle.Bundle) bool {
	k, err := root(c).Load(b.ID)
	if err != nil {
		return false
	}
	word, err := statusWord(k)
	return err == nil && (word == "running" || word == "paused")
}

// bridgePorts is how many ports the kernel gives a bridge (BR_MAX_PORTS), less the one for itself.
const bridgePorts = 1023

// enough refuses what the machine cannot hold, before anything is made.
func enough(actions []difference.Action) error {
	n := 0
	for _, a := range actions {
		n += a.Make + len(a.Keep)
	}
	if n > bridgePorts-bridgePorts/16 {
		return fmt.Errorf("%d pods: a bridge has %d ports, and its network 1022 addresses: want at most %d pods", n, bridgePorts, bridgePorts-bridgePorts/16)
	}
	return nil
}

// parallel calls do for 0 to n-1, for some at the same time. After an error it begins no more.
func parallel(n int, do func(i int) error) error {
	var group sync.WaitGroup
	var mutex sync.Mutex
	var failed error
	places := make(chan bool, 2*runtime.NumCPU())
	for i := range n {
		places <- true
		mutex.Lock()
		stop := failed != nil
		mutex.Unlock()
		if stop {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			if err := do(i); err != nil {
				mutex.Lock()
				failed = errors.Join(failed, err)
				mutex.Unlock()
			}
		})
	}
	group.Wait()
	return failed
}

// makePods makes the pods that are missing.
func makePods(c *cli.Context, a difference.Action) error {
	if a.Object.Pod != nil && a.Make > 0 { // the new one has the name of the old one
		if err := removePods(c, a.Remove); err != nil {
			return err
		}
	}
	return parallel(a.Make, func(int) error { return makePod(c, a) })
}

// makePod makes one pod and starts it. If it does not start nothing of it is left.
func makePod(c *cli.Context, a difference.Action) error {
	r, err := podRequest(c, a, strings.ToLower(rand.Text()[:5]))
	if err != nil {
		return err
	}
	s, err := images(c)
	if err != nil {
		return err
	}
	release, err := s.Hold()
	if err != nil {
		return err
	}
	spec, _ := podSpec(a.Object)
	img, err := s.Find(spec.Containers[0].Image)
	var b *bundle.Bundle
	if err == nil {
		b, err = store(c).Make(img, r)
	}
	release()
	if err != nil {
		return fmt.Errorf("pod %s: %w", r.Name, err)
	}
	if err := start(c, b.ID); err != nil {
		gone := &departed{}
		return errors.Join(fmt.Errorf("pod %s: %w", r.Name, err), ignore(removeBy(c, b.ID, true, gone), bundle.ErrNoSuch), leave(c, gone.list...))
	}
	return nil
}

// podRequest is what run would be asked for.
func podRequest(c *cli.Context, a difference.Action, random string) (bundle.Request, error) {
	spec, labels := podSpec(a.Object)
	k := spec.Containers[0]
	name := a.PodName(random)
	mode, err := chosenNetwork(c)
	r := bundle.Request{Name: name, Args: k.Args, Workdir: k.WorkingDir, Hostname: spec.Hostname, Network: mode,
		Memory: int64(k.Resources.Limits.Memory), CPUs: float64(k.Resources.Limits.CPU) / 1000, Systemd: bySystemd(c),
		Annotations: map[string]string{bundle.Owner: a.Owner, bundle.Template: a.Hash, bundle.Labels: labelWords(labels)}}
	if r.Hostname == "" {
		r.Hostname = name
	}
	if len(k.Command) > 0 {
		r.Entrypoint, r.Args = &k.Command[0], append(slices.Clone(k.Command[1:]), k.Args...)
	}
	for _, e := range k.Env {
		r.Env = append(r.Env, e.Name+"="+e.Value)
	}
	for _, m := range k.VolumeMounts {
		i := slices.IndexFunc(spec.Volumes, func(v manifest.Volume) bool { return v.Name == m.Name })
		mountPod(&r, spec.Volumes[i], m)
	}
	return r, err
}

// labelWords are labels as the annotation has them: sorted, each on a line.
func labelWords(labels map[string]string) string {
	var words []string
	for key, value := range labels {
		words = append(words, key+"="+value)
	}
	slices.Sort(words)
	return strings.Join(words, "\n")
}

// selects says whether a pod has all labels of a selector.
func selects(selector map[string]string, b *bundle.Bundle) bool {
	labels := strings.Split(b.Annotation(bundle.Labels), "\n")
	for key, value := range selector {
		if !slices.Contains(labels, key+"="+value) {
			return false
		}
	}
	return b.Annotation(bundle.Owner) != ""
}

// mountPod is a volume as run's flags would have it.
func mountPod(r *bundle.Request, v manifest.Volume, m manifest.VolumeMount) {
	if v.EmptyDir != nil {
		options := ":exec"
		if v.EmptyDir.SizeLimit > 0 {
			options += fmt.Sprintf(",size=%d", v.EmptyDir.SizeLimit)
		}
		if m.ReadOnly {
			options += ",ro"
		}
		r.Tmpfs = append(r.Tmpfs, m.MountPath+options)
		return
	}
	mode := ":rw"
	if m.ReadOnly {
		mode = ":ro"
	}
	r.Volumes = append(r.Volumes, v.HostPath.Path+":"+m.MountPath+mode)
}

// removePods removes pods, for some at the same time.
func removePods(c *cli.Context, names []string) error {
	gone := &departed{}
	err := parallel(len(names), func(i int) error {
		b, err := store(c).Find(names[i])
		if err == nil {
			err = removeBy(c, b.ID, true, gone)
		}
		return ignore(err, bundle.ErrNoSuch) // somebody else has removed it
	})
	return errors.Join(err, leave(c, gone.list...))
}

// serveAll lets the services lead to the pods that stay, and to no other.
func serveAll(c *cli.Context, objects []manifest.Object, actions []difference.Action) error {
	going := map[string]bool{}
	for _, a := range actions {
		for _, name := range a.Remove {
			going[name] = true
		}
	}
	for _, o := range objects {
		if o.Service == nil {
			continue
		}
		if err := serve(c, o, going); err != nil {
			return fmt.Errorf("%s: %w", difference.Owner(o), err)
		}
	}
	return nil
}

// portsFree refuses, before anything is made, a service whose port is somebody else's.
func portsFree(c *cli.Context, objects []manifest.Object) error {
	for _, o := range objects {
		if o.Service == nil {
			continue
		}
		if err := network.Possible(); err != nil {
			return fmt.Errorf("%s: %w", difference.Owner(o), err)
		}
		own, err := backends(c, o.Service, nil)
		if err != nil {
			return err
		}
		but := map[netip.Addr]bool{}
		for _, a := range own {
			but[a] = true
		}
		for i := range o.Service.Spec.Ports {
			if err := network.InUse(hostPort(o.Service, i), but); err != nil {
				return fmt.Errorf("%v: %s: %w", o.Place, difference.Owner(o), err)
			}
		}
	}
	return nil
}

// backends are the addresses of the pods that a service selects, but for those that go.
func backends(c *cli.Context, s *manifest.Service, going map[string]bool) (to []netip.Addr, err error) {
	bundles, err := store(c).List()
	if err != nil {
		return nil, err
	}
	h, err := network.Look()
	if err != nil {
		return nil, err
	}
	at := h.Addresses()
	for _, b := range bundles {
		if a, ok := at[b.ID]; ok && selects(s.Spec.Selector, b) && !going[b.Annotation(bundle.Name)] {
			to = append(to, a)
		}
	}
	slices.SortFunc(to, netip.Addr.Compare)
	return to, nil
}

// serve spreads each port of a service over the pods that it selects.
func serve(c *cli.Context, o manifest.Object, going map[string]bool) error {
	release, err := network.Hold()
	if err != nil {
		return err
	}
	defer release()
	to, err := backends(c, o.Service, going)
	if err == nil && len(to) > 0 {
		_, err = network.Ensure(netip.Prefix{}, plan.Options{Notation: print.Step})
	}
	if err != nil {
		return err
	}
	before, err := network.Elements()
	if err != nil {
		return err
	}
	word := "unchanged"
	for i := range o.Service.Spec.Ports {
		p := hostPort(o.Service, i)
		old := slices.DeleteFunc(slices.Clone(before), func(e network.Element) bool {
			return e.Port.Protocol != p.Protocol || e.Port.Host != p.Host || e.Port.Address != p.Address
		})
		slices.SortFunc(old, func(a, b network.Element) int { return cmp.Compare(a.First, b.First) })
		if slices.Equal(old, network.Spread(p, to)) {
			continue
		}
		word = "configured"
		if len(old) == 0 {
			word = "created"
		}
		if err := network.Serve(p, to); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.App.Writer, "%s %s\n", difference.Owner(o), word)
	return nil
}

// hostPort is the i-th port of a service, as package network has it.
func hostPort(s *manifest.Service, i int) network.Port {
	p := s.Spec.Ports[i]
	target := p.TargetPort.Number
	if target == 0 {
		target = p.Port
	}
	protocol := "tcp"
	if p.Protocol == "UDP" {
		protocol = "udp"
	}
	return network.Port{Protocol: protocol, Host: uint16(s.Spec.HostPort(i)), Container: uint16(target)}
}

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name:  "delete",
		Usage: "remove the pods and services of a manifest",
		Description: "Example:\n" +
			"   minirun delete -f httpd.yaml",
		Flags:  manifestFlags(),
		Action: deleteObjects,
	}
}

// deleteObjects first lets the services lead nowhere, and then removes the pods.
func deleteObjects(c *cli.Context) error {
	objects, err := readManifests(c)
	if err != nil {
		return err
	}
	unlock, err := begin(c, objects)
	if err != nil {
		return err
	}
	defer unlock()
	pods, err := existing(c)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.Service != nil {
			if err := withdraw(o.Service); err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "%s deleted\n", difference.Owner(o))
		}
	}
	for _, o := range objects {
		var names []string
		for _, p := range pods {
			if p.Owner == difference.Owner(o) {
				names = append(names, p.Name)
			}
		}
		if err := removePods(c, names); err != nil {
			return err
		}
		if o.Service == nil {
			fmt.Fprintf(c.App.Writer, "%s deleted\n", difference.Owner(o))
		}
	}
	return nil
}

// withdraw lets a service lead nowhere. Where no link can be made, there is none.
func withdraw(s *manifest.Service) error {
	if network.Possible() != nil {
		return nil
	}
	release, err := network.Hold()
	if err != nil {
		return err
	}
	defer release()
	for i := range s.Spec.Ports {
		if err := network.Serve(hostPort(s, i), nil); err != nil {
			return err
		}
	}
	return nil
}
