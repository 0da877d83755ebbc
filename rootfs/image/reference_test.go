package image

import (
	"strings"
	"testing"
)

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	for _, c := range []struct{ in, canonical, familiar, repository string }{
		{"httpd", "docker.io/library/httpd:latest", "httpd:latest", "httpd"},
		{"httpd:2.4", "docker.io/library/httpd:2.4", "httpd:2.4", "httpd"},
		{"me/tool", "docker.io/me/tool:latest", "me/tool:latest", "me/tool"},
		{"docker.io/httpd", "docker.io/library/httpd:latest", "httpd:latest", "httpd"},
		{"index.docker.io/library/httpd", "docker.io/library/httpd:latest", "httpd:latest", "httpd"},
		{"localhost/x", "localhost/x:latest", "localhost/x:latest", "localhost/x"},
		{"localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x"},
		{"quay.io/a/b__c/d--e.f:V_1.0", "quay.io/a/b__c/d--e.f:V_1.0", "quay.io/a/b__c/d--e.f:V_1.0", "quay.io/a/b__c/d--e.f"},
		{"httpd@sha256:" + hex64, "docker.io/library/httpd@sha256:" + hex64, "httpd@sha256:" + hex64, "httpd"},
		{"httpd:2@sha256:" + hex64, "docker.io/library/httpd:2@sha256:" + hex64, "httpd:2@sha256:" + hex64, "httpd"},
		{"deadbeef", "docker.io/library/deadbeef:latest", "deadbeef:latest", "deadbeef"},
		{"HOST/x", "HOST/x:latest", "HOST/x:latest", "HOST/x"},
	} {
		r, err := ParseReference(c.in)
		if err != nil {
			t.Errorf("ParseReference(%q): %v", c.in, err)
			continue
		}
		if r.String() != c.canonical || r.Familiar() != c.familiar || r.Repository() != c.repository {
			t.Errorf("ParseReference(%q) = %q, %q, %q, want %q, %q, %q", c.in, r, r.Familiar(), r.Repository(), c.canonical, c.familiar, c.repository)
		}
		if again, err := ParseReference(r.Familiar()); err != nil || again != r {
			t.Errorf("ParseReference(%q) = %v, %v, want %v", r.Familiar(), again, err, r)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, in := range []string{
		"", ":", "x:", "/x", "x/", "a//b", "../x", "x/..", "Httpd", "a b", "a\x1b", "x:.tag", "x:-t", "x:a/b:", "x:" + strings.Repeat("t", 129),
		"a..b", "a___b", "a_-b", "-a", "a-", "_a", hex64, "x@sha256:12", "x@md5:" + hex64, "x@sha256:" + strings.ToUpper(hex64), "-h.io/x", "h.io:p/x", "h.io:/x",
		strings.Repeat("a", 250), "x@", "@sha256:" + hex64, "..", ".", "a.io/",
	} {
		if r, err := ParseReference(in); err == nil {
			t.Errorf("ParseReference(%q) = %v, want an error", in, r)
		}
	}
}

func TestZeroReference(t *testing.T) {
	if s := (Reference{}).String() + (Reference{}).Familiar(); s != "" {
		t.Errorf("zero Reference prints %q, want nothing", s)
	}
}
