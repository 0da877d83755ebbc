package manifest

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A Place is where something stands in a file. Lines and columns count from 1.
type Place struct {
	File         string
	Line, Column int
}

// String is file:line:column, as editors read it.
func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// A Problem is one thing that is wrong.
type Problem struct {
	Place
	Text string
}

// Error is place: text.
func (p Problem) Error() string { return p.Place.String() + ": " + p.Text }

// A decoder walks over one document. It goes on after a problem, so that one look at a file
// shows all of them.
type decoder struct {
	file     string
	lenient  bool
	problems []error
	warnings []Problem
	places   map[string]Place // where the value at a path such as spec.ports[0].port stands
}

// fail notes a problem.
func (d *decoder) fail(p Place, format string, args ...any) {
	d.problems = append(d.problems, Problem{p, fmt.Sprintf(format, args...)})
}

// leaveOut notes a field that is not known: a problem, or with lenient a warning.
func (d *decoder) leaveOut(p Place, format string, args ...any) {
	if d.lenient {
		d.warnings = append(d.warnings, Problem{p, fmt.Sprintf(format, args...) + " (left out)"})
		return
	}
	d.fail(p, format, args...)
}

// place is where a node begins.
func (d *decoder) place(n ast.Node) Place {
	p := Place{File: d.file, Line: 1, Column: 1}
	var t *token.Token
	if values, ok := pairs(n); ok && len(values) > 0 {
		t = values[0].Key.GetToken() // of a mapping goccy has the first colon
	} else if n != nil {
		t = n.GetToken()
	}
	if t != nil && t.Position != nil {
		p.Line, p.Column = t.Position.Line, t.Position.Column
	}
	return p
}

// placeOf is where the value at a path stands or, if it is missing, what it would be in.
func (d *decoder) placeOf(path string) Place {
	for {
		if p, ok := d.places[path]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.places[""]
		}
		path = path[:i]
	}
}

// pairs are a mapping's keys and values.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

// value decodes a node into v. An empty value leaves v as it is.
func (d *decoder) value(path string, n ast.Node, v reflect.Value) {
	d.places[path] = d.place(n)
	switch n.(type) {
	case nil, *ast.NullNode:
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.fail(d.place(n), "%s: anchors, aliases, merges and tags are not read: write the value out", path)
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *CPU:
		decodeWord(d, path, n, target, ParseCPU)
		return
	case *Bytes:
		decodeWord(d, path, n, target, ParseBytes)
		return
	case *TargetPort:
		d.targetPort(path, n, target)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, n, v.Elem())
	case reflect.Struct:
		d.structure(path, n, v)
	case reflect.Map:
		d.stringMap(path, n, v)
	case reflect.Slice:
		d.list(path, n, v)
	default:
		d.scalar(path, n, v)
	}
}

// structure decodes a mapping, each key of which is a field.
func (d *decoder) structure(path string, n ast.Node, v reflect.Value) {
	keys, owner := keysOf(v.Type()), v.Type().Name()
	d.eachPair(path, n, func(key string, p Place, value ast.Node) {
		if i, ok := keys[key]; ok {
			d.value(join(path, key), value, v.Field(i))
		} else if why, ok := foreign()[owner][key]; ok {
			d.leaveOut(p, "%s: %s", join(path, key), why)
		} else if like := nearest(key, keys); like != "" {
			d.leaveOut(p, "%s: unknown field; did you mean %s?", join(path, key), like)
		} else {
			d.leaveOut(p, "%s: unknown field", join(path, key))
		}
	})
}

// eachPair calls f for each pair of a mapping whose keys are words, each of them once.
func (d *decoder) eachPair(path string, n ast.Node, f func(key string, p Place, value ast.Node)) {
	values, ok := pairs(n)
	if !ok {
		d.fail(d.place(n), "%s: want keys with values, not %s", name(path), describe(n))
		return
	}
	seen := map[string]bool{}
	for _, pair := range values {
		key, ok := text(pair.Key)
		p := d.place(pair.Key)
		switch {
		case !ok:
			d.fail(p, "%s: a key must be a plain word", name(path))
		case seen[key]:
			d.fail(p, "%s: the key is there twice", join(path, key))
		default:
			seen[key] = true
			f(key, p, pair.Value)
		}
	}
}

// stringMap decodes labels and the like.
func (d *decoder) stringMap(path string, n ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.eachPair(path, n, func(key string, _ Place, value ast.Node) {
		word := reflect.New(v.Type().Elem()).Elem()
		d.value(join(path, key), value, word)
		v.SetMapIndex(reflect.ValueOf(key), word)
	})
}

// list decodes a sequence.
func (d *decoder) list(path string, n ast.Node, v reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(d.place(n), "%s: want a list, not %s", path, describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, element := range s.Values {
		d.value(fmt.Sprintf("%s[%d]", path, i), element, v.Index(i))
	}
}

// scalar decodes a word, a number, or true and false. As in Kubernetes a number is no word:
// an unquoted 8080 in env would be another text in another notation.
func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	word, isText := text(n)
	switch v.Kind() {
	case reflect.String:
		if !isText {
			d.fail(d.place(n), "%s: want a text, not %s: put it into quotes", path, describe(n))
			return
		}
		if strings.ContainsRune(word, 0) {
			d.fail(d.place(n), "%s: has a zero byte", path)
			return
		}
		v.SetString(word)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.fail(d.place(n), "%s: want true or false, not %s", path, describe(n))
			return
		}
		v.SetBool(b.Value)
	case reflect.Int64:
		number, ok := integer(n)
		if !ok {
			d.fail(d.place(n), "%s: want a whole number, not %s", path, describe(n))
			return
		}
		v.SetInt(number)
	}
}

// decodeWord decodes a number or a text by a function that reads texts.
func decodeWord[T any](d *decoder, path string, n ast.Node, to *T, parse func(string) (T, error)) {
	word, ok := text(n)
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		word, ok = n.GetToken().Value, true
	}
	if !ok {
		d.fail(d.place(n), "%s: want a quantity, not %s", path, describe(n))
		return
	}
	v, err := parse(word)
	if err != nil {
		d.fail(d.place(n), "%s: %v", path, err)
		return
	}
	*to = v
}

// targetPort decodes a number, or the name of a port.
func (d *decoder) targetPort(path string, n ast.Node, to *TargetPort) {
	if number, ok := integer(n); ok {
		to.Number = number
		d.checkPort(path, number)
	} else if word, ok := text(n); ok && word != "" {
		to.Name = word
	} else {
		d.fail(d.place(n), "%s: want a port's number or name, not %s", path, describe(n))
	}
}

// text is the value of a node that is a text.
func text(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	}
	return "", false
}

// integer is the value of a node that is a whole number.
func integer(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch value := i.Value.(type) {
	case int64:
		return value, true
	case uint64:
		return int64(value), value <= math.MaxInt64
	}
	return 0, false
}

// describe is what a node is, in words.
func describe(n ast.Node) string {
	if _, ok := pairs(n); ok {
		return "a mapping"
	}
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case nil, *ast.NullNode:
		return "nothing"
	}
	if t := n.GetToken(); t != nil {
		return strconv.Quote(short(t.Value))
	}
	return n.Type().String()
}

// short cuts a text that would fill the screen.
func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// name is a path, or what the whole document is called.
func name(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}
