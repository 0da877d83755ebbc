package manifest

import (
	"os"
	"strings"
	"testing"
)

// essay is the file with both documents of the essay.
const essay = "../../examples/hundred/httpd.yaml"

func TestEssay(t *testing.T) {
	data, err := os.ReadFile(essay)
	if err != nil {
		t.Fatal(err)
	}
	objects, warnings, err := Parse("httpd.yaml", data, Options{})
	if err != nil || len(warnings) != 0 || len(objects) != 2 {
		t.Fatalf("Parse = %d objects, %v, %v; want 2, none, nil", len(objects), warnings, err)
	}
	d, s := objects[0].Deployment, objects[1].Service
	if d == nil || d.Metadata.Name != "httpd-deployment" || d.Spec.Count() != 100 || d.Spec.Template.Metadata.Labels["app"] != "httpd" {
		t.Errorf("deployment %+v", d)
	}
	if c := d.Spec.Template.Spec.Containers[0]; c.Name != "httpd" || c.Image != "httpd:latest" || c.Ports[0].ContainerPort != 80 {
		t.Errorf("container %+v", c)
	}
	if s == nil || s.Spec.Type != "LoadBalancer" || s.Spec.HostPort(0) != 80 || s.Spec.Ports[0].TargetPort.Number != 80 || s.Spec.Selector["app"] != "httpd" {
		t.Errorf("service %+v", s)
	}
}

// pod is a Pod whose container has more fields; they begin on line 9, column 5.
func pod(fields string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - name: web\n    image: httpd\n" + fields
}

