package main

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"

	"minirun/cmd/report"
)

// This file is about the Go templates of --format: they are given rows (ps, images),
// or what inspect prints.

// printableRow returns a row, which is a struct, with printable strings.
func printableRow[T any](row T) T {
	v := reflect.ValueOf(&row).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString(report.Printable(f.String()))
		}
	}
	return row
}

// printTemplate prints each row with a Go template. If the format begins with the word
// table, the output has columns, and titles is the first row.
func printTemplate[T any](w io.Writer, format string, rows []T, titles T) error {
	format, isTable := strings.CutPrefix(format, "table ")
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	t, err := parseFormat(format + "\n")
	if err != nil {
		return err
	}
	columns := table(w)
	if isTable {
		rows = append([]T{titles}, rows...)
	}
	for _, r := range rows {
		if err := t.Execute(columns, printableRow(r)); err != nil {
			return fmt.Errorf("format: %w", err)
		}
	}
	return columns.Flush()
}

// parseFormat parses the template of a --format. It may call docker's functions.
func parseFormat(format string) (*template.Template, error) {
	t, err := template.New("format").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			var text strings.Builder
			err := printJSON(&text, []any{v})
			return strings.TrimSuffix(text.String(), "\n"), err
		},
		"join": strings.Join, "split": strings.Split, "lower": strings.ToLower, "upper": strings.ToUpper,
	}).Option("missingkey=error").Parse(format)
	if err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	return t, nil
}

// An object is a struct as JSON has it: its fields by the names that the JSON has for
// them. So whoever has read the output of inspect knows the names for a template.
type object map[string]any

// ID is Id, which docker's templates take in both forms.
func (o object) ID() (any, error) {
	if id, ok := o["Id"]; ok {
		return id, nil
	}
	return nil, errors.New(`no entry for key "ID"`)
}

// asJSON turns structs, wherever they are in a value, into objects, and times into
// their text (RFC 3339). Numbers and lists keep their types, because templates compare
// and join them. Names that the JSON leaves out while they are empty are there.
func asJSON(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Pointer, reflect.Interface:
		return asJSON(v.Elem()) // of nil Invalid
	case reflect.Struct:
		return structAsJSON(v)
	case reflect.Slice:
		if elem := v.Type().Elem().Kind(); elem != reflect.Struct && elem != reflect.Pointer && elem != reflect.Interface {
			return v.Interface()
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = asJSON(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

func structAsJSON(v reflect.Value) any {
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		if text, err := t.MarshalText(); err == nil {
			return string(text)
		}
	}
	o := object{}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			name = field.Name
		}
		if field.IsExported() && name != "-" {
			o[name] = asJSON(v.Field(i))
		}
	}
	return o
}
