package state_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	api "github.com/keyframelog/keyframe/proto/state"
)

// A key that was deleted is not told again as expired when the log start passes the row that it had, and a watcher that comes back is told of what left
// meanwhile, not of all rows again: the deltas may have been told before they were folded, or not be folded one by one, and the newest frame may be
// the only one there is.
func TestWatchOfDeletedKeysThatExpire(t *testing.T) {
	n := newNode(t, 1, nil)
	l := n.logs[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"), memlog.Put("c", "1"))
	w := watching(t, n, &api.WatchRequest{FromStart: true}).caughtUp()
	require.NoError(t, l.HideBelow(t.Context(), 3))
	for w.asOf.Start < 3 {
		w.next()
	}
	require.Equal(t, []string{"a=1@0", "b=1@1", "c=1@2", "a expired", "b expired", "c expired"}, w.told())
	l.Append(memlog.Put("d", "1"))
	l.Append(memlog.Put("a", "2"), memlog.Put("b", "2"), memlog.Put("c", "2"), memlog.Delete("d"))
	for w.asOf.Offset < 8 {
		w.next()
	}
	require.Contains(t, w.told(), "d deleted@7")
	from := w.asOf
	require.EqualValues(t, 3, from.Start)

	require.NoError(t, l.HideBelow(t.Context(), 4))
	for w.asOf.Start < 4 {
		w.next()
	}
	require.Empty(t, w.told(), "d was told of as deleted")
	require.NoError(t, l.HideBelow(t.Context(), 8))
	for w.asOf.Start < 8 {
		w.next()
	}
	require.Equal(t, []string{"a expired", "b expired", "c expired"}, w.told())
	back := watching(t, n, &api.WatchRequest{From: []*api.AsOf{from}})
	require.Empty(t, back.next().BeginsAnew)
	for back.asOf == nil {
		back.next()
	}
	require.Equal(t, []string{"a expired", "b expired", "c expired"}, back.told())
}

// However many keys expire at once, each is told once, with its last row.
func TestWatchOfManyRowsThatExpire(t *testing.T) {
	const keys, again = 60_000, 1000 // more than a watch finds out about at a time
	n := newNode(t, 1, nil)
	l := n.logs[0]
	put := func(keys int) {
		for from := 0; from < keys; from += 1000 {
			var list []batch.Record
			for i := range 1000 {
				list = append(list, memlog.Put(fmt.Sprint("key", from+i), ""))
			}
			l.Append(list...)
		}
		n.cut()
	}
	put(keys)
	put(again)
	w := watching(t, n, &api.WatchRequest{FromStart: true}).caughtUp()
	require.Len(t, w.rest, keys)
	w.told()
	require.NoError(t, l.HideBelow(t.Context(), keys+again))
	for w.asOf.Start < keys+again {
		w.next()
	}
	expired := map[string]int64{}
	for _, c := range w.rest {
		_, before := expired[string(c.Row.Key)]
		require.False(t, before || !c.Expired, "%v", c)
		expired[string(c.Row.Key)] = c.Row.Offset
	}
	require.Len(t, expired, keys)
	require.EqualValues(t, keys, expired["key0"])
	require.EqualValues(t, again, expired[fmt.Sprint("key", again)])
}

// One watcher of a topic whose rows expire, cut off and back at any time, is held to the log. At each as_of, once nothing newer was told, it knows
// what the log has there. A key comes once per resume, at no older offset than before, and as expired only where it was known. All rows come again
// only where deletions or rows that left are not stored any more.
func TestWatchOfRowsThatExpire(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := newNode(t, 1, nil)
		defer n.stop()
		n.settings.Retain = rapid.IntRange(1, 4).Draw(r, "retain")
		n.settings.DeleteRetentionMs = rapid.Int64Range(-1, 5).Draw(r, "delete retention") * 1000
		n.settings.IntervalRecords = rapid.SampledFrom([]int64{0, 5, 20}).Draw(r, "interval")
		require.NoError(r, n.k.Configure(topicName, n.settings))
		p, err := n.k.Partition(topicName, 0)
		require.NoError(r, err)
		w := &expiryWorld{node: n, r: r, p: p, mirror: newMirror(), once: map[string]int{}}
		defer w.leave()
		r.Repeat(map[string]func(*rapid.T){
			"":       func(*rapid.T) {},
			"append": w.append,
			"more":   w.append,
			"cut":    func(*rapid.T) { n.cut() },
			"expire": w.expire,
			"trim":   w.trim,
			"come":   w.comeOrLeave,
			"drain":  w.drain,
		})
		w.drain(r)
	})
}

type expiryWorld struct {
	*node
	r      *rapid.T
	p      *keyframer.Partition
	mirror *mirror
	log    []batch.Record // by offset
	ends   int

	stream *connect.ServerStreamForClient[api.WatchResponse]
	cancel func()
	from   *api.AsOf      // where the stream began; nil: at the start
	once   map[string]int // how often a key came before the present was told
	caught bool
	calm   bool // nothing happens beside
}

