package manifest

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// What the types of the fields do not say: what must be there, what must fit together.

// The patterns are compiled when a manifest is read: every start of minirun would take half a
// millisecond longer.

// label is a name of RFC 1123: it can be a host's name and a container's.
var label = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`) })

// variable is the name of an environment variable.
var variable = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`) })

// require notes a problem at a path unless ok.
func (d *decoder) require(ok bool, path, format string, args ...any) {
	if !ok {
		d.fail(d.placeOf(path), path+": "+format, args...)
	}
}

// oneOf requires a word to be one of a list. "" is none of the words, but allowed.
func (d *decoder) oneOf(path, word string, words ...string) {
	d.require(word == "" || slices.Contains(words, word), path, "%q: want %s", short(word), strings.Join(words, " or "))
}

func (d *decoder) checkPort(path string, n int64) {
	d.require(n >= 1 && n <= 65535, path, "%d: want a port from 1 to 65535", n)
}

func (d *decoder) checkName(path, name string) {
	if name == "" {
		d.require(false, path, "missing")
		return
	}
	d.require(label().MatchString(name), path, "%q: want lower case letters, digits and dashes, at most 63", short(name))
}

// checkMetadata checks an object's name, if it has one of its own, and its namespace.
func (d *decoder) checkMetadata(path string, m *Metadata, named bool) {
	if named {
		d.checkName(path+".name", m.Name)
	}
	d.require(m.Namespace == "" || m.Namespace == "default", path+".namespace", "%q: there is only default: namespaces are Kubernetes'", short(m.Namespace))
}

func (d *decoder) checkDeployment(o *Deployment) {
	d.checkMetadata("metadata", &o.Metadata, true)
	// a pod's name is this name, a hash of ten letters and five random ones: a host name
	d.require(len(o.Metadata.Name) <= 46, "metadata.name", "longer than 46 letters: the pods' names would be no host names")
	d.require(o.Spec.Count() >= 0 && o.Spec.Count() <= 1e6, "spec.replicas", "%d: want 0 to 1000000", o.Spec.Count())
	d.require(len(o.Spec.Selector.MatchLabels) > 0, "spec.selector.matchLabels", "missing")
	for key, value := range o.Spec.Selector.MatchLabels {
		has, ok := o.Spec.Template.Metadata.Labels[key]
		d.require(ok && has == value, "spec.selector.matchLabels."+key, "%s=%s is no label of spec.template.metadata.labels", key, value)
	}
	d.checkMetadata("spec.template.metadata", &o.Spec.Template.Metadata, false)
	d.checkPod("spec.template.spec", &o.Spec.Template.Spec)
	d.require(o.Spec.Template.Spec.RestartPolicy == "" || o.Spec.Template.Spec.RestartPolicy == "Always",
		"spec.template.spec.restartPolicy", "%q: a Deployment's pods are Always restarted", o.Spec.Template.Spec.RestartPolicy)
}

func (d *decoder) checkPod(at string, s *PodSpec) {
	d.oneOf(at+".restartPolicy", s.RestartPolicy, "Always", "OnFailure", "Never")
	if s.Hostname != "" {
		d.checkName(at+".hostname", s.Hostname)
	}
	volumes := map[string]bool{}
	for i, v := range s.Volumes {
		where := fmt.Sprintf("%s.volumes[%d]", at, i)
		d.checkVolume(where, &v)
		d.require(!volumes[v.Name], where+".name", "%q: two volumes have this name", v.Name)
		volumes[v.Name] = true
	}
	d.require(len(s.Containers) > 0, at+".containers", "missing")
	names := map[string]bool{}
	for i := range s.Containers {
		where := fmt.Sprintf("%s.containers[%d]", at, i)
		d.checkContainer(where, &s.Containers[i], volumes)
		d.require(!names[s.Containers[i].Name], where+".name", "%q: two containers have this name", s.Containers[i].Name)
		names[s.Containers[i].Name] = true
	}
}

