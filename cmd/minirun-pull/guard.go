package main

// What a registry says is what a stranger says: it names the server of its tokens, and leads
// to other servers by redirects. The guard is the last to see each request, and the first to
// see what comes back.
//
//   - The user has named the registry, and may know why it has a private address. Every other
//     server must have a public address, or else a registry could have this machine ask its
//     own services, its neighbours, or the cloud's metadata service (169.254.169.254), with
//     the user's password if it likes. The address is looked at when the connection is made:
//     a name can stand for any address, and for another one each time.
//   - Without TLS nobody knows who answers, and everybody on the way reads the password. So
//     plain HTTP is for a registry on this machine, and for those that the user calls insecure.
//   - A server that is silent is given up, also one that sends a byte now and then.
//   - What is not a layer is small.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"minirun/rootfs/image"
)

// durations are how long a server may take.
type durations struct {
	connect time.Duration // for TCP, and again for TLS
	answer  time.Duration // to begin an answer
	silence time.Duration // to send the next leastBytes
	retry   time.Duration // before a request is tried again; then three times as long
}

var usual = durations{connect: 15 * time.Second, answer: 30 * time.Second, silence: 30 * time.Second, retry: time.Second}

// leastBytes have to come in each time of silence.
const leastBytes = 4 << 10

var (
	errPlain  = errors.New("plain HTTP")
	errInside = errors.New("not a public address")
	errStall  = errors.New("the server has stopped sending")
	errLong   = errors.New("the answer is too long")
)

// A guard is a transport.
type guard struct {
	registry string // the host that the user has named, with its port if there is one
	insecure []string
	inner    *http.Transport
	silence  time.Duration
}

func newGuard(registry string, insecure []string, d durations) *guard {
	g := &guard{registry: registry, insecure: insecure, silence: d.silence}
	g.inner = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            g.dialer(d.connect),
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // digests are of what is sent
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        time.Minute,
		TLSHandshakeTimeout:    d.connect,
		ResponseHeaderTimeout:  d.answer,
		MaxResponseHeaderBytes: 256 << 10,
	}
	return g
}

// named says whether the user has named a host: as a registry, or as an insecure one.
func (g *guard) named(host string) bool {
	return canonical(host) == canonical(g.registry) || matches(g.insecure, host)
}

// canonical is a host and its port in lower case; without a port it is both of the usual ones.
func canonical(host string) string {
	return strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), ":443"), ":80")
}

// mayBePlain says whether a host may be asked without TLS.
func (g *guard) mayBePlain(host string) bool {
	return canonical(host) == canonical(g.registry) && isLoopback(host) || matches(g.insecure, host)
}

// isLoopback says whether a host is this machine by its name: localhost, or an address.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return address.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// RoundTrip carries out one request.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	switch {
	case req.URL.Scheme == "http" && !g.mayBePlain(host):
		return nil, fmt.Errorf("%s: %w", host, errPlain)
	case !g.named(host) && isLiteral(req.URL) && !isPublic(literal(req.URL)): // a proxy would connect to it
		return nil, fmt.Errorf("%s: %w", host, errInside)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.inner.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = g.watch(resp.Body, isLong(req.Context()), cancel)
	return resp, nil
}

func literal(u *url.URL) netip.Addr {
	address, _ := netip.ParseAddr(u.Hostname())
	return address
}

func isLiteral(u *url.URL) bool { return literal(u).IsValid() }

// dialer connects: to the user's registry and the user's proxy wherever they are, and else to
// public addresses.
func (g *guard) dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	proxies := proxyHosts(g.registry)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
		host := strings.TrimPrefix(address, "") // host:port
		switch {
		case proxies[host]:
		case g.named(host) && matches(g.insecure, host):
		case g.named(host) && isLoopback(host): // it may be asked without TLS for that
			d.Control = onlyTo(netip.Addr.IsLoopback)
		case g.named(host):
		default:
			d.Control = onlyTo(isPublic)
		}
		return d.DialContext(ctx, network, address)
	}
}

// onlyTo refuses a connection, before it is made, to an address that is not fit.
func onlyTo(fit func(netip.Addr) bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err == nil && !fit(to.Addr().Unmap()) {
			return fmt.Errorf("%s: %w", to.Addr(), errInside)
		}
		return err
	}
}

// proxyHosts are the proxies of the environment, such as HTTPS_PROXY, for requests to anybody.
func proxyHosts(registry string) map[string]bool {
	hosts := map[string]bool{}
	for _, u := range []string{"https://" + registry, "http://" + registry, "https://example.com", "http://example.com"} {
		req, err := http.NewRequest(http.MethodGet, u, nil)
		if err != nil {
			continue // the registry's name is no URL: nothing will be asked
		}
		proxy, err := http.ProxyFromEnvironment(req)
		if err != nil || proxy == nil {
			continue
		}
		port := proxy.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
		}
		hosts[net.JoinHostPort(proxy.Hostname(), port)] = true
	}
	return hosts
}

// notPublic are the ranges that netip has no word for.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared (RFC 6598); a cloud's metadata service is there
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("fec0::/10"),
}

// nat64 is the prefix of IPv4 addresses behind a translator (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// isPublic says whether an address belongs to the internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() // which is neither loopback, link-local nor multicast
}

// longKey marks the context of a request for a layer.
type longKey struct{}

func withLong(ctx context.Context) context.Context { return context.WithValue(ctx, longKey{}, true) }
func isLong(ctx context.Context) bool              { return ctx.Value(longKey{}) != nil }

// A watched body ends with an error if nothing comes for some time, or too much.
type watched struct {
	io.ReadCloser
	long    bool
	left    int64 // that may still come, unless it is long
	since   int64 // bytes since the timer was set
	timer   *time.Timer
	silence time.Duration
	cancel  context.CancelCauseFunc
	stalled chan struct{}
}

func (g *guard) watch(body io.ReadCloser, long bool, cancel context.CancelCauseFunc) io.ReadCloser {
	w := &watched{ReadCloser: body, long: long, left: image.MaxDocument + 1, silence: g.silence, cancel: cancel, stalled: make(chan struct{})}
	w.timer = time.AfterFunc(g.silence, func() {
		close(w.stalled)
		cancel(errStall)
	})
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if w.left -= int64(n); w.left < 0 && !w.long {
		return 0, errLong
	}
	if w.since += int64(n); w.since >= leastBytes && w.timer.Stop() {
		w.since = 0
		w.timer.Reset(w.silence)
	}
	if err != nil && err != io.EOF {
		select {
		case <-w.stalled:
			err = errStall
		default:
		}
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
