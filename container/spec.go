package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ReadSpec reads the config.json of a bundle. Properties that it does not know
// are ignored, as the runtime-spec wants; what is missing or of the wrong kind
// is an error that names it.
func ReadSpec(bundle string) (*specs.Spec, error) {
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s is not a bundle: %w", bundle, err)
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(data, &linuxOnly{Spec: spec}); err != nil {
		return nil, fmt.Errorf("%s: %w", path, explain(err, data))
	}
	if err := check(spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

// linuxOnly is a spec as JSON, without what is for other systems: a third of the
// types, with whose fields the parser would make itself familiar first.
type linuxOnly struct {
	*specs.Spec
	Solaris json.RawMessage `json:"solaris"`
	Windows json.RawMessage `json:"windows"`
	VM      json.RawMessage `json:"vm"`
	ZOS     json.RawMessage `json:"zos"`
	FreeBSD json.RawMessage `json:"freebsd"`
}

// explain adds the line to an error of the JSON parser.
func explain(err error, data []byte) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(0)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		err = fmt.Errorf("%s: %.100s where %s is wanted", kind.Field, kind.Value, kind.Type)
	default:
		return err
	}
	line := 1 + strings.Count(string(data[:min(offset, int64(len(data)))]), "\n")
	return fmt.Errorf("line %d: %w", line, err)
}

// check refuses what no part of the plan could make sense of, and fills in
// what later code may then rely on: Linux is not nil.
func check(spec *specs.Spec) error {
	if !strings.HasPrefix(spec.Version, "1.") {
		return fmt.Errorf("ociVersion %q: want 1.x", spec.Version)
	}
	if spec.Process == nil {
		return errors.New("process: missing")
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	if spec.Linux.IntelRdt != nil {
		return errors.New("linux.intelRdt: minirun does not do resource control by resctrl")
	}
	return nil
}
