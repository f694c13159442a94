package state

import (
	"errors"
	"net/http"
	"strconv"

	"connectrpc.com/connect"

	api "github.com/keyframelog/keyframe/proto/state"
)

// parseSince reads ?since=; -1: there is none.
func parseSince(r *http.Request) (int64, error) {
	q := parseQuery(r, "since")
	since, given := q.number("since", 64)
	if !given {
		since = -1
	}
	return since, q.err
}

// setSince makes the resource what changed since an offset: by the view's own horizon, which nothing moves any more.
func (f *resource) setSince(since int64) error {
	cut, horizon := f.view.End(), f.view.Horizon()
	switch {
	case since < 0:
		return nil
	case since > cut:
		return connect.NewError(connect.CodeInvalidArgument, errors.New("since lies above the frame's cut"))
	case since < horizon:
		return refuseAt(api.Reason_REASON_BELOW_HORIZON, f.topic, f.partition, since,
			"what changed since offset %d of partition %d is not known any more: tombstones below %d have expired; load the whole frame",
			since, f.partition.Index, horizon)
	}
	f.since = since
	return nil
}

// suffix tells the resource from the whole frame.
func (f *resource) suffix(mark string) string {
	if f.since < 0 {
		return ""
	}
	return mark + strconv.FormatInt(f.since, 10)
}
