package state_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/proto/batch"
	api "github.com/keyframelog/keyframe/proto/state"
)

// watcher reads a watch message by message.
type watcher struct {
	t      *testing.T
	stream *connect.ServerStreamForClient[api.WatchResponse]
	rest   []*api.Change
	asOf   *api.AsOf // newest
}

func watching(t *testing.T, n *node, m *api.WatchRequest) *watcher {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	m.Topic = topicName
	stream, err := n.client.Watch(ctx, connect.NewRequest(m))
	require.NoError(t, err)
	w := &watcher{t: t, stream: stream}
	n.onStop(func() {
		cancel()
		_ = stream.Close()
	})
	return w
}

func (w *watcher) next() *api.WatchResponse {
	w.t.Helper()
	require.True(w.t, w.stream.Receive(), "%v", w.stream.Err())
	m := w.stream.Msg()
	w.rest = append(w.rest, m.Changes...)
	if len(m.AsOf) > 0 {
		w.asOf = m.AsOf[0]
	}
	return m
}

func (w *watcher) until(ok func(*api.WatchResponse) bool) *api.WatchResponse {
	w.t.Helper()
	for {
		if m := w.next(); ok(m) {
			return m
		}
	}
}

func (w *watcher) caughtUp() *watcher {
	w.t.Helper()
	w.until(func(m *api.WatchResponse) bool { return len(m.CaughtUp) > 0 })
	return w
}

// change is the next one.
func (w *watcher) change() *api.Change {
	w.t.Helper()
	for len(w.rest) == 0 {
		w.next()
	}
	c := w.rest[0]
	w.rest = w.rest[1:]
	return c
}

// told writes the changes that came so far as text.
func (w *watcher) told() (list []string) {
	for _, c := range w.rest {
		s := fmt.Sprintf("%s=%s@%d", c.Row.Key, c.Row.Value, c.Row.Offset)
		switch {
		case c.Expired:
			s = fmt.Sprintf("%s expired", c.Row.Key)
		case c.Deleted:
			s = fmt.Sprintf("%s deleted@%d", c.Row.Key, c.Row.Offset)
		}
		list = append(list, s)
	}
	w.rest = nil
	return list
}

func (w *watcher) failed() (connect.Code, api.Reason) {
	w.t.Helper()
	for w.stream.Receive() {
	}
	code, why, _ := reason(w.t, w.stream.Err())
	return code, why
}

func TestWatch(t *testing.T) {
	n := newNode(t, 1, nil)
	l := n.logs[0]
	l.Append(memlog.Put("a", "1"))
	w := watching(t, n, &api.WatchRequest{})
	first := w.next()
	require.Equal(t, []int32{0}, first.CaughtUp)
	require.Empty(t, first.Changes, "it begins at the end")
	require.EqualValues(t, 1, first.AsOf[0].Offset)
	require.Len(t, first.AsOf[0].Incarnation, 16)

	l.Append(memlog.Put("b", "1"), memlog.Put("a", "2"), memlog.Delete("a"))
	w.next()
	require.Equal(t, []string{"b=1@1", "a deleted@3"}, w.told(), "a key once, as it is")
	require.EqualValues(t, 4, w.asOf.Offset)

	l.AppendIn(5, memlog.Put("c", "never"))
	l.End(5, false)
	l.AppendIn(5, memlog.Put("c", "1"))
	l.Append(memlog.Put("d", "1"))
	l.End(5, true)
	for w.asOf.Offset < l.Bounds().LastStable {
		w.next()
	}
	require.Equal(t, []string{"c=1@6", "d=1@7"}, w.told(), "aborted records never, open ones when they are committed")
}

