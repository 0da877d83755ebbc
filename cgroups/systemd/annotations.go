package systemd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file reads annotations that ask for a property of the unit.

// Annotation is how the name of such an annotation begins:
//
//	org.systemd.property.TimeoutStopUSec: "uint64 5000000"
const Annotation = "org.systemd.property."

// harmless are the properties that an annotation may set. Everybody who can start a
// pod can write annotations. Other properties could turn off the host
// (SuccessAction), stop its services (Conflicts), or move the container out of its
// slice (CVE-2024-3154). For limits there is linux.resources.
var harmless = []struct{ name, signature string }{
	{"After", "as"},
	{"Before", "as"},
	{"CollectMode", "s"},
	{"DefaultDependencies", "b"},
	{"Description", "s"},
	{"Documentation", "as"},
	{"KillSignal", "i"},
	{"ManagedOOMMemoryPressure", "s"},
	{"ManagedOOMSwap", "s"},
	{"OOMPolicy", "s"},
	{"RuntimeMaxUSec", "t"},
	{"SendSIGHUP", "b"},
	{"TimeoutStopUSec", "t"},
}

// parseAnnotations returns the properties that annotations ask for. A name may end
// with Sec instead of USec; then the value is in seconds.
func parseAnnotations(annotations map[string]string) (all []property, err error) {
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, Annotation)
		if !ok {
			continue
		}
		p, err := parseProperty(name, annotations[key])
		if err != nil {
			return nil, fmt.Errorf("annotation %q: %w", key, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// parseProperty reads one property. The value is in GVariant's text form; its type
// may be left out.
func parseProperty(name, text string) (p property, err error) {
	of := valueOf
	if short, ok := strings.CutSuffix(name, "Sec"); ok && !strings.HasSuffix(short, "U") {
		name, of = short+"USec", seconds
	}
	for _, h := range harmless {
		if h.name != name {
			continue
		}
		value, err := of(h.signature, text)
		if err != nil {
			return p, fmt.Errorf("value %q: %w", text, err)
		}
		return property{name, value}, nil
	}
	return p, errors.New("a container may not set this property of its unit")
}

// valueOf reads a value in GVariant's text form: 5, uint64 5, true, 'text', or
// ['a.service', 'b.service'].
func valueOf(signature, text string) (value any, err error) {
	text = strings.TrimSpace(text)
	switch signature {
	case "b":
		if text != "true" && text != "false" {
			return nil, errors.New("want true or false")
		}
		return text == "true", nil
	case "i":
		n, err := strconv.ParseInt(untyped("int32", text), 10, 32)
		if err != nil {
			return nil, errors.New("want an int32")
		}
		return int32(n), nil
	case "t":
		n, err := strconv.ParseUint(untyped("uint64", text), 10, 64)
		if err != nil {
			return nil, errors.New("want a uint64")
		}
		return n, nil
	case "s":
		s, rest, err := quoted(text)
		if err == nil && rest != "" {
			err = fmt.Errorf("unexpected %q", rest)
		}
		return s, err
	}
	return texts(text) // as
}

// untyped removes the type of a number.
func untyped(kind, text string) string {
	return strings.TrimSpace(strings.TrimPrefix(text, kind+" "))
}

// texts reads a list of strings.
func texts(text string) ([]string, error) {
	text, isOpen := strings.CutPrefix(text, "[")
	text, isClosed := strings.CutSuffix(text, "]")
	if !isOpen || !isClosed {
		return nil, errors.New("want a list such as ['a', 'b']")
	}
	all := []string{}
	for text = strings.TrimSpace(text); text != ""; {
		s, rest, err := quoted(text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		more := strings.HasPrefix(rest, ",")
		text = strings.TrimSpace(strings.TrimPrefix(rest, ","))
		if more != (text != "") {
			return nil, fmt.Errorf("unexpected %q", rest)
		}
	}
	return all, nil
}

// quoted reads a string in single or double quotes, and returns what follows it. No
// harmless property needs a character that has to be escaped.
func quoted(text string) (s, rest string, err error) {
	if text == "" || text[0] != '\'' && text[0] != '"' {
		return "", "", errors.New("want a string in quotes")
	}
	s, rest, found := strings.Cut(text[1:], text[:1])
	if !found || strings.ContainsFunc(s, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) || !utf8.ValidString(s) {
		return "", "", errors.New("want a string in quotes, without \\ and control characters")
	}
	return s, strings.TrimSpace(rest), nil
}

// seconds turns seconds, such as 5 or 0.5, into the microseconds of D-Bus.
func seconds(_, text string) (any, error) {
	_, number, found := strings.Cut(strings.TrimSpace(text), " ") // uint64 5
	if !found {
		number = text
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n >= 0 && n < 1e12) {
		return nil, errors.New("want a number of seconds")
	}
	return uint64(n * 1e6), nil
}
