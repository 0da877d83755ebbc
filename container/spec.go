package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ReadSpec reads the config.json of a bundle. Properties that it does not know
// are ignored, as the runtime-spec wants; what is missing or of the wrong kind
// is an error that names it.
func ReadSpec(bundle string) (*specs.Spec, error) {
	spec, _, err := ReadConfig(bundle)
	return spec, err
}

// ReadConfig is ReadSpec, and returns the text as well.
func ReadConfig(bundle string) (spec *specs.Spec, text []byte, err error) {
	path := filepath.Join(bundle, "config.json")
	text, err = os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is not a bundle: %w", bundle, err)
	}
	spec = &specs.Spec{}
	if err := decode(text, reflect.ValueOf(spec).Elem()); err != nil {
		if whole := json.Unmarshal(text, &specs.Spec{}); whole != nil {
			err = whole // with the place in the whole text
		}
		return nil, nil, fmt.Errorf("%s: %w", path, explain(err, text))
	}
	if err := check(spec); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, text, nil
}

// decode is json.Unmarshal for a struct most of whose properties a text has not.
// The library makes itself familiar with all types below the one that it is
// asked for, which takes longer than to read a config.json: here it is asked
// only for those that the text mentions. Names are compared letter by letter.
func decode(data []byte, into reflect.Value) error {
	if into.Kind() == reflect.Pointer && into.Type().Elem().Kind() == reflect.Struct && string(data) != "null" {
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		into = into.Elem()
	}
	if into.Kind() != reflect.Struct || into.Addr().Type().Implements(unmarshaler) {
		return json.Unmarshal(data, into.Addr().Interface())
	}
	var properties map[string]json.RawMessage
	if err := json.Unmarshal(data, &properties); err != nil {
		return err
	}
	for i := range into.NumField() {
		name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ",")
		text, ok := properties[name]
		if !ok {
			continue
		}
		if err := decode(text, into.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

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
	if _, ok := spec.Annotations[""]; ok {
		return errors.New("annotations: a key is empty")
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	return nil
}
