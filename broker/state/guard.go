package state

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"
)

// guard refuses requests that a web page elsewhere made a browser send, see the package doc.
func (s *Server) guard(next http.Handler) http.Handler {
	calls := connect.NewErrorWriter(connect.WithRequireConnectProtocolHeader())
	refuse := func(w http.ResponseWriter, r *http.Request, why string) {
		s.metrics.refusedHosts.Inc()
		if calls.IsSupported(r) { // a client knows by it that the broker has said so, and nobody in between
			_ = calls.Write(w, r, connect.NewError(connect.CodePermissionDenied, errors.New(why)))
			return
		}
		http.Error(w, why, http.StatusForbidden)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ownHost(r) {
			refuse(w, r, "this server is not known by the host name of the request; name it in the configuration")
			return
		}
		if origin := r.Header.Values("Origin"); len(origin) > 0 && !ownOrigin(origin, r.Host) {
			refuse(w, r, "requests from web pages of other origins are refused")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost says whether the request was meant for this server: by a name that it was given, or by the address that the
// connection was made to, which no rebound name can look like.
func (s *Server) ownHost(r *http.Request) bool {
	host := hostname(r.Host)
	for _, own := range append([]string{"localhost", "127.0.0.1", "::1"}, s.cfg.Hosts...) {
		if strings.EqualFold(host, hostname(own)) {
			return true
		}
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	bound, err := netip.ParseAddrPort(local.String())
	named, err2 := netip.ParseAddr(host)
	return err == nil && err2 == nil && named.WithZone("").Unmap() == bound.Addr().WithZone("").Unmap()
}

// ownOrigin says whether the request comes from a page of this very server.
func ownOrigin(origins []string, host string) bool {
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !strings.EqualFold(u.Host, host) {
			return false
		}
	}
	return true
}

// hostname strips port and brackets.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// pace gives each write to a client StallTime, however long the response as a whole takes.
func (s *Server) pace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&pacedWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: s.cfg.StallTime}, r)
	})
}

// pacedWriter sets a deadline around each write. None is left between writes: in HTTP/2 it would end an idle stream.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	w.begin()
	defer w.end()
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which streaming handlers ask for.
func (w *pacedWriter) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController looks for.
func (w *pacedWriter) FlushError() error {
	w.begin()
	defer w.end()
	return w.control.Flush()
}

// Unwrap lets http.ResponseController reach the rest.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A writer without deadlines (a recorder in a test) has nobody to wait for either, so these errors do not matter.
func (w *pacedWriter) begin() { _ = w.control.SetWriteDeadline(time.Now().Add(w.stall)) }
func (w *pacedWriter) end()   { _ = w.control.SetWriteDeadline(time.Time{}) }
