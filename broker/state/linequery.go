package state

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/suggest"
)

// query is the parameters of a request; err is the first that is wrong.
type query struct {
	values url.Values
	err    error
}

func parseQuery(r *http.Request, known ...string) *query {
	q := &query{}
	var err error
	if q.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		q.fail("the query cannot be read: %v", err)
	}
	for name, given := range q.values {
		if slices.Contains(known, name) {
			if len(given) > 1 {
				q.fail("the parameter %s is given %d times", name, len(given))
			}
			continue
		}
		if best := suggest.Nearest(name, known); best != "" {
			q.fail("unknown parameter %q: did you mean %q?", name, best)
		}
		q.fail("unknown parameter %q: there are %s", name, strings.Join(known, ", "))
	}
	return q
}

func (q *query) fail(format string, args ...any) {
	if q.err == nil {
		q.err = connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
	}
}

func (q *query) require(name string) {
	if !q.values.Has(name) {
		q.fail("the parameter %s is missing", name)
	}
}

func (q *query) point(name string) *api.At {
	if !q.values.Has(name) {
		return nil
	}
	text := q.values.Get(name)
	// A plus sign in a query is a space: that of a time zone is meant.
	at, err := ParsePoint(strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		q.fail("%s=%s: %w", name, text, err)
	}
	return at
}

func (q *query) bytes(name string) []byte { return []byte(q.values.Get(name)) }

func (q *query) cursor(name string) *api.Cursor {
	if !q.values.Has(name) {
		return nil
	}
	return &api.Cursor{Key: q.bytes(name)}
}

func (q *query) number(name string, bits int) (n int64, given bool) {
	if !q.values.Has(name) {
		return 0, false
	}
	text := q.values.Get(name)
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil || n < 0 {
		q.fail("%s=%s: write a number from 0 on", name, text)
	}
	return n, true
}

func (q *query) limit() int64 {
	n, _ := q.number("limit", 64)
	return n
}

func (q *query) partition() *int32 {
	n, given := q.number("partition", 32)
	if !given {
		return nil
	}
	p := int32(n)
	return &p
}
