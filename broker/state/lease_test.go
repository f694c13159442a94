package state_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/proto/batch"
	api "github.com/keyframelog/keyframe/proto/state"
)

// slowly loads a frame in pieces, lets the log be trimmed as fast as it can between them, and then follows the log. It returns the state, or
// that deltas were missing.
func slowly(t *testing.T, n *node, leased bool) (m model, position int64, missing error) {
	settings := calm()
	settings.DeltaRetentionMs, settings.Retain = 0, 2
	got, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: "slow"})
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_FRAME, got.Answer)
	if !leased {
		require.NoError(t, n.renew(got.Lease.Id, -1, true))
	}
	churn := func() {
		for range 3 {
			n.logs[0].Append(memlog.Put(fmt.Sprint("key", n.logs[0].Bounds().LogEnd%41), "churn"))
			n.cut()
			n.clock.ms.Add(1000)
			require.NoError(t, n.k.Configure(topicName, settings))
		}
		if leased {
			require.NoError(t, n.renew(got.Lease.Id, -1, false))
		} else {
			n.trimTo(got.Frame.Cut+1, settings)
		}
	}
	var body []byte
	etag := fmt.Sprintf(`"%x"`, got.Frame.Pub)
	for {
		answer, part := n.request(http.MethodGet, framePath(got.Frame.Cut), "Range", fmt.Sprintf("bytes=%d-%d", len(body), len(body)+499), "If-Match", etag)
		if answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			break
		}
		if answer.StatusCode != http.StatusPartialContent {
			require.Contains(t, string(part), "REASON_UNKNOWN_FRAME")
			return nil, 0, fmt.Errorf("%s", part)
		}
		body = append(body, part...)
		churn()
	}
	m = model{}
	m.apply(t, body)
	for position = got.From; position < n.logs[0].Bounds().LastStable; {
		batches, err := n.logs[0].Batches(position, position+1, 1)
		if err != nil {
			return nil, 0, err
		}
		position = batches[0].NextOffset()
		m.follow(t, batches[0])
	}
	require.NoError(t, n.renew(got.Lease.Id, position, true))
	return m, position, nil
}

func (m model) follow(t *testing.T, b batch.Batch) {
	r := batch.NewReader(1 << 20)
	require.NoError(t, r.Reset(b))
	for record, err := range r.All() {
		require.NoError(t, err)
		if record.Value == nil {
			delete(m, string(record.Key))
		} else {
			m[string(record.Key)] = modelRow{string(record.Value), record.Offset}
		}
	}
}

// While the log is trimmed as fast as it can, whoever loads a frame slowly under a lease misses nothing; without one he is told.
func TestTrimmingDoesNotOutrunALease(t *testing.T) {
	n := newNode(t, 1, nil)
	changed(n, 100)
	n.cut()
	m, position, err := slowly(t, n, true)
	require.NoError(t, err)
	got, err := n.client.DigestAt(context.Background(), connect.NewRequest(&api.DigestAtRequest{Topic: topicName, Offset: position}))
	require.NoError(t, err)
	sum := m.digest().Sum.Bytes()
	require.Equal(t, sum[:], got.Msg.Sum)
	settings := calm()
	settings.Retain = 2
	n.trimTo(101, settings)
	_, _, err = slowly(t, n, false)
	require.ErrorContains(t, err, "no key frame at this offset")
}

// Each end of a lease is told, with its reason.
func TestLeaseEnds(t *testing.T) {
	n := newNode(t, 1, nil)
	changed(n, 100)
	n.cut()
	grant := func() []byte {
		t.Helper()
		got, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1})
		require.NoError(t, err)
		return got.Lease.Id
	}
	ended := func(id []byte, want api.Reason) {
		t.Helper()
		_, why, _ := reason(t, n.renew(id, -1, false))
		require.Equal(t, want, why)
	}
	id := grant()
	require.NoError(t, n.renew(id, 100, true))
	ended(id, api.Reason_REASON_LEASE_EXPIRED)
	id = grant()
	n.clock.ms.Add(29_999)
	require.NoError(t, n.renew(id, -1, false))
	n.clock.ms.Add(30_000)
	ended(id, api.Reason_REASON_LEASE_EXPIRED)

	// What one lease holds up is bounded.
	id = grant()
	for range 3 {
		n.logs[0].Append(memlog.Put("large", strings.Repeat("x", leaseBytesMax/2)))
		n.cut()
	}
	n.trimTo(101, calm())
	ended(id, api.Reason_REASON_LEASE_REVOKED)

	// A lease that names what is not there is no lease: it came back with a crash.
	stale, err := n.leases.Grant(leaseTerms(n, 5))
	require.NoError(t, err)
	ended(stale.ID[:], api.Reason_REASON_LEASE_REVOKED)

	id = grant()
	require.NoError(t, n.k.Remove(t.Context(), topicName))
	ended(id, api.Reason_REASON_TOPIC_DELETED)
	_, err = n.client.RenewLease(context.Background(), connect.NewRequest(&api.RenewLeaseRequest{Id: []byte{1}}))
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
}

func leaseTerms(n *node, cut int64) lease.Terms {
	return lease.Terms{Topic: topicName, TopicID: [16]byte{7}, Incarnation: [16]byte(incarnation()), Replica: "stale", Cut: cut, Since: -1, From: cut}
}
