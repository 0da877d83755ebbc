package difference

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"minirun/container/manifest"
)

// deployment is the essay's, with another number of replicas.
func deployment(t *testing.T, n int64) []manifest.Object {
	data, err := os.ReadFile("../../../examples/hundred/httpd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, _, err := manifest.Parse("f", data, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects[0].Deployment.Spec.Replicas = &n
	return objects
}

func TestOf(t *testing.T) {
	objects := deployment(t, 2)
	template := objects[0].Deployment.Spec.Template
	h, err := Hash(template.Metadata.Labels, template.Spec)
	if err != nil {
		t.Fatal(err)
	}
	pod := func(name, hash string, running bool, second int64) Existing {
		return Existing{name, "deployment.apps/httpd-deployment", hash, running, time.Unix(second, 0)}
	}
	other := Existing{"other", "pod/other", h, true, time.Unix(0, 0)}
	for _, test := range []struct {
		name         string
		pods         []Existing
		make         int
		keep, remove []string
		word         string
	}{
		{"none", nil, 2, nil, nil, "created"},
		{"another's", []Existing{other}, 2, nil, nil, "created"},
		{"all", []Existing{pod("a", h, true, 1), pod("b", h, true, 2)}, 0, []string{"a", "b"}, nil, "unchanged"},
		{"one is missing", []Existing{pod("a", h, true, 1)}, 1, []string{"a"}, nil, "configured"},
		{"one has ended", []Existing{pod("a", h, false, 1), pod("b", h, true, 2)}, 1, []string{"b"}, []string{"a"}, "configured"},
		{"the youngest goes", []Existing{pod("c", h, true, 3), pod("a", h, true, 1), pod("b", h, true, 2)}, 0, []string{"a", "b"}, []string{"c"}, "configured"},
		{"another template", []Existing{pod("a", "old", true, 1), pod("b", h, true, 2)}, 1, []string{"b"}, []string{"a"}, "configured"},
	} {
		actions, err := Of(objects, test.pods)
		if err != nil || len(actions) != 1 {
			t.Fatalf("%s: Of = %v, %v; want one action", test.name, actions, err)
		}
		a := actions[0]
		if a.Make != test.make || !reflect.DeepEqual(a.Keep, test.keep) || !reflect.DeepEqual(a.Remove, test.remove) || a.Word() != test.word {
			t.Errorf("%s: make %d, keep %v, remove %v, %s; want %d, %v, %v, %s", test.name, a.Make, a.Keep, a.Remove, a.Word(), test.make, test.keep, test.remove, test.word)
		}
	}
}

// What Of says, done, leaves nothing to do: also if it is cut short after any step.
func TestConverges(t *testing.T) {
	objects := deployment(t, 5)
	var pods []Existing
	for i := range 8 {
		pods = append(pods, Existing{fmt.Sprint("old", i), "deployment.apps/httpd-deployment", "old", true, time.Unix(int64(i), 0)})
	}
	steps := 0
	for ; steps < 100; steps++ { // one step at a time, and then looked at again
		actions, err := Of(objects, pods)
		if err != nil {
			t.Fatal(err)
		}
		a := actions[0]
		if a.Word() == "unchanged" {
			break
		}
		if a.Make > 0 {
			pods = append(pods, Existing{fmt.Sprint("new", steps), a.Owner, a.Hash, true, time.Unix(int64(100+steps), 0)})
			continue
		}
		pods = pods[1:]
	}
	if steps != 13 || len(pods) != 5 {
		t.Errorf("%d steps, %d pods; want 5 made and 8 removed, 5 pods", steps, len(pods))
	}
}

func TestHash(t *testing.T) {
	template := deployment(t, 1)[0].Deployment.Spec.Template
	one, err := Hash(template.Metadata.Labels, template.Spec)
	again, _ := Hash(template.Metadata.Labels, deployment(t, 7)[0].Deployment.Spec.Template.Spec)
	if err != nil || one != again || len(one) != 10 {
		t.Errorf("Hash = %q, %q, %v; want the same ten letters", one, again, err)
	}
	template.Spec.Containers[0].Image = "httpd:2"
	if other, _ := Hash(template.Metadata.Labels, template.Spec); other == one {
		t.Error("another image has the same hash")
	}
}

func TestPrint(t *testing.T) {
	a := Action{Owner: "deployment.apps/web", Hash: "abc", Make: 3, Remove: []string{"web-old-1"}}
	a.Object.Deployment = &manifest.Deployment{Metadata: manifest.Metadata{Name: "web"}}
	var b strings.Builder
	Print(&b, []Action{a})
	want := "deployment.apps/web configured (dry run)\n  + 3 × web-abc-*****\n  - web-old-1\n"
	if b.String() != want {
		t.Errorf("Print = %q, want %q", b.String(), want)
	}
}
