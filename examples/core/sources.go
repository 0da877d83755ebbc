package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// filters are the two annexes of which every ordinary container has something
// all the same: to read how a container is made, nobody needs to read how a
// filter is compiled.
var filters = []string{"cgroups/devices", "process/seccomp"}

// A step of a plan, as far as plan -o json is read here.
type step struct {
	Number int    `json:"step"`
	Call   string `json:"call"`
	Source string `json:"source"` // FILE:LINE FUNCTION, the file from the project's root
}

// wrongSources are the steps of ordinary containers that were recorded neither
// by the core nor by a filter's annex: of the bundle that minirunc spec writes,
// and of an image, attached and detached.
func wrongSources(minirun, minirunc string) (wrong []string) {
	plans, err := ordinaryPlans(minirun, minirunc)
	if err != nil {
		return []string{err.Error()}
	}
	steps := map[string][]string{} // of each place that is outside
	for name, plan := range plans {
		for _, s := range plan {
			file, _, _ := s.source()
			if dir := path.Dir(file); !slices.Contains(rooms, dir) && !slices.Contains(filters, dir) {
				steps[s.Source] = append(steps[s.Source], fmt.Sprintf("step %d of %s (%s)", s.Number, name, s.Call))
			}
		}
	}
	for place, of := range steps {
		slices.Sort(of)
		wrong = append(wrong, fmt.Sprintf("%q is outside of the core, and recorded %s, and %d more", place, of[0], len(of)-1))
	}
	slices.Sort(wrong)
	return wrong
}

// source is the file, line and function that recorded a step.
func (s step) source() (file, line, function string) {
	place, function, _ := strings.Cut(s.Source, " ")
	file, line, _ = strings.Cut(place, ":")
	return file, line, function
}

// ordinaryPlans asks the two programs for the plans of containers that ask for
// nothing special. Nothing is made but temporary files. It needs root: an ordinary
// user's containers ask for more, a user namespace.
func ordinaryPlans(minirun, minirunc string) (map[string][]step, error) {
	if minirun == "" || minirunc == "" {
		return nil, fmt.Errorf("MINIRUN and MINIRUNC are not set: which programs' plans?")
	}
	dir, err := os.MkdirTemp("", "core-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		return nil, err
	}
	if _, err := output(nil, minirunc, "spec", "--bundle", dir); err != nil {
		return nil, err
	}
	image := []string{minirun, "--store", filepath.Join(dir, "store")}
	if _, err := output(smallImage(), append(image, "import", "-", "httpd")...); err != nil {
		return nil, err
	}
	plans := map[string][]step{}
	for name, argv := range map[string][]string{
		"minirunc plan":         {minirunc, "plan", "-o", "json", "--bundle", dir},
		"minirun plan httpd":    append(slices.Clip(image), "plan", "--network", "none", "-o", "json", "httpd", "/httpd"),
		"minirun plan -d httpd": append(slices.Clip(image), "plan", "-d", "--network", "none", "-o", "json", "httpd", "/httpd"),
	} {
		out, err := output(nil, argv...)
		if err != nil {
			return nil, err
		}
		var steps []step
		if err := json.Unmarshal(out, &steps); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(steps) == 0 {
			return nil, fmt.Errorf("%s: no steps", name)
		}
		plans[name] = steps
	}
	return plans, nil
}

// output runs a program and returns what it prints.
func output(stdin []byte, argv ...string) ([]byte, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// smallImage is a root directory with one file, as a tar archive. Only its plan
// is asked for: nobody executes it.
func smallImage() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "httpd", Mode: 0o755}) // a bytes.Buffer takes everything
	w.Close()
	return b.Bytes()
}
