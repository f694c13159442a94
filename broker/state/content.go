package state

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// matches says whether a list of entity tags has the one given, in the weak comparison of RFC 9110, 8.8.3.2.
func matches(lists []string, etag string) bool {
	for _, list := range lists {
		for _, tag := range strings.Split(list, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// ifMatch says whether the request is for what is there: without If-Match, or if that has its strong tag (RFC 9110, 13.1.1).
func ifMatch(r *http.Request, etag string) bool {
	lists := r.Header.Values("If-Match")
	if len(lists) == 0 {
		return true
	}
	for _, list := range lists {
		for _, tag := range strings.Split(list, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || tag == etag {
				return true
			}
		}
	}
	return false
}

// ifRange says whether a Range counts: without If-Range, or if that is the strong tag of what is there.
func ifRange(r *http.Request, etag string) bool {
	condition := r.Header.Get("If-Range")
	return condition == "" || condition == etag
}

// parseRange reads a Range of one span of bytes: last -1 for none, and first < 0 for that many from the end. Anything else
// may be ignored (RFC 9110, 14.2).
func parseRange(s string) (first, last int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes=")
	from, to, ok2 := strings.Cut(strings.TrimSpace(s), "-")
	if !ok || !ok2 || strings.Contains(to, ",") {
		return 0, 0, false
	}
	if from == "" {
		n, err := strconv.ParseUint(to, 10, 63)
		return -int64(n), -1, err == nil && n > 0
	}
	begin, err := strconv.ParseUint(from, 10, 63)
	if err != nil {
		return 0, 0, false
	}
	if to == "" {
		return int64(begin), -1, true
	}
	end, err := strconv.ParseUint(to, 10, 63)
	return int64(begin), int64(end), err == nil && end >= begin
}

// negotiate picks the encoding: the one of zstd, gzip and none that the client likes best, in this order where it does not
// care.
func negotiate(accept []string) string {
	weights := map[string]float64{}
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			w, err := strconv.ParseFloat(q, 64)
			if err != nil {
				continue
			}
			weight = w
		}
		weights[name] = weight
	}
	best, bestWeight := "", weights["identity"]
	for _, name := range []string{"zstd", "gzip"} {
		weight, named := weights[name]
		if !named {
			weight = weights["*"]
		}
		if weight > 0 && (weight > bestWeight || best == "" && weight == bestWeight) {
			best, bestWeight = name, weight
		}
	}
	return best
}

// counter counts what it passes on.
type counter struct {
	w    io.Writer
	n    int64
	sent func(float64)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.sent(float64(n))
	return n, err
}

// errPartDone ends the encoding of a frame when the part that was asked for is out.
var errPartDone = errors.New("the part is complete")

// partWriter passes on a span of what is written.
type partWriter struct {
	w          io.Writer
	skip, left int64
}

func (p *partWriter) Write(b []byte) (int, error) {
	n := len(b)
	if drop := min(p.skip, int64(len(b))); drop > 0 {
		p.skip -= drop
		b = b[drop:]
	}
	b = b[:min(p.left, int64(len(b)))]
	if len(b) > 0 {
		if _, err := p.w.Write(b); err != nil {
			return 0, err
		}
		p.left -= int64(len(b))
	}
	if p.left == 0 {
		return n, errPartDone
	}
	return n, nil
}

// sizesMax bounds how many frames' encoded sizes are remembered.
const sizesMax = 4096

// sizes remembers the encoded size of resources by their entity tags, so that a range need not be preceded by encoding all for its length.
type sizes struct {
	mu    sync.Mutex
	bytes map[string]int64 // guarded by mu
}

func newSizes() *sizes { return &sizes{bytes: map[string]int64{}} }

func (s *sizes) get(etag string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.bytes[etag]
	return n, ok
}

func (s *sizes) put(etag string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old := range s.bytes {
		if len(s.bytes) < sizesMax {
			break
		}
		delete(s.bytes, old)
	}
	s.bytes[etag] = n
}

var _ http.Flusher = (*pacedWriter)(nil)
