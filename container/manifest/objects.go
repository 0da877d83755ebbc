package manifest

// The objects, with the names of Kubernetes' API. Each field has the name of its key; the
// comments say what zero means. A field without a comment means what its key says.

// An Object is one document: exactly one of the three is not nil.
type Object struct {
	Deployment *Deployment
	Pod        *Pod
	Service    *Service
	Place      Place // where the document begins
}

// Kind is the object's kind, in the words of kubectl: "deployment.apps".
func (o Object) Kind() string {
	switch {
	case o.Deployment != nil:
		return "deployment.apps"
	case o.Pod != nil:
		return "pod"
	}
	return "service"
}

// Name is the object's name; it is unique among those of its kind.
func (o Object) Name() string {
	switch {
	case o.Deployment != nil:
		return o.Deployment.Metadata.Name
	case o.Pod != nil:
		return o.Pod.Metadata.Name
	}
	return o.Service.Metadata.Name
}

// Metadata is the name of an object and its labels.
type Metadata struct {
	Name        string            `key:"name"`
	Namespace   string            `key:"namespace"` // "" and "default" are the only one
	Labels      map[string]string `key:"labels"`
	Annotations map[string]string `key:"annotations"` // not used
}

// A Deployment is a number of equal pods.
type Deployment struct {
	APIVersion string         `key:"apiVersion"`
	Kind       string         `key:"kind"`
	Metadata   Metadata       `key:"metadata"`
	Spec       DeploymentSpec `key:"spec"`
}

// A DeploymentSpec says how many pods there are, and what each is made of.
type DeploymentSpec struct {
	Replicas *int64   `key:"replicas"` // nil: 1
	Selector Selector `key:"selector"`
	Template Template `key:"template"`
}

// Count is the number of replicas.
func (s DeploymentSpec) Count() int {
	if s.Replicas == nil {
		return 1
	}
	return int(*s.Replicas)
}

// A Selector chooses pods by their labels.
type Selector struct {
	MatchLabels map[string]string `key:"matchLabels"`
}

// A Template is what each pod of a Deployment is made of.
type Template struct {
	Metadata Metadata `key:"metadata"`
	Spec     PodSpec  `key:"spec"`
}

// A Pod is a group of containers that share network, IPC and host name.
type Pod struct {
	APIVersion string   `key:"apiVersion"`
	Kind       string   `key:"kind"`
	Metadata   Metadata `key:"metadata"`
	Spec       PodSpec  `key:"spec"`
}

// A PodSpec says which containers a pod has.
type PodSpec struct {
	Containers    []Container `key:"containers"`
	Volumes       []Volume    `key:"volumes"`
	RestartPolicy string      `key:"restartPolicy"` // "": Always
	Hostname      string      `key:"hostname"`      // "": the pod's name
}

// A Container is one program of a pod.
type Container struct {
	Name            string        `key:"name"`
	Image           string        `key:"image"`
	ImagePullPolicy string        `key:"imagePullPolicy"` // "": IfNotPresent
	Command         []string      `key:"command"`         // nil: the image's entrypoint
	Args            []string      `key:"args"`            // nil: the image's command
	WorkingDir      string        `key:"workingDir"`      // "": the image's
	Env             []Variable    `key:"env"`
	Ports           []Port        `key:"ports"`
	Resources       Resources     `key:"resources"`
	VolumeMounts    []VolumeMount `key:"volumeMounts"`
}

// A Variable is one of the environment.
type Variable struct {
	Name  string `key:"name"`
	Value string `key:"value"`
}

// A Port is one that a container listens on.
type Port struct {
	Name          string `key:"name"`
	ContainerPort int64  `key:"containerPort"`
	Protocol      string `key:"protocol"` // "": TCP
}

// Resources are what a container may use at most, and what it gets before others.
type Resources struct {
	Limits   Amounts `key:"limits"`   // memory.max, cpu.max
	Requests Amounts `key:"requests"` // memory.low, cpu.weight
}

// Amounts are those of one list of resources. Zero: not given.
type Amounts struct {
	CPU    CPU   `key:"cpu"`
	Memory Bytes `key:"memory"`
}

// A Volume is a directory that containers of the pod mount: exactly one of the two is given.
type Volume struct {
	Name     string    `key:"name"`
	HostPath *HostPath `key:"hostPath"`
	EmptyDir *EmptyDir `key:"emptyDir"`
}

// A HostPath is a file or a directory of the host.
type HostPath struct {
	Path string `key:"path"`
	Type string `key:"type"` // "": it is not checked
}

// An EmptyDir is a directory that is empty when the pod is made and goes with the pod.
type EmptyDir struct {
	Medium    string `key:"medium"`    // "": the disk; Memory: a tmpfs
	SizeLimit Bytes  `key:"sizeLimit"` // 0: none
}

// A VolumeMount is the place of a volume in a container.
type VolumeMount struct {
	Name      string `key:"name"`
	MountPath string `key:"mountPath"`
	ReadOnly  bool   `key:"readOnly"`
}

// A Service is a port of the host that leads to pods.
type Service struct {
	APIVersion string      `key:"apiVersion"`
	Kind       string      `key:"kind"`
	Metadata   Metadata    `key:"metadata"`
	Spec       ServiceSpec `key:"spec"`
}

// A ServiceSpec says which ports lead to which pods.
type ServiceSpec struct {
	Type     string            `key:"type"` // LoadBalancer or NodePort
	Selector map[string]string `key:"selector"`
	Ports    []ServicePort     `key:"ports"`
}

// A ServicePort is one port of the host's.
type ServicePort struct {
	Name       string     `key:"name"`
	Protocol   string     `key:"protocol"` // "": TCP
	Port       int64      `key:"port"`
	TargetPort TargetPort `key:"targetPort"`
	NodePort   int64      `key:"nodePort"` // with type NodePort, the host's port; 0: that of Port
}

// A TargetPort is a number or the name of a container's port. Zero: the Service's own port.
type TargetPort struct {
	Number int64
	Name   string
}

// CPU is processor time, in thousandths of a processor.
type CPU int64

// Bytes is a size of memory.
type Bytes int64
