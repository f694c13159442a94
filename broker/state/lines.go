package state

import (
	"encoding/json"
	"net/http"

	api "github.com/keyframelog/keyframe/proto/state"
)

// rowLines is Scan as JSON lines, see the package doc.
func (s *service) rowLines(w http.ResponseWriter, r *http.Request) {
	q := parseQuery(r, "at", "prefix", "after", "limit", "partition")
	m := &api.ScanRequest{Topic: r.PathValue("topic"), At: q.point("at"), Prefix: q.bytes("prefix"), After: q.cursor("after"), Limit: q.limit(), Partition: q.partition()}
	lines := newLineWriter(w)
	lines.end(lines.run(q.err, func() error {
		return s.scanTo(r.Context(), m, func(answer *api.ScanResponse) error {
			for _, row := range answer.Rows {
				if err := lines.write(rowLineOf(row)); err != nil {
					return err
				}
			}
			return lines.flush()
		})
	}))
}

// diffLines is Diff as JSON lines.
func (s *service) diffLines(w http.ResponseWriter, r *http.Request) {
	q := parseQuery(r, "from", "to", "prefix", "after", "limit", "partition")
	m := &api.DiffRequest{
		Topic: r.PathValue("topic"), From: q.point("from"), To: q.point("to"), Prefix: q.bytes("prefix"), After: q.cursor("after"), Limit: q.limit(),
		Partition: q.partition(),
	}
	q.require("from")
	lines := newLineWriter(w)
	lines.end(lines.run(q.err, func() error {
		return s.diffTo(r.Context(), m, func(answer *api.DiffResponse) error {
			for _, row := range answer.Rows {
				if err := lines.write(diffLineOf(row)); err != nil {
					return err
				}
			}
			return lines.flush()
		})
	}))
}

// historyLines is History as JSON lines.
func (s *service) historyLines(w http.ResponseWriter, r *http.Request) {
	q := parseQuery(r, "key", "from", "to", "partition")
	m := &api.HistoryRequest{Topic: r.PathValue("topic"), Key: q.bytes("key"), From: q.point("from"), To: q.point("to"), Partition: q.partition()}
	q.require("key")
	lines := newLineWriter(w)
	lines.end(lines.run(q.err, func() error {
		return s.historyTo(r.Context(), m, func(answer *api.HistoryResponse) error {
			for _, v := range answer.Versions {
				if err := lines.write(versionLineOf(v)); err != nil {
					return err
				}
			}
			return lines.flush()
		})
	}))
}

// lineWriter sends JSON objects, one a line.
type lineWriter struct {
	w     http.ResponseWriter
	json  *json.Encoder
	begun bool
}

func newLineWriter(w http.ResponseWriter) *lineWriter {
	l := &lineWriter{w: w, json: json.NewEncoder(w)}
	l.json.SetEscapeHTML(false)
	return l
}

// run calls stream if nothing is wrong with the request.
func (l *lineWriter) run(wrong error, stream func() error) error {
	if wrong != nil {
		return wrong
	}
	return stream()
}

func (l *lineWriter) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
	}
}

func (l *lineWriter) write(v any) error {
	l.begin()
	return l.json.Encode(v)
}

func (l *lineWriter) flush() error {
	l.begin()
	return http.NewResponseController(l.w).Flush()
}

// end tells of an error: with its status where nothing was sent, else in a last line, and the response is cut off.
func (l *lineWriter) end(err error) {
	switch {
	case err == nil:
	case !l.begun:
		writeError(l.w, err)
	default:
		_ = l.json.Encode(map[string]any{"error": errorBody(err)})
		_ = l.flush()
		panic(http.ErrAbortHandler) // net/http's way to break off
	}
}
