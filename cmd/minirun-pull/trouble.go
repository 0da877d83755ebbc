package main

// What went wrong, in one line: the name, the registry, the cause. The library's errors
// repeat URLs with tokens in them, and what servers have written; so each kind that is
// known has words of its own.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"minirun/rootfs/image"
)

// A trouble is an error with a hint.
type trouble struct {
	error
	hint string
}

func (t trouble) Unwrap() error { return t.error }

// The hints. What is between back quotes can be typed; a test of minirun's does that.
const (
	hintOffline = "`docker save IMAGE | minirun load` takes one from docker, `minirun load -i FILE` out of an archive; in minirun's source, `examples/httpd/build` makes httpd"
	hintLogin   = "`docker login` writes down a name and a password in ~/.docker/config.json, from where minirun reads them"
	hintLimit   = "wait an hour or so, or log in: the limit of those who have is higher. " + hintLogin
	hintName    = "look for a letter too many or too few; `minirun images` lists the images that are here"
	hintFull    = "`minirun image prune` removes what unfinished pulls have left, and images without a name; `minirun rmi --force IMAGE` removes another one"
	hintPlain   = "if you trust the network between you and it, `minirun pull --insecure-registry HOST IMAGE`"
	hintAllowed = "`minirun images` lists the images that are here; the file says which registries are asked"
)

func hint(err error) string {
	var t trouble
	if errors.As(err, &t) {
		return t.hint
	}
	return ""
}

// explain says what an error means.
func explain(err error, name image.Reference) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	text, hint := cause(err)
	var from asked
	if errors.As(err, &from) {
		text = fmt.Errorf("registry %s: %w", from.host, text)
	}
	return trouble{fmt.Errorf("pull %s: %w", name.Familiar(), text), hint}
}

// cause is what an error says, and what to do. The order matters: an error about an answer
// of the server wraps one about the connection.
func cause(err error) (error, string) {
	var answer *transport.Error
	var lookup *net.DNSError
	var login credentials
	switch {
	case errors.As(err, &login):
		return fmt.Errorf("credentials: %w", login.error), hintLogin
	case errors.Is(err, errNotAllowed):
		return err, hintAllowed
	case errors.Is(err, errInside):
		return fmt.Errorf("it leads to another server: %w: not connected to", last(err)), "if that is right, `insecure HOST` in /etc/minirun/registries lets it"
	case errors.As(err, &answer):
		return answered(answer, err)
	case errors.As(err, &lookup):
		return fmt.Errorf("cannot be reached: no address of %s: %s", lookup.Name, lookup.Err), hintOffline
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return err, hintFull
	case isOne(err, syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN):
		return fmt.Errorf("cannot be reached: %w", last(err)), hintOffline
	case errors.Is(err, errPlain):
		return fmt.Errorf("%w, without TLS: only on this machine, or if you say that it is insecure", last(err)), hintPlain
	case isTimeout(err):
		return errors.New("does not answer"), hintOffline
	}
	return inner(err), ""
}

// answered explains an answer of the server's.
func answered(answer *transport.Error, err error) (error, string) {
	has := func(codes ...transport.ErrorCode) bool {
		for _, d := range answer.Errors {
			for _, code := range codes {
				if d.Code == code {
					return true
				}
			}
		}
		return false
	}
	var with withCredentials
	switch {
	case answer.StatusCode == http.StatusTooManyRequests || has(transport.TooManyRequestsErrorCode):
		return errors.New("too many requests from you for now (toomanyrequests)"), hintLimit
	case has(transport.NameUnknownErrorCode):
		return errors.New("no such repository"), hintName
	case has(transport.ManifestUnknownErrorCode):
		return errors.New("no such tag or digest"), hintName
	case answer.StatusCode == http.StatusUnauthorized && errors.As(err, &with):
		return errors.New("unauthorized: it refuses the name and password that docker's config has for it"), hintLogin
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return errors.New("access denied: there is no such repository, or it wants a login"), hintLogin
	case answer.StatusCode == http.StatusNotFound:
		return errors.New("no such repository or tag"), hintName
	}
	return fmt.Errorf("answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode)), ""
}

func isOne(err error, list ...error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, errStall)
}

// inner is an error without the URL that net/http puts before it.
func inner(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// last is the part of an error that says most: the address or host, and why.
func last(err error) error {
	var op *net.OpError
	var path *fs.PathError
	switch {
	case errors.As(err, &op) && op.Addr != nil:
		return fmt.Errorf("%s: %w", op.Addr, root(op.Err))
	case errors.As(err, &path):
		return path
	}
	return inner(err)
}

// root is the innermost error.
func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
