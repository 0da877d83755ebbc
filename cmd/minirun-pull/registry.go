package main

// A registry, by the OCI distribution specification:
//
//	GET /v2/                          who are you, and what do I have to show? (the library)
//	GET /v2/REPOSITORY/manifests/TAG  a manifest or an index
//	GET /v2/REPOSITORY/blobs/DIGEST   a configuration or a layer, from a byte on
//
// Challenges, tokens and credentials are the library's, google/go-containerregistry: those of
// docker's config.json, or podman's auth.json, and of the credential helpers named there.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"minirun/rootfs/image"
)

// A registry is one repository of a registry. It is the store's [image.Source].
type registry struct {
	repository name.Repository
	auth       authn.Authenticator
	client     *http.Client
	document   []byte // the manifest that the name stands for, once it is known
	digest     image.Digest
}

// dial asks a registry what credentials it wants, and shows it those that the user has.
func dial(ctx context.Context, host, path string, known *registries, d durations) (*registry, error) {
	g := newGuard(host, known.insecure, d)
	var options []name.Option
	if g.mayBePlain(host) {
		options = append(options, name.Insecure) // TLS is tried first
	}
	reg, err := name.NewRegistry(host, options...)
	if err != nil {
		return nil, err
	}
	g.registry = reg.RegistryStr() // index.docker.io, if it is docker.io
	repository := reg.Repo(path)
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, repository)
	if err != nil {
		return nil, credentials{err}
	}
	retry := transport.NewRetry(g, transport.WithRetryBackoff(transport.Backoff{Duration: d.retry, Factor: 3, Jitter: 0.1, Steps: 3}),
		transport.WithRetryPredicate(isWorthATry), transport.WithRetryStatusCodes(500, 502, 503, 504))
	t, err := transport.NewWithContext(ctx, reg, auth, retry, []string{repository.Scope(transport.PullScope)})
	if err != nil {
		return nil, refused(err, auth)
	}
	return &registry{repository: repository, auth: auth, client: &http.Client{Transport: t, CheckRedirect: fewRedirects}}, nil
}

// credentials is an error of the files or helpers that have the user's credentials.
type credentials struct{ error }

func (c credentials) Unwrap() error { return c.error }

// refused notes whether it was with credentials that the registry has refused us.
func refused(err error, auth authn.Authenticator) error {
	if auth != authn.Anonymous {
		return withCredentials{err}
	}
	return err
}

type withCredentials struct{ error }

func (w withCredentials) Unwrap() error { return w.error }

// isWorthATry says whether a request that has failed may succeed a moment later.
func isWorthATry(err error) bool {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return answer.Temporary()
	}
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fewRedirects bounds redirects. Where they lead is the guard's business.
func fewRedirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	return nil
}

// resolve fetches the manifest, or index, that a name stands for.
func (r *registry) resolve(ctx context.Context, name image.Reference) (d image.Descriptor, err error) {
	identifier := name.Tag
	if name.Digest != "" {
		identifier = name.Digest.String()
	}
	for pause := time.Second / 4; ; pause *= 4 {
		d, err = r.manifest(ctx, identifier)
		if err == nil || !isWorthATry(err) || pause > 5*time.Second || ctx.Err() != nil {
			break
		}
		time.Sleep(pause)
	}
	if err == nil && name.Digest != "" && name.Digest != d.Digest {
		return d, fmt.Errorf("manifest %s: %w: the registry sent %s", name.Digest, image.ErrDigest, d.Digest)
	}
	return d, err
}

func (r *registry) manifest(ctx context.Context, identifier string) (d image.Descriptor, err error) {
	resp, err := r.get(ctx, "manifests", identifier, 0)
	if err != nil {
		return d, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, image.MaxDocument+1))
	if err != nil {
		return d, fmt.Errorf("manifest: %w", err)
	}
	if len(content) > image.MaxDocument {
		return d, fmt.Errorf("manifest: %w: more than %d bytes", image.ErrLimit, image.MaxDocument)
	}
	r.document, r.digest = content, image.DigestOf(content)
	d = image.Descriptor{Digest: r.digest, Size: int64(len(content))}
	// Where the type that is sent is no type of a manifest, the one in the document counts.
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && slices.Contains(image.DocumentTypes(), kind) {
		d.MediaType = kind
	}
	return d, nil
}

// get asks for something in the repository, from a byte on.
func (r *registry) get(ctx context.Context, kind, identifier string, offset int64) (*http.Response, error) {
	u := url.URL{Scheme: r.repository.Scheme(), Host: r.repository.RegistryStr(), Path: "/v2/" + r.repository.RepositoryStr() + "/" + kind + "/" + identifier}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if kind == "manifests" {
		req.Header.Set("Accept", strings.Join(image.DocumentTypes(), ", "))
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, refused(err, r.auth)
	}
	return resp, nil
}

// Blob implements [image.Source].
func (r *registry) Blob(ctx context.Context, d image.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	if d.Digest == r.digest {
		return io.NopCloser(strings.NewReader(string(r.document))), 0, nil
	}
	kind := "manifests"
	if !image.IsDocument(d) {
		kind, ctx = "blobs", withLong(ctx)
	}
	resp, err := r.get(ctx, kind, d.Digest.String(), offset)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable && offset > 0 {
		resp, err = r.get(ctx, kind, d.Digest.String(), 0)
	}
	if err != nil {
		return nil, 0, err
	}
	start, err := begins(resp)
	if err != nil {
		resp.Body.Close()
		return nil, 0, err
	}
	return resp.Body, start, nil
}

// begins is the byte at which an answer begins.
func begins(resp *http.Response) (start int64, err error) {
	if resp.StatusCode == http.StatusOK {
		return 0, nil
	}
	text := resp.Header.Get("Content-Range")
	if _, err := fmt.Sscanf(text, "bytes %d-", &start); err != nil || start < 0 {
		return 0, fmt.Errorf("the server sends a part without saying which: Content-Range %q", text)
	}
	return start, nil
}
