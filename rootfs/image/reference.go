package image

// References: the names people type for images.
//
//	httpd                       docker.io/library/httpd:latest
//	me/tool:1.2                 docker.io/me/tool:1.2
//	localhost:5000/x            localhost:5000/x:latest
//	httpd@sha256:0123…          docker.io/library/httpd@sha256:0123…
//
// The left is the familiar form, the right the canonical one, which is what
// index.json holds. The grammar is the one registries and engines share: the
// first component is a host if it has a dot, a colon or an upper-case letter,
// or is "localhost".

import (
	"fmt"
	"strings"
)

const (
	defaultDomain = "docker.io"
	defaultPrefix = "library/"
	defaultTag    = "latest"
	maxNameLength = 255
	maxTagLength  = 128
)

// A Reference names an image. The zero Reference names none.
type Reference struct {
	// Domain is the registry's host with an optional port, such as docker.io.
	Domain string
	// Path is the repository within the registry, such as library/httpd.
	Path string
	// Tag is the version's name; "" if and only if there is a Digest without a tag.
	Tag string
	// Digest is the manifest's (or index's) digest; "" for none.
	Digest Digest
}

// ParseReference reads a familiar or canonical name. What is left out becomes
// docker.io, library/ and latest. A name of 64 hexadecimal digits is refused,
// since it could be mistaken for an image ID.
func ParseReference(s string) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("parse image name %q: %w", s, err)
	}
	return r, nil
}

func parseReference(s string) (r Reference, err error) {
	s, sum, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if r.Digest, err = parseDigest(sum); err != nil {
			return r, err
		}
	}
	name, tag := cutTag(s)
	if tag == "" && !hasDigest {
		tag = defaultTag
	}
	r.Tag = tag
	r.Domain, r.Path = cutDomain(name)
	return r, r.check(s)
}

// cutTag splits at the last colon, unless what follows has a slash: then the
// colon was that of a port. An explicitly empty tag is kept as ":" so that
// check refuses it.
func cutTag(s string) (name, tag string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.Contains(s[i:], "/") {
		return s, ""
	}
	if i == len(s)-1 {
		return s[:i], ":"
	}
	return s[:i], s[i+1:]
}

func cutDomain(name string) (domain, path string) {
	first, rest, ok := strings.Cut(name, "/")
	if !ok || !isDomain(first) {
		first, rest = defaultDomain, name
	}
	if first == "index."+defaultDomain {
		first = defaultDomain
	}
	if first == defaultDomain && !strings.Contains(rest, "/") {
		rest = defaultPrefix + rest
	}
	return first, rest
}

func isDomain(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:") || strings.ToLower(s) != s
}

// check applies the grammar to the parts of the name that was typed as s.
func (r Reference) check(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("empty name")
	case len(r.Domain)+1+len(r.Path) > maxNameLength:
		return fmt.Errorf("longer than %d characters", maxNameLength)
	case len(s) == 64 && isHex(s):
		return fmt.Errorf("64 hexadecimal digits are an image ID, not a name")
	case !validDomain(r.Domain):
		return fmt.Errorf("host %q is not valid", r.Domain)
	case r.Tag != "" && !validTag(r.Tag):
		return fmt.Errorf("tag %q is not valid: letters, digits, '_', '.', '-', at most %d", r.Tag, maxTagLength)
	}
	for part := range strings.SplitSeq(r.Path, "/") {
		if !validComponent(part) {
			return fmt.Errorf("%q is not valid: lower-case letters and digits, separated by '.', '_', '__' or '-'", part)
		}
	}
	return nil
}

// validComponent accepts runs of a-z0-9 with '.', '_', '__' or any number of
// '-' between them.
func validComponent(s string) bool {
	run := 0 // start of the separator being read
	for i := 0; i < len(s); i++ {
		if isLowerAlnum(s[i]) {
			if i > 0 && run < i && !validSeparator(s[run:i]) {
				return false
			}
			run = i + 1
		}
	}
	return s != "" && isLowerAlnum(s[0]) && run == len(s)
}

func validSeparator(s string) bool {
	return s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

func validDomain(s string) bool {
	host, port, hasPort := strings.Cut(s, ":")
	if hasPort && (port == "" || strings.Trim(port, "0123456789") != "") {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || !all(label, isLabelByte) {
			return false
		}
	}
	return true
}

func validTag(s string) bool {
	return len(s) <= maxTagLength && s[0] != '.' && s[0] != '-' && all(s, isTagByte)
}

func isHex(s string) bool {
	return all(s, func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' })
}

func isLowerAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
func isLabelByte(c byte) bool  { return isLowerAlnum(c) || c >= 'A' && c <= 'Z' || c == '-' }
func isTagByte(c byte) bool    { return isLabelByte(c) || c == '_' || c == '.' }

func all(s string, is func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

// parseDigest accepts sha256 digests only: the store has no place for others.
// Digests become file names, so nothing unchecked may pass here.
func parseDigest(s string) (Digest, error) {
	hex, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(hex) != 64 || !isHex(hex) {
		return "", fmt.Errorf("digest %q is not sha256: and 64 hexadecimal digits", s)
	}
	return Digest(s), nil
}

// String gives the canonical form, docker.io/library/httpd:latest; "" for the
// zero Reference.
func (r Reference) String() string {
	if r.Path == "" {
		return ""
	}
	return r.Domain + "/" + r.Path + r.suffix()
}

// Familiar gives the short form, httpd:latest.
func (r Reference) Familiar() string {
	if r.Path == "" {
		return ""
	}
	return r.Repository() + r.suffix()
}

// Repository gives the familiar name without tag and digest, httpd.
func (r Reference) Repository() string {
	if r.Domain != defaultDomain {
		return r.Domain + "/" + r.Path
	}
	return strings.TrimPrefix(r.Path, defaultPrefix)
}

func (r Reference) suffix() (s string) {
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}
