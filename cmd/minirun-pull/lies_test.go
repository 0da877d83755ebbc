package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"minirun/rootfs/image"
)

// endless writes until nobody reads any more.
func endless(w http.ResponseWriter) {
	block := bytes.Repeat([]byte{'a'}, 64<<10)
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// silent sends a little, and then nothing.
func silent(w http.ResponseWriter, r *http.Request) {
	w.Write([]byte("{"))
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// TestLies: each registry lies in one way. The pull ends with an error that says so, and the
// store works, and has nothing of it.
func TestLies(t *testing.T) {
	at := func(part string, answer http.HandlerFunc) func(*server, image.Manifest) {
		return func(s *server, m image.Manifest) {
			part := strings.ReplaceAll(part, "LAYER", "/blobs/"+m.Layers[0].Digest.String())
			part = strings.ReplaceAll(part, "CONFIG", "/blobs/"+m.Config.Digest.String())
			s.lie = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, part) {
					return false
				}
				answer(w, r)
				return true
			}
		}
	}
	say := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); fmt.Fprint(w, text) }
	}
	to := func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusTemporaryRedirect) }
	}
	bearer := func(realm string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.ReplaceAll(realm, "HOST", r.Host)+`",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	for name, c := range map[string]struct {
		lie  func(*server, image.Manifest)
		want string
	}{
		"another layer": {func(s *server, m image.Manifest) {
			s.blobs[m.Layers[0].Digest.String()] = bytes.Repeat([]byte("x"), int(m.Layers[0].Size))
		}, "content does not match"},
		"a longer layer":        {at("LAYER", func(w http.ResponseWriter, _ *http.Request) { endless(w) }), "content does not match its size"},
		"a shorter layer":       {func(s *server, m image.Manifest) { s.blobs[m.Layers[0].Digest.String()] = nil }, "it ends after 0"},
		"another configuration": {func(s *server, m image.Manifest) { s.blobs[m.Config.Digest.String()] = []byte("{}") }, "content does not match"},
		"endless configuration": {at("CONFIG", func(w http.ResponseWriter, _ *http.Request) { endless(w) }), "content does not match"},
		"endless manifest":      {at("/manifests/", func(w http.ResponseWriter, _ *http.Request) { endless(w) }), "limit exceeded: more than 4194304 bytes"},
		"endless greeting":      {at("/v2/", func(w http.ResponseWriter, r *http.Request) { endless(w) }), ""},
		"no manifest":           {at("/manifests/", say(200, "<html>log in</html>")), "invalid character"},
		"endless token": {func(s *server, _ image.Manifest) {
			s.lie = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" {
					endless(w)
				} else {
					bearer("http://HOST/token")(w, r)
				}
				return true
			}
		}, "limit"},
		"silent greeting":          {at("/v2/", silent), ""},
		"silent manifest":          {at("/manifests/", silent), "does not answer"},
		"silent layer":             {at("LAYER", silent), "does not answer"},
		"no answer":                {at("/manifests/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "does not answer"},
		"redirects in a circle":    {at("/manifests/", func(w http.ResponseWriter, r *http.Request) { to(r.URL.Path)(w, r) }), "more than 10 redirects"},
		"redirect to metadata":     {at("LAYER", to("https://169.254.169.254/latest/meta-data")), "not a public address"},
		"the same, plain":          {at("LAYER", to("http://169.254.169.254/latest/meta-data")), "plain HTTP"},
		"redirect to a neighbour":  {at("LAYER", to("https://10.1.2.3/x")), "not a public address"},
		"redirect to a mapped one": {at("LAYER", to("https://[::ffff:127.0.0.1]/x")), "not a public address"},
		"redirect to a file":       {at("LAYER", to("file:///etc/passwd")), "unsupported protocol scheme"},
		"redirect to this machine": {at("LAYER", to("https://127.0.0.1:1/x")), "not a public address"},
		"the same by a name":       {at("LAYER", to("https://localhost:1/x")), "not a public address"},
		"token server is metadata": {at("/v2/", bearer("https://169.254.169.254/token")), "private"},
		"token server by a name":   {at("/v2/", bearer("https://localhost:1/token")), "not a public address"},
		"rate limit":               {at("/manifests/", say(429, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`)), "toomanyrequests"},
		"denied":                   {at("/manifests/", say(403, `{"errors":[{"code":"DENIED"}]}`)), "access denied"},
		"no such repository":       {at("/manifests/", say(404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`)), "no such repository"},
		"out of order":             {at("/manifests/", say(500, "")), "answers 500 Internal Server Error"},
		"range that nobody asked for": {at("LAYER", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(206)
		}), "was not asked for"},
		"codes for the terminal": {at("/manifests/", say(404, `{"errors":[{"code":"NAME_UNKNOWN\u001b[2J","message":"\u001b[2J"}]}`)), "no such repository or tag"},
	} {
		t.Run(name, func(t *testing.T) {
			store, s := closed(t), newServer(t)
			c.lie(s, s.publish(t, "latest", 5000))
			start := time.Now()
			_, err := pull(t, store, s.host()+"/x")
			if c.want == "" && err == nil {
				return // what is too long or slow there does not matter
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want one line with %q", err, c.want)
			}
			if took := time.Since(start); took > 40*time.Second {
				t.Errorf("it took %v", took)
			}
			works(t, store, 0)
			if left, _ := filepath.Glob(store + "/blobs/sha256/*"); left != nil && !strings.Contains(c.want, "ends") {
				t.Errorf("in the store: %q", left)
			}
			s.lie = nil
		})
	}
}

// TestBomb: a layer that is small and becomes large, and a manifest that says it has a gigabyte.
func TestBomb(t *testing.T) {
	store, s := closed(t), newServer(t)
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	must(t, err)
	for range 256 {
		_, err := z.Write(make([]byte, 1<<20))
		must(t, err)
	}
	must(t, z.Close())
	m := s.publish(t, "latest", 10)
	layer := s.put(image.MediaTypeLayerGzip, packed.Bytes())
	m.Layers = []image.Descriptor{layer}
	s.tags["bomb"] = s.put(image.MediaTypeManifest, marshal(t, m)).Digest.String()
	if _, err := pull(t, store, s.host()+"/x:bomb"); !errors.Is(err, image.ErrDigest) {
		t.Errorf("a layer of zeros: %v", err) // its diff id is not the one that the configuration has
	}
	m.Config.Size = 1 << 30
	s.tags["large"] = s.put(image.MediaTypeManifest, marshal(t, m)).Digest.String()
	if _, err := pull(t, store, s.host()+"/x:large"); !errors.Is(err, image.ErrLimit) {
		t.Errorf("a configuration of a gigabyte: %v", err)
	}
	works(t, store, 0)
}

// TestCredentials: docker's config has a password for one registry. It goes there, and not where
// that registry leads to, even if the user trusts that other one.
func TestCredentials(t *testing.T) {
	store, s := closed(t), newServer(t)
	m := s.publish(t, "latest", 5000)
	other := newServer(t)
	other.blobs, other.kinds = s.blobs, s.kinds
	seen := make(chan string, 100)
	other.lie = func(_ http.ResponseWriter, r *http.Request) bool {
		seen <- r.Header.Get("Authorization")
		return false
	}
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.Contains(r.URL.Path, m.Layers[0].Digest.String()) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	_, err := pull(t, store, s.host()+"/x")
	if err == nil || !strings.Contains(err.Error(), "access denied") || !strings.Contains(hint(err), "docker login") {
		t.Errorf("without a password: %v", err)
	}
	config := filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json")
	must(t, os.WriteFile(config, []byte(`{"auths":{"`+s.host()+`":{"auth":"YW5uOnNlY3JldA=="}}}`), 0o600))
	if _, err = pull(t, store, s.host()+"/x"); err == nil || !strings.Contains(err.Error(), "public") && !strings.Contains(err.Error(), "plain HTTP") {
		t.Errorf("to another server: %v", err)
	}
	if len(seen) != 0 {
		t.Errorf("%d requests to the other server", len(seen))
	}
	_, err = pull(t, store, s.host()+"/x", "--insecure-registry", other.host())
	must(t, err)
	if got := <-seen; got != "" {
		t.Errorf("the other server was shown %q", got)
	}
	must(t, os.WriteFile(config, []byte(`{"auths":{"`+s.host()+`":{"auth":"YW5uOndyb25n"}}}`), 0o600))
	if _, err := pull(t, t.TempDir()+"/s", s.host()+"/x"); err == nil || !strings.Contains(err.Error(), "refuses the name and password") {
		t.Errorf("with a wrong password: %v", err)
	}
	must(t, os.WriteFile(config, []byte(`{"credsStore":"minirun-test-missing"}`), 0o600))
	if _, err := pull(t, t.TempDir()+"/s", s.host()+"/x"); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("with a helper that is missing: %v", err)
	}
}

// TestToken: a registry with a server of tokens at the same address.
func TestToken(t *testing.T) {
	store, s := closed(t), newServer(t)
	s.publish(t, "latest", 5000)
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token" && r.URL.Query().Get("scope") == "repository:me/x:pull":
			fmt.Fprint(w, `{"token":"abc"}`)
			return true
		case r.Header.Get("Authorization") != "Bearer abc":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	_, err := pull(t, store, s.host()+"/me/x")
	must(t, err)
	works(t, store, 1)
}

// TestOffline: nobody listens there.
func TestOffline(t *testing.T) {
	store := closed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	l.Close()
	_, err = pull(t, store, address+"/x")
	if err == nil || !strings.Contains(err.Error(), "cannot be reached: "+address+": connection refused") || !strings.Contains(hint(err), "minirun load") || !strings.Contains(hint(err), "examples/httpd/build") {
		t.Errorf("offline: %v; %q", err, hint(err))
	}
}

// TestMirror: a registry is asked through its mirror, and where that is down, itself; and only
// one that is allowed is asked.
func TestMirror(t *testing.T) {
	store, s := closed(t), newServer(t)
	s.publish(t, "latest", 10)
	settings := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "minirun/registries")
	write := func(text string) { must(t, os.WriteFile(settings, []byte(text), 0o600)) }
	write("mirror docker.io 127.0.0.1:1\nmirror docker.io " + s.host() + "\nallow 127.0.0.1\n")
	out, err := pull(t, store, "httpd")
	must(t, err)
	if !strings.HasSuffix(out, "\ndocker.io/library/httpd:latest\n") || s.asked("/v2/library/httpd/manifests/latest") != 1 {
		t.Errorf("through a mirror: %s %q", out, s.requests)
	}
	write("allow elsewhere.example\n")
	if _, err := pull(t, store, s.host()+"/x"); !errors.Is(err, errNotAllowed) {
		t.Errorf("not allowed: %v", err)
	}
	write("allow\n")
	if _, err := pull(t, store, s.host()+"/x"); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a wrong line: %v", err)
	}
}

// TestPlain: a registry that is not on loopback is not asked without TLS. (Nothing is sent.)
func TestPlain(t *testing.T) {
	g := newGuard("registry.example:5000", nil, quick)
	for host, want := range map[string]bool{"registry.example:5000": false, "10.0.0.1:5000": false, "127.0.0.1:1": false} {
		if g.mayBePlain(host) != want {
			t.Errorf("%s without TLS: %v", host, !want)
		}
	}
	g = newGuard("127.0.0.2:5000", []string{"registry.lan"}, quick)
	for host, want := range map[string]bool{"127.0.0.2:5000": true, "127.0.0.1:5000": false, "registry.lan:80": true, "localhost": false} {
		if g.mayBePlain(host) != want {
			t.Errorf("%s without TLS: %v", host, !want)
		}
	}
}

func TestIsPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700::1": true, "64:ff9b::101:101": true,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false, "::ffff:127.0.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "fe80::1": false, "fd00:ec2::254": false, "100.100.100.200": false, "0.0.0.0": false, "::": false,
		"224.0.0.1": false, "255.255.255.255": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false,
	} {
		if isPublic(netip.MustParseAddr(address)) != want {
			t.Errorf("%s is public: %v, want %v", address, !want, want)
		}
	}
}

// TestCertificate: a certificate that nobody vouches for ends the pull; it is not tried without TLS.
func TestCertificate(t *testing.T) {
	store, s := closed(t), newServer(t)
	secure := httptest.NewTLSServer(s)
	t.Cleanup(secure.Close)
	_, err := pull(t, store, strings.TrimPrefix(secure.URL, "https://")+"/x")
	if err == nil {
		t.Error("pulled from a server with a certificate of its own")
	}
	works(t, store, 0)
}