func (d *decoder) checkVolume(at string, v *Volume) {
	d.checkName(at+".name", v.Name)
	d.require((v.HostPath == nil) != (v.EmptyDir == nil), at, "want either hostPath or emptyDir (empty: {})")
	if v.HostPath != nil {
		p := v.HostPath.Path
		d.require(path.IsAbs(p) && !strings.Contains(p, ":"), at+".hostPath.path", "%q: want an absolute path without a colon", short(p))
		d.oneOf(at+".hostPath.type", v.HostPath.Type, "Directory", "File")
	}
	if v.EmptyDir != nil {
		d.oneOf(at+".emptyDir.medium", v.EmptyDir.Medium, "Memory")
	}
}

func (d *decoder) checkContainer(at string, c *Container, volumes map[string]bool) {
	d.checkName(at+".name", c.Name)
	d.require(c.Image != "", at+".image", "missing")
	d.oneOf(at+".imagePullPolicy", c.ImagePullPolicy, "Always", "IfNotPresent", "Never")
	d.require(c.WorkingDir == "" || path.IsAbs(c.WorkingDir), at+".workingDir", "%q: want an absolute path", short(c.WorkingDir))
	for i, v := range c.Env {
		d.require(variable().MatchString(v.Name), fmt.Sprintf("%s.env[%d].name", at, i), "%q: want the name of a variable", short(v.Name))
	}
	for i, p := range c.Ports {
		where := fmt.Sprintf("%s.ports[%d]", at, i)
		d.checkPort(where+".containerPort", p.ContainerPort)
		d.oneOf(where+".protocol", p.Protocol, "TCP", "UDP")
	}
	for i, m := range c.VolumeMounts {
		where := fmt.Sprintf("%s.volumeMounts[%d]", at, i)
		d.require(volumes[m.Name], where+".name", "%q: the pod has no such volume", short(m.Name))
		d.require(path.IsAbs(m.MountPath) && !strings.Contains(m.MountPath, ":"), where+".mountPath", "%q: want an absolute path without a colon", short(m.MountPath))
	}
	l, r := c.Resources.Limits, c.Resources.Requests
	d.require(l.CPU == 0 || r.CPU <= l.CPU, at+".resources.requests.cpu", "more than the limit")
	d.require(l.Memory == 0 || r.Memory <= l.Memory, at+".resources.requests.memory", "more than the limit")
}

func (d *decoder) checkService(o *Service) {
	d.checkMetadata("metadata", &o.Metadata, true)
	s := &o.Spec
	d.require(s.Type != "" && s.Type != "ClusterIP", "spec.type", "ClusterIP is an address that only a cluster has: want LoadBalancer or NodePort")
	if s.Type != "ClusterIP" {
		d.oneOf("spec.type", s.Type, "LoadBalancer", "NodePort")
	}
	d.require(len(s.Selector) > 0, "spec.selector", "missing")
	d.require(len(s.Ports) > 0, "spec.ports", "missing")
	used := map[string]bool{}
	for i, p := range s.Ports {
		where := fmt.Sprintf("spec.ports[%d]", i)
		d.checkPort(where+".port", p.Port)
		d.oneOf(where+".protocol", p.Protocol, "TCP", "UDP")
		if p.NodePort != 0 {
			d.checkPort(where+".nodePort", p.NodePort)
		}
		key := fmt.Sprintf("%d/%s", s.HostPort(i), p.Protocol)
		d.require(!used[key], where+".port", "%d: the host's port is there twice", s.HostPort(i))
		used[key] = true
	}
}

// HostPort is the host's port of the i-th port of a Service.
func (s *ServiceSpec) HostPort(i int) int64 {
	if p := s.Ports[i]; s.Type == "NodePort" && p.NodePort != 0 {
		return p.NodePort
	}
	return s.Ports[i].Port
}