// Whoever comes back gets what changed since, deletes included, each key once, from the log or from the table; and whoever was away too long is told so.
func TestWatchResumes(t *testing.T) {
	n := newNode(t, 1, nil)
	l := n.logs[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"), memlog.Put("c", "1"))
	w := watching(t, n, &api.WatchRequest{FromStart: true}).caughtUp()
	require.Equal(t, []string{"a=1@0", "b=1@1", "c=1@2"}, w.told())
	from := w.asOf

	l.Append(memlog.Put("a", "2"))
	l.Append(memlog.Put("a", "3"), memlog.Delete("b"))
	resume := func(prefix string) []string {
		w := watching(t, n, &api.WatchRequest{From: []*api.AsOf{from}, Prefix: []byte(prefix)})
		first := w.next()
		require.Empty(t, first.BeginsAnew)
		if len(first.CaughtUp) == 0 {
			w.caughtUp()
		}
		return w.told()
	}
	want := []string{"a=3@4", "b deleted@5"}
	require.Equal(t, want, resume(""), "from the log")
	require.Equal(t, want[1:], resume("b"))
	n.cut()
	require.Equal(t, want, resume(""), "from the table")

	l.Append(memlog.Put("d", "1"))
	l.Append(memlog.Put("e", "1"))
	n.cut()
	l.Append(memlog.Put("f", "1"))
	n.trimTo(from.Offset+1, n.settings)
	require.Equal(t, append(want, "d=1@6", "e=1@7", "f=1@8"), resume(""), "below the delta start offset")
	require.Equal(t, want[1:], resume("b"))

	n.settings.DeltaRetentionMs, n.settings.DeleteRetentionMs = 0, 0
	n.clock.ms.Add(1000)
	require.NoError(t, n.k.Configure(topicName, n.settings))
	p, err := n.k.Partition(topicName, 0)
	require.NoError(t, err)
	tab, err := p.Table()
	require.NoError(t, err)
	eventually(t, func() bool { return tab.Horizon() > from.Offset })
	w = watching(t, n, &api.WatchRequest{From: []*api.AsOf{from}})
	require.Equal(t, []int32{0}, w.next().BeginsAnew)
	require.Nil(t, w.asOf, "no point to go on from before all is told")
	if w.asOf == nil {
		w.caughtUp()
	}
	require.Equal(t, []string{"a=3@4", "c=1@2", "d=1@6", "e=1@7", "f=1@8"}, w.told())
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, time.Millisecond)
}

