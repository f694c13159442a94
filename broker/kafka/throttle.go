package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/wire"
)

// anonymous is the user of a connection that has not said who it is.
const anonymous = "ANONYMOUS"

const (
	keyProduce = 0
	keyFetch   = 1
)

// quotaConn is where a connection keeps its own bounds.
type quotaConn struct{}

func clientOf(r *wire.Request) quota.Client { return quota.Client{User: anonymous, ID: r.ClientID} }

// throttled counts what an answer and its making took, once it is there. began is when the request was.
func (h *Handler) throttled(r *wire.Request, resp wire.Response, began time.Time) wire.Response {
	q := h.cfg.Quotas
	if q == nil || !q.BoundsAny() || resp.Close != "" {
		return resp
	}
	worked := h.cfg.Now().Sub(began)
	switch {
	case resp.Finish != nil:
		finish := resp.Finish
		resp.Finish = func(ctx context.Context) wire.Message {
			m := finish(ctx)
			if m != nil {
				h.throttle(r, m, worked)
			}
			return m
		}
	case resp.None:
		h.throttle(r, nil, 0) // its time is not counted, as in Kafka
	default:
		h.throttle(r, resp.Message, worked)
	}
	return resp
}

// throttle counts a request by all that bounds it. The longest wait is told in the answer, and the connection is muted for it.
func (h *Handler) throttle(r *wire.Request, m wire.Message, worked time.Duration) {
	q, c := h.cfg.Quotas, clientOf(r)
	records := 0
	if f, ok := m.(*fetchResponse); ok {
		records = f.bytes
	} else {
		if r.Key == keyProduce {
			h.overQuota(r, quota.Produce, q.Record(quota.Produce, c, float64(r.Bytes)))
		}
		h.overQuota(r, quota.Request, q.Record(quota.Request, c, percent(worked)))
	}
	if q.BoundsConnections() {
		v, _ := r.Conn.Local().LoadOrStore(quotaConn{}, &quota.Conn{})
		r.Throttle = max(r.Throttle, q.RecordConn(v.(*quota.Conn), r.Bytes+records))
	}
	if t, ok := m.(kmsg.SetThrottleResponse); ok && r.Throttle > 0 {
		t.SetThrottle(int32(r.Throttle.Milliseconds()))
	}
}

// overQuota notes that a request has to wait.
func (h *Handler) overQuota(r *wire.Request, kind quota.Kind, wait time.Duration) {
	if wait > 0 {
		h.cfg.Quotas.Throttled(kind, wait)
		r.Throttle = max(r.Throttle, wait)
	}
}

// percent is a time in hundredths of a second, which is what request_percentage counts a second.
func percent(worked time.Duration) float64 { return 100 * worked.Seconds() }

// throttleFetch counts the records of an answer and the time they took. Whoever is over a quota gets none of them now, and says so: true.
func (f *fetching) throttleFetch(bytes int, worked time.Duration) bool {
	q := f.h.cfg.Quotas
	if q == nil || !q.BoundsAny() {
		return false
	}
	c := clientOf(f.r)
	bandwidth := q.Record(quota.Fetch, c, float64(bytes))
	request := q.Record(quota.Request, c, percent(worked))
	if bandwidth == 0 && request == 0 {
		return false
	}
	q.Unrecord(quota.Fetch, c, float64(bytes))
	f.h.overQuota(f.r, quota.Fetch, bandwidth)
	f.h.overQuota(f.r, quota.Request, request)
	return true
}

// mutates counts changes of partitions. A client that knows the refusal (KIP-599) gets it when it is over its quota; others wait afterwards.
func (h *Handler) mutates(r *wire.Request, partitions int, strict bool) error {
	q := h.cfg.Quotas
	if q == nil || !q.Bounds(quota.Mutation) {
		return nil
	}
	taken, wait := q.Mutate(clientOf(r), partitions, strict)
	h.overQuota(r, quota.Mutation, wait)
	if !taken {
		return &refusal{throttlingQuotaExceeded, "The throttling quota has been exceeded."}
	}
	return nil
}