var wrong = []struct{ text, want string }{
	{"a: [", `f:1:4: no YAML: `},
	{"a: b: c", `f:1:`},
	{"\tkind: Pod", `f:1:5: no YAML: tab character`},
	{"kind: 'Pod", `f:1:7: no YAML: `},
	{"- a", "f:1:1: the document: want keys with values, not a list"},
	{"just text", `f:1:1: the document: want keys with values, not "just text"`},
	{"metadata: {}", "f:1:1: kind: missing: want Deployment, Pod or Service"},
	{"apiVersion: v1\nkind: Pods", `f:2:7: kind "Pods": unknown; did you mean Pod?`},
	{"apiVersion: v1\nkind: ConfigMap", `f:2:7: kind "ConfigMap": minirun knows Deployment, Pod and Service; the others are Kubernetes'`},
	{"apiVersion: v1\nkind: Deployment", `f:1:13: apiVersion "v1": a Deployment has apps/v1`},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {}", "f:4:7: spec.containers: missing"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: Web}\nspec: {containers: [{name: a, image: b}]}", `f:3:18: metadata.name: "Web": want lower case letters`},
	{"apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: web}", `f:3:1: `},
	{pod("    imge: x\n"), "f:9:5: spec.containers[0].imge: unknown field; did you mean image?"},
	{pod("    zzzzzzzz: x\n"), "f:9:5: spec.containers[0].zzzzzzzz: unknown field"},
	{pod("    livenessProbe: {}\n"), "f:9:5: spec.containers[0].livenessProbe: probes are Kubernetes'"},
	{pod("    command: httpd\n"), `f:9:14: spec.containers[0].command: want a list, not "httpd"`},
	{pod("    args: [1]\n"), `f:9:12: spec.containers[0].args[0]: want a text, not "1": put it into quotes`},
	{pod("    env:\n    - name: A\n      value: yes\n    - name: B\n      value: 8080\n"), `f:13:14: spec.containers[0].env[1].value: want a text, not "8080": put it into quotes`},
	{pod("    ports:\n    - containerPort: 70000\n"), "f:10:22: spec.containers[0].ports[0].containerPort: 70000: want a port from 1 to 65535"},
	{pod("    ports:\n    - containerPort: http\n"), `f:10:22: spec.containers[0].ports[0].containerPort: want a whole number, not "http"`},
	{pod("    resources: {limits: {memory: 64mb}}\n"), `f:9:34: spec.containers[0].resources.limits.memory: "64mb": want a size such as 64Mi or 1Gi`},
	{pod("    resources: {limits: {memory: 100m}}\n"), "m is a thousandth of a byte; a mebibyte is Mi"},
	{pod("    resources: {limits: {cpu: 1}, requests: {cpu: 2}}\n"), "f:9:51: spec.containers[0].resources.requests.cpu: more than the limit"},
	{pod("    volumeMounts:\n    - name: data\n      mountPath: /data\n"), `f:10:13: spec.containers[0].volumeMounts[0].name: "data": the pod has no such volume`},
	{pod("  volumes:\n  - name: data\n    persistentVolumeClaim: {claimName: a}\n"), "f:11:5: spec.volumes[0].persistentVolumeClaim: volumes of a cluster are Kubernetes'"},
	{pod("  restartPolicy: Sometimes\n"), `f:9:18: spec.restartPolicy: "Sometimes": want Always or OnFailure or Never`},
	{pod("  affinity: {}\n"), "f:9:3: spec.affinity: the choice of a node is Kubernetes'"},
	{pod("    args: &a [x]\n    command: *a\n"), "f:9:11: spec.containers[0].args: anchors, aliases, merges and tags are not read"},
	{strings.Repeat("[", 100000), "f:1:65: lists and mappings are more than 64 deep"},
	{strings.Repeat("- ", 100000), "f:1:129: lists and mappings are more than 64 deep"},
	{strings.Repeat(" ", Longest+1), "f:1:1: longer than 1048576 bytes"},
	{"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  selector: {a: b}\n  ports: [{port: 80}]\n", "f:5:3: spec.type: ClusterIP is an address that only a cluster has: want LoadBalancer or NodePort"},
	{"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  type: LoadBalancer\n  selector: {a: b}\n  ports: [{port: 80}, {port: 80}]\n", "f:7:30: spec.ports[1].port: 80: the host's port is there twice"},
	{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replica: 3\n", "f:5:3: spec.replica: unknown field; did you mean replicas?"},
	{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  strategy: {type: Recreate}\n", "f:5:3: spec.strategy: rollouts are Kubernetes'"},
	{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replicas: -1\n", "f:5:13: spec.replicas: -1: want 0 to 1000000"},
	{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {app: a}}\n  template: {metadata: {labels: {app: b}}}\n", "f:5:33: spec.selector.matchLabels.app: app=a is no label of spec.template.metadata.labels"},
}

func TestWrong(t *testing.T) {
	for _, test := range wrong {
		objects, _, err := Parse("f", []byte(test.text), Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Parse(%.300q) = %v, want %v", test.text, err, test.want)
		}
		if objects != nil {
			t.Errorf("Parse(%.300q): objects beside an error", test.text)
		}
	}
}

func TestLenient(t *testing.T) {
	text := pod("    livenessProbe: {a: b}\n    imge: x\n")
	objects, warnings, err := Parse("f", []byte(text), Options{Lenient: true})
	if err != nil || len(objects) != 1 || len(warnings) != 2 {
		t.Fatalf("Parse = %v, %v, %v; want one object, two warnings", objects, warnings, err)
	}
	want := "f:10:5: spec.containers[0].imge: unknown field; did you mean image? (left out)"
	if got := warnings[1].Error(); got != want {
		t.Errorf("warning %q, want %q", got, want)
	}
	if _, _, err := Parse("f", []byte(pod("    args: [1]\n")), Options{Lenient: true}); err == nil {
		t.Error("a wrong value is no problem if lenient")
	}
}

func TestAllFields(t *testing.T) {
	text := pod(`    imagePullPolicy: Never
    command: [a]
    args: ["b", 'c']
    workingDir: /w
    env: [{name: A, value: "1"}]
    resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 0.25, memory: 1000}}
    volumeMounts:
    - {name: h, mountPath: /h, readOnly: true}
    - {name: e, mountPath: /e}
  volumes:
  - name: h
    hostPath: {path: /tmp, type: Directory}
  - name: e
    emptyDir: {}
`) + "---\n# nothing\n---\n"
	objects, _, err := Parse("f", []byte(text), Options{})
	if err != nil || len(objects) != 1 {
		t.Fatalf("Parse = %d objects, %v; want 1", len(objects), err)
	}
	c := objects[0].Pod.Spec.Containers[0]
	want := Resources{Limits: Amounts{500, 64 << 20}, Requests: Amounts{250, 1000}}
	if c.Resources != want {
		t.Errorf("resources %+v, want %+v", c.Resources, want)
	}
	if v := objects[0].Pod.Spec.Volumes; v[0].HostPath == nil || v[1].EmptyDir == nil || !c.VolumeMounts[0].ReadOnly {
		t.Errorf("volumes %+v, mounts %+v", v, c.VolumeMounts)
	}
}

// FuzzParse looks for texts that crash the parser, and for problems without a place.
func FuzzParse(f *testing.F) {
	for _, test := range wrong {
		if len(test.text) < 4096 {
			f.Add([]byte(test.text))
		}
	}
	data, err := os.ReadFile(essay)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, _, err := Parse("f", data, Options{})
		if err != nil && (!strings.HasPrefix(err.Error(), "f:") || objects != nil) {
			t.Errorf("Parse(%q) = %v, %v", data, objects, err)
		}
		for _, o := range objects {
			if o.Name() == "" {
				t.Errorf("Parse(%q): an object without a name", data)
			}
		}
	})
}
