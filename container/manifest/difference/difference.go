// Package difference compares the pods that manifests ask for with those that exist, and says
// which to make and which to remove. It changes nothing, and asks the host nothing.
//
// A pod belongs to an object by an annotation, and was made of a template whose hash is in its
// name: web-6f9c4d7b58-x7k2p. A pod of another template is replaced. Among equal ones those
// that do not run go first when there are too many, then the youngest: as in Kubernetes, the
// pod that has served longest stays.
package difference

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"minirun/container/manifest"
)

// An Existing pod is one of whose containers some exist.
type Existing struct {
	Name    string
	Owner   string // as [Owner] has it
	Hash    string // of the template that it was made of
	Running bool   // all of its containers run
	Created time.Time
}

// An Action is what is to be done for one object.
type Action struct {
	Owner  string
	Object manifest.Object
	Hash   string   // of the template
	Make   int      // number of pods to make
	Keep   []string // names of pods that stay
	Remove []string // names of pods to remove; after a removal nothing of them is left
	New    bool     // no pod of the object exists
}

// Owner is what an object is called in the annotation of its pods: deployment.apps/web.
func Owner(o manifest.Object) string { return o.Kind() + "/" + o.Name() }

// Word is what is done, in kubectl's words.
func (a Action) Word() string {
	switch {
	case a.New && a.Make > 0:
		return "created"
	case a.Make == 0 && len(a.Remove) == 0:
		return "unchanged"
	}
	return "configured"
}

// Hash is a name of a template: ten letters that are others if any field is another.
func Hash(labels map[string]string, s manifest.PodSpec) (string, error) {
	text, err := json.Marshal(struct {
		Labels map[string]string // encoding/json sorts the keys
		Spec   manifest.PodSpec
	}{labels, s})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return strings.ToLower(base32.HexEncoding.EncodeToString(sum[:])[:10]), nil
}

// Of says what is to be done so that the objects are there. Pods of other objects stay.
func Of(objects []manifest.Object, pods []Existing) (actions []Action, err error) {
	for _, o := range objects {
		if o.Service != nil {
			continue // it has no pods
		}
		a := Action{Owner: Owner(o), Object: o}
		count := 1
		if o.Deployment != nil {
			t := o.Deployment.Spec.Template
			count = o.Deployment.Spec.Count()
			a.Hash, err = Hash(t.Metadata.Labels, t.Spec)
		} else {
			a.Hash, err = Hash(o.Pod.Metadata.Labels, o.Pod.Spec)
		}
		if err != nil {
			return nil, err
		}
		a.choose(count, pods)
		actions = append(actions, a)
	}
	return actions, nil
}

// choose decides which pods stay.
func (a *Action) choose(count int, pods []Existing) {
	own := slices.DeleteFunc(slices.Clone(pods), func(p Existing) bool { return p.Owner != a.Owner })
	a.New = len(own) == 0
	slices.SortFunc(own, func(x, y Existing) int {
		return cmp.Or(-compare(x.Running, y.Running), x.Created.Compare(y.Created), strings.Compare(x.Name, y.Name))
	})
	for _, p := range own {
		if p.Hash == a.Hash && p.Running && len(a.Keep) < count {
			a.Keep = append(a.Keep, p.Name)
		} else {
			a.Remove = append(a.Remove, p.Name)
		}
	}
	a.Make = count - len(a.Keep)
}

// compare puts false before true.
func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Print writes the difference as --dry-run shows it: one line an object, and below it a line
// for the pods to make and one for each to remove.
func Print(w io.Writer, actions []Action) {
	for _, a := range actions {
		fmt.Fprintf(w, "%s %s (dry run)\n", a.Owner, a.Word())
		if a.Make > 0 {
			fmt.Fprintf(w, "  + %d × %s\n", a.Make, a.PodName("*****"))
		}
		for _, name := range a.Remove {
			fmt.Fprintf(w, "  - %s\n", name)
		}
	}
}

// PodName is the name of a new pod: a Pod's own, or the Deployment's with the hash and a
// random word.
func (a Action) PodName(random string) string {
	if a.Object.Pod != nil {
		return a.Object.Name()
	}
	return a.Object.Name() + "-" + a.Hash + "-" + random
}
