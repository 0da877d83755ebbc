// Package config reads config.json, the file of a bundle that says what a
// container is to be, into the runtime-spec's own types.
//
// It is on the way of every container, so it is written for speed: see decode.
//
// Sources: the runtime-spec's bundle.md and config.md.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Read reads the config.json of a bundle, a directory that the caller of a command names, and
// returns its text as well. It may be a link or a FIFO, but it must not be endless.
func Read(bundle string) (spec *specs.Spec, text []byte, err error) {
	return read(bundle, 0)
}

func read(bundle string, flags int) (spec *specs.Spec, text []byte, err error) {
	f, err := os.OpenFile(filepath.Join(bundle, "config.json"), os.O_RDONLY|flags, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is not a bundle: %w", bundle, err)
	}
	defer f.Close()
	if text, err = io.ReadAll(io.LimitReader(f, private.Longest+1)); err == nil && len(text) > private.Longest {
		err = fmt.Errorf("longer than %d bytes", private.Longest)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s is not a bundle: config.json: %w", bundle, err)
	}
	spec, err = Parse(bundle, text)
	return spec, text, err
}

// Parse takes the text of a bundle's config.json apart. Properties that it does not know are
// ignored, as the runtime-spec wants; an error names what is missing or of the wrong kind,
// and its line. Linux is never nil in the result.
func Parse(bundle string, text []byte) (*specs.Spec, error) {
	path := filepath.Join(bundle, "config.json")
	spec := &specs.Spec{}
	if err := Decode(text, spec); err != nil {
		if whole := json.Unmarshal(text, &specs.Spec{}); whole != nil {
			err = whole // its offset counts from the start of the whole text
		}
		return nil, fmt.Errorf("%s: %w", path, withLine(err, text))
	}
	if err := check(spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

// Of reads the config.json of a container as it was when the container was made. It is
// in dir, the directory of the container's state. If it is not there, because
// whoever made the container did not hand over its text, the bundle's is read.
func Of(dir, bundle string) (*specs.Spec, error) {
	spec, _, err := read(dir, unix.O_NOFOLLOW|unix.O_NONBLOCK) // it is ours: we do not wait for the other side of a FIFO
	if errors.Is(err, fs.ErrNotExist) {
		spec, _, err = Read(filepath.Clean(bundle))
	}
	return spec, err
}

// Decode is json.Unmarshal into a pointer to a struct, faster if the text has
// only few of the struct's properties. Names are compared letter by letter: "Linux"
// is not "linux".
func Decode(text []byte, into any) error { return decode(text, reflect.ValueOf(into).Elem()) }

// decode walks down the structs itself, and gives the library only the values of
// properties that the text has. Why? Before it reads anything, the library
// prepares a decoder for every type that it could meet below the one it is asked
// for. Below specs.Spec these are about a hundred, and a config.json needs a dozen:
// the preparation takes several times as long as the reading.
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
	return fill(into, properties)
}

// fill sets the fields of a struct. Those of an embedded one lie beside the others in JSON.
func fill(into reflect.Value, properties map[string]json.RawMessage) error {
	for i := range into.NumField() {
		field := into.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		text, ok := properties[name]
		var err error
		switch {
		case field.Anonymous && name == "":
			err = fill(into.Field(i), properties)
		case ok:
			err = decode(text, into.Field(i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// withLine adds the line to an error of the JSON parser.
func withLine(err error, data []byte) error {
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

// check refuses a spec that no part of the plan could make sense of. It fills in
// Linux, so that later code need not ask whether it is nil.
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