func (w *expiryWorld) put(records ...batch.Record) {
	w.logs[0].Append(records...)
	w.log = append(w.log, records...)
}

func (w *expiryWorld) append(r *rapid.T) {
	var list []batch.Record
	for range rapid.IntRange(1, 6).Draw(r, "records") {
		key := fmt.Sprint("key", rapid.IntRange(0, 7).Draw(r, "key"))
		if rapid.IntRange(0, 2).Draw(r, "delete") == 0 {
			list = append(list, memlog.Delete(key))
		} else {
			list = append(list, memlog.Put(key, fmt.Sprint(len(w.log)+len(list))))
		}
	}
	w.put(list...)
}

func (w *expiryWorld) expire(r *rapid.T) {
	if b := w.logs[0].Bounds(); b.LastStable > b.LogStart {
		require.NoError(r, w.logs[0].HideBelow(context.Background(), b.LogStart+rapid.Int64Range(1, b.LastStable-b.LogStart).Draw(r, "rows")))
	}
}

func (w *expiryWorld) trim(r *rapid.T) {
	w.clock.ms.Add(rapid.Int64Range(1, 10_000).Draw(r, "ms"))
	w.settings.DeltaRetentionMs = rapid.SampledFrom([]int64{-1, 0, 5000}).Draw(r, "delta retention")
	require.NoError(r, w.k.Configure(topicName, w.settings))
}

// settle waits until everything is applied, and the rows below the log start have left.
func (w *expiryWorld) settle() {
	news := make(chan struct{}, 1)
	defer w.p.Watch(func() { deadline.Wake(news) })()
	tab, err := w.p.Table()
	require.NoError(w.r, err)
	for late := time.After(time.Minute); ; {
		if b := w.p.Bounds(); w.p.Position() >= b.LastStable && tab.Start() >= b.LogStart {
			return
		}
		select {
		case <-news:
		case <-late:
			w.r.Fatal("the log start does not take effect")
		}
	}
}

func (w *expiryWorld) comeOrLeave(r *rapid.T) {
	if w.stream != nil {
		w.leave()
		return
	}
	w.calm = rapid.Bool().Draw(r, "calm")
	if w.calm {
		w.settle()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.cancel, w.from, w.caught = cancel, w.mirror.from[0], false
	clear(w.once)
	var err error
	w.stream, err = w.client.Watch(ctx, connect.NewRequest(&api.WatchRequest{Topic: topicName, FromStart: true,
		From: slices.Collect(maps.Values(w.mirror.from))}))
	require.NoError(r, err)
	for w.calm && !w.caught {
		w.next()
	}
	w.calm = false
}

func (w *expiryWorld) leave() {
	if w.stream != nil {
		w.cancel()
		_ = w.stream.Close()
		w.stream = nil
	}
}

// drain reads on until what is there now is told.
func (w *expiryWorld) drain(r *rapid.T) {
	if w.stream == nil {
		w.comeOrLeave(r)
	}
	w.ends++
	w.put(memlog.Put(fmt.Sprint("end", w.ends), "")) // a record that is surely told
	end := int64(len(w.log))
	for at := w.mirror.from[0]; at == nil || at.Offset < end || at.Start < w.logs[0].Bounds().LogStart; at = w.mirror.from[0] {
		w.next()
	}
}

func (w *expiryWorld) next() {
	require.True(w.r, w.stream.Receive(), "%v", w.stream.Err())
	m := w.stream.Msg()
	if len(m.BeginsAnew) > 0 {
		if w.from != nil && !w.caught {
			w.checkBeginning()
		}
		clear(w.once)
	}
	w.mirror.take(w.r, m)
	for _, c := range m.Changes {
		w.once[string(c.Row.Key)]++
		require.False(w.r, w.calm && w.once[string(c.Row.Key)] > 1, "%s came again", c.Row.Key)
	}
	w.caught = w.caught || len(m.CaughtUp) > 0
	if len(m.AsOf) > 0 {
		w.checkState(m.AsOf[0])
	}
}

// checkBeginning is called where all rows come again to who came back: what left or was deleted since is not stored any more.
func (w *expiryWorld) checkBeginning() {
	tab, err := w.p.Table()
	require.NoError(w.r, err)
	require.True(w.r, tab.Horizon() > w.from.Offset || tab.Frames()[0].Start > w.from.Start, "%v: horizon %d, frames %v", w.from, tab.Horizon(), tab.Frames())
}

// checkState compares what is known with the log as of an offset, unless something newer was told.
func (w *expiryWorld) checkState(at *api.AsOf) {
	want := map[string]string{}
	for i, record := range w.log[:at.Offset] {
		key := "0/" + string(record.Key)
		if delete(want, key); record.Value != nil && int64(i) >= at.Start {
			want[key] = string(record.Value)
		}
	}
	for _, offset := range w.mirror.told {
		if offset >= at.Offset {
			return
		}
	}
	require.Equal(w.r, want, w.mirror.known(), "as of %d, log start %d", at.Offset, at.Start)
}