// Keys whose rows the log start passes are told as expired: those in the table, those that were told and not folded yet, and those that went while
// nobody watched; not those that were deleted, or are there again.
func TestWatchTellsWhatExpired(t *testing.T) {
	n := newNode(t, 1, nil)
	l := n.logs[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"), memlog.Put("c", "1"), memlog.Put("gone", "1"))
	n.cut()
	l.Append(memlog.Put("a", "2"), memlog.Delete("gone"), memlog.Put("d", "1"))
	w := watching(t, n, &api.WatchRequest{FromStart: true}).caughtUp()
	w.told()
	away := w.asOf
	require.NoError(t, l.HideBelow(t.Context(), 2))
	for w.asOf.Start < 2 {
		w.next()
	}
	require.Equal(t, []string{"b expired"}, w.told())
	require.EqualValues(t, 2, w.asOf.Start)

	l.Append(memlog.Put("b", "again"))
	require.Equal(t, "b", string(w.change().Row.Key))
	require.NoError(t, l.HideBelow(t.Context(), 3))
	for w.asOf.Start < 3 {
		w.next()
	}
	require.Equal(t, []string{"c expired"}, w.told())
	back := watching(t, n, &api.WatchRequest{From: []*api.AsOf{away}}).caughtUp()
	require.Equal(t, []string{"c expired", "b=again@7"}, back.told())

	l.Append(memlog.Put("e", "1"), memlog.Put("f", "1"))
	for w.asOf.Offset < 10 {
		w.next()
	}
	w.told()
	require.NoError(t, l.HideBelow(t.Context(), 9)) // the newest frame below has all rows but e, which never gets into the table
	for w.asOf.Start < 9 {
		require.Empty(t, w.next().BeginsAnew)
	}
	require.Equal(t, []string{"a expired", "d expired", "b expired", "e expired"}, w.told())
	rows, _, _, err := n.scan(&api.ScanRequest{})
	require.NoError(t, err)
	require.Len(t, rows, 1)
}

func TestWatchRefusals(t *testing.T) {
	n := newNode(t, 2, func(c *state.Config) { c.Watches = 2 })
	n.logs[0].Append(memlog.Put("a", "1"))
	refused := func(m *api.WatchRequest) api.Reason {
		_, why := watching(t, n, m).failed()
		return why
	}
	here := func(offset int64) *api.AsOf {
		return &api.AsOf{Incarnation: bytes.Clone(append([]byte{0, 1}, make([]byte, 14)...)), Offset: offset}
	}
	other := here(1)
	other.Incarnation[5] = 9
	require.Equal(t, api.Reason_REASON_OTHER_INCARNATION, refused(&api.WatchRequest{From: []*api.AsOf{other}}))
	require.Equal(t, api.Reason_REASON_FUTURE_POSITION, refused(&api.WatchRequest{From: []*api.AsOf{here(2)}}))
	require.Equal(t, api.Reason_REASON_AMBIGUOUS_POINT, refused(&api.WatchRequest{From: []*api.AsOf{here(1), here(1)}}))
	require.Equal(t, api.Reason_REASON_UNKNOWN_PARTITION, refused(&api.WatchRequest{From: []*api.AsOf{{Partition: 7}}}))
	require.Equal(t, api.Reason_REASON_UNKNOWN_PARTITION, refused(&api.WatchRequest{Partition: ptr(int32(7))}))

	a, b := watching(t, n, &api.WatchRequest{From: []*api.AsOf{here(1)}}).caughtUp(), watching(t, n, &api.WatchRequest{})
	b.caughtUp()
	code, why := watching(t, n, &api.WatchRequest{}).failed()
	require.Equal(t, connect.CodeResourceExhausted, code)
	require.Equal(t, api.Reason_REASON_TOO_MANY_WATCHES, why)
	require.NoError(t, b.stream.Close())
	eventually(t, func() bool { // its place is free
		w := watching(t, n, &api.WatchRequest{})
		return w.stream.Receive() && w.stream.Close() == nil
	})

	require.NoError(t, n.k.Remove(t.Context(), topicName))
	code, why = a.failed()
	require.Equal(t, connect.CodeNotFound, code)
	require.Equal(t, api.Reason_REASON_TOPIC_DELETED, why)
}

// A watch of a topic tells of the partitions that it gets, ends when it is not key-framed any more, and with the broker.
func TestWatchFollowsTheTopic(t *testing.T) {
	n := newNode(t, 1, nil)
	w, one := watching(t, n, &api.WatchRequest{}).caughtUp(), watching(t, n, &api.WatchRequest{Partition: ptr(int32(0))}).caughtUp()
	spec := n.spec(2)
	n.logs[1].Append(memlog.Put("first", "1"))
	require.NoError(t, n.k.Grow(spec))
	require.EqualValues(t, 1, w.change().Row.Partition)
	later := watching(t, n, &api.WatchRequest{From: []*api.AsOf{{Partition: 0, Incarnation: n.partition().Incarnation[:]}}})
	require.EqualValues(t, 1, later.change().Row.Partition, "who goes on did not know of it yet")
	n.logs[0].Append(memlog.Put("a", "1"))
	require.EqualValues(t, 0, one.change().Row.Partition, "who watches one partition is told of that alone")

	settings := calm()
	settings.Paused = true
	require.NoError(t, n.k.Configure(topicName, settings))
	_, why := w.failed()
	require.Equal(t, api.Reason_REASON_NOT_KEY_FRAMED, why)
	n.logs[0].Append(memlog.Put("b", "1"))
	_, err := n.get(&api.GetRequest{Key: []byte("b")})
	_, why, _ = reason(t, err)
	require.Equal(t, api.Reason_REASON_NOT_KEY_FRAMED, why, "nobody folds it")
	require.NoError(t, n.k.Configure(topicName, calm()))

	w = watching(t, n, &api.WatchRequest{}).caughtUp()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, n.server.Shutdown(ctx))
	for w.stream.Receive() {
	}
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(w.stream.Err()))
}

// A watch whose client does not read holds no iterator, so that what trims and compactions leave comes back; later it is told all the same.
func TestWatchOfASlowClientHoldsNothing(t *testing.T) {
	n := newNode(t, 1, nil)
	l := n.logs[0]
	value := string(bytes.Repeat([]byte("x"), 1000))
	const keys = 20_000 // more than the buffers between
	put := func(round int) {
		var list []batch.Record
		for i := range keys {
			list = append(list, memlog.Put(fmt.Sprint("key", i), fmt.Sprint(round, value)))
			if len(list) == 1000 {
				l.Append(list...)
				list = nil
			}
		}
	}
	put(1)
	n.cut()
	w := watching(t, n, &api.WatchRequest{FromStart: true})
	w.next()
	put(2)
	n.cut()
	eventually(t, func() bool { return n.pdb.Metrics().TableIters == 0 })
	seen := map[string]string{}
	w.until(func(m *api.WatchResponse) bool {
		for _, c := range m.Changes {
			seen[string(c.Row.Key)] = string(c.Row.Value)
		}
		w.rest = nil
		return len(m.AsOf) > 0 && m.AsOf[0].Offset == 2*keys
	})
	require.Len(t, seen, keys)
	for key, got := range seen {
		require.Equal(t, "2"+value, got, key)
	}
}
