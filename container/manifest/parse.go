package manifest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file: the work of reading it grows with its size and its depth.
const (
	Longest = 1 << 20 // bytes
	deepest = 64      // lists and mappings in each other
)

// Options say how a file is read.
type Options struct {
	Lenient bool // fields that are not known are warnings
}

// Parse reads all documents of a file; file is its name in problems. Empty documents are
// passed over. On an error, which has every problem, it returns no objects.
func Parse(file string, data []byte, o Options) (objects []Object, warnings []Problem, err error) {
	if len(data) > Longest {
		return nil, nil, Problem{Place{file, 1, 1}, fmt.Sprintf("longer than %d bytes", Longest)}
	}
	tokens := lexer.Tokenize(string(data))
	if p, ok := tooDeep(file, tokens); ok {
		return nil, nil, p
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, nil, syntaxProblem(file, err)
	}
	var problems []error
	for _, doc := range tree.Docs {
		if _, empty := doc.Body.(*ast.NullNode); empty || doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		d := &decoder{file: file, lenient: o.Lenient, places: map[string]Place{}}
		objects = append(objects, d.document(doc.Body))
		problems, warnings = append(problems, d.problems...), append(warnings, d.warnings...)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, nil, err
	}
	return objects, warnings, nil
}

// syntaxProblem is the error of goccy's parser with its place, on one line.
func syntaxProblem(file string, err error) error {
	p := Problem{Place{file, 1, 1}, strings.TrimSpace(err.Error())}
	var s *yaml.SyntaxError
	if errors.As(err, &s) {
		p.Text = s.Message
		if s.Token != nil && s.Token.Position != nil {
			p.Line, p.Column = s.Token.Position.Line, s.Token.Position.Column
		}
	}
	p.Text, _, _ = strings.Cut(p.Text, "\n")
	p.Text = "no YAML: " + p.Text
	return p
}

// tooDeep finds the place where lists and mappings are too deep in each other. The parser
// calls itself for each, so this must be known before. Only brackets, dashes on one line and
// indentation make depth.
func tooDeep(file string, tokens token.Tokens) (Problem, bool) {
	open, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if open+dashes > deepest || t.Position.IndentNum > 8*deepest {
			return Problem{Place{file, t.Position.Line, t.Position.Column}, fmt.Sprintf("lists and mappings are more than %d deep", deepest)}, true
		}
	}
	return Problem{}, false
}

// kinds are the objects that there are, by apiVersion and kind.
var kinds = map[string]string{"Deployment": "apps/v1", "Pod": "v1", "Service": "v1"}

// document decodes and checks one document.
func (d *decoder) document(n ast.Node) Object {
	o := Object{Place: d.place(n)}
	d.places[""] = o.Place
	kind, version := d.kind(n)
	if kind == "" {
		return o
	}
	if want := kinds[kind]; version != want {
		d.fail(d.placeOf("apiVersion"), "apiVersion %q: a %s has %s", version, kind, want)
		return o
	}
	switch kind {
	case "Deployment":
		o.Deployment = &Deployment{}
		d.value("", n, reflect.ValueOf(o.Deployment).Elem())
		d.checkDeployment(o.Deployment)
	case "Pod":
		o.Pod = &Pod{}
		d.value("", n, reflect.ValueOf(o.Pod).Elem())
		d.checkMetadata("metadata", &o.Pod.Metadata, true)
		d.checkPod("spec", &o.Pod.Spec)
	case "Service":
		o.Service = &Service{}
		d.value("", n, reflect.ValueOf(o.Service).Elem())
		d.checkService(o.Service)
	}
	return o
}

// kind finds what a document is; "" if it is nothing that minirun knows.
func (d *decoder) kind(n ast.Node) (kind, version string) {
	values, ok := pairs(n)
	if !ok {
		d.fail(d.place(n), "the document: want keys with values, not %s", describe(n))
		return "", ""
	}
	for _, pair := range values {
		key, _ := text(pair.Key)
		if key == "kind" || key == "apiVersion" {
			d.places[key] = d.place(pair.Value)
		}
		if key == "kind" {
			kind, _ = text(pair.Value)
		} else if key == "apiVersion" {
			version, _ = text(pair.Value)
		}
	}
	if kinds[kind] != "" {
		return kind, version
	}
	known := map[string]int{"Deployment": 0, "Pod": 0, "Service": 0}
	switch like := nearest(kind, known); {
	case kind == "":
		d.fail(d.placeOf("kind"), "kind: missing: want Deployment, Pod or Service")
	case like != "":
		d.fail(d.placeOf("kind"), "kind %q: unknown; did you mean %s?", short(kind), like)
	default:
		d.fail(d.placeOf("kind"), "kind %q: minirun knows Deployment, Pod and Service; the others are Kubernetes'", short(kind))
	}
	return "", ""
}
