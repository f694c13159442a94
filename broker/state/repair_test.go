package state_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/sketch"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
	"github.com/keyframelog/keyframe/storage/keys"
)

// sketch asks for cells; bytes is what they took.
func (n *node) sketch(m *api.SketchRequest) (f *api.Frame, cells []sketch.Cell, bytes int, err error) {
	n.t.Helper()
	m.Topic = topicName
	stream, err := n.client.Sketch(context.Background(), connect.NewRequest(m))
	require.NoError(n.t, err)
	defer stream.Close()
	var encoded []byte
	for stream.Receive() {
		require.Equal(n.t, f == nil, stream.Msg().Frame != nil, "the frame comes in the first message")
		if f == nil {
			f = stream.Msg().Frame
		}
		encoded = append(encoded, stream.Msg().Cells...)
	}
	if err := stream.Err(); err != nil {
		return nil, nil, 0, err
	}
	cells, err = sketch.Parse(encoded, int(m.First), f.Count)
	return f, cells, len(encoded), err
}

func (n *node) resolve(m *api.ResolveRequest) (rows []*api.Row, unknown []byte, err error) {
	n.t.Helper()
	m.Topic = topicName
	stream, err := n.client.Resolve(context.Background(), connect.NewRequest(m))
	require.NoError(n.t, err)
	defer stream.Close()
	for stream.Receive() {
		require.Empty(n.t, unknown, "they come in the last message")
		rows = append(rows, stream.Msg().Rows...)
		unknown = stream.Msg().Unknown
	}
	return rows, unknown, stream.Err()
}

func (n *node) tags(m *api.TagsRequest) (f *api.Frame, tags []byte, err error) {
	n.t.Helper()
	m.Topic = topicName
	stream, err := n.client.Tags(context.Background(), connect.NewRequest(m))
	require.NoError(n.t, err)
	defer stream.Close()
	for stream.Receive() {
		require.Equal(n.t, f == nil, stream.Msg().Frame != nil, "the frame comes in the first message")
		if f == nil {
			f = stream.Msg().Frame
		}
		tags = append(tags, stream.Msg().Tags...)
	}
	return f, tags, stream.Err()
}

func tagOf(key, value string) uint64 {
	var h digest.Hasher
	tag := h.Entry([]byte(key), []byte(value)).Tag()
	return binary.BigEndian.Uint64(tag[:])
}

func packed(tags ...uint64) (b []byte) {
	for _, tag := range tags {
		b = binary.BigEndian.AppendUint64(b, tag)
	}
	return b
}

// A replica that lost a put, invented a key and has another value: it finds just that, gets just the rows that it lacks, and is the frame
// afterwards.
func TestAReplicaFindsWhatDiffers(t *testing.T) {
	n := newNode(t, 1, nil)
	replica := map[string]string{}
	for i := range 3000 {
		key, value := fmt.Sprint("key", i), fmt.Sprint("value", i)
		replica[key] = value
		n.logs[0].Append(memlog.Record(0, key, []byte(value), batch.Header{Key: "h", Value: []byte("x")}))
	}
	n.logs[0].Append(memlog.Delete("key7"))
	cut := n.cut().Frames[0]
	delete(replica, "key8") // key7 should have gone
	replica["key9"] = "another"

	var own []uint64
	keyOf := map[uint64]string{}
	for key, value := range replica {
		own = append(own, tagOf(key, value))
		keyOf[tagOf(key, value)] = key
	}
	dec := sketch.NewDecoder(own)
	f, cells, size, err := n.sketch(&api.SketchRequest{Cut: cut.Cut, Incarnation: cut.Incarnation, Cells: uint32(dec.More())})
	require.NoError(t, err)
	require.Equal(t, cut.Pub, f.Pub)
	require.Less(t, size, 1200)
	done, err := dec.Add(cells)
	require.NoError(t, err)
	require.True(t, done)
	lack, extra := dec.Difference()
	require.ElementsMatch(t, []uint64{tagOf("key8", "value8"), tagOf("key9", "value9")}, lack)
	require.ElementsMatch(t, []uint64{tagOf("key7", "value7"), tagOf("key9", "another")}, extra)

	rows, unknown, err := n.resolve(&api.ResolveRequest{Cut: cut.Cut, Incarnation: cut.Incarnation, Tags: packed(append(lack, 4711)...)})
	require.NoError(t, err)
	require.Equal(t, packed(4711), unknown)
	require.Len(t, rows, 2)
	require.Equal(t, []int64{8, 9}, []int64{rows[0].Offset, rows[1].Offset})
	require.Equal(t, "h", rows[0].Headers[0].Key)
	require.EqualValues(t, 1_000_000, rows[0].TimestampMs)
	for _, tag := range extra {
		delete(replica, keyOf[tag])
	}
	for _, row := range rows {
		replica[string(row.Key)] = string(row.Value)
	}
	var h digest.Hasher
	var d digest.Digest
	for key, value := range replica {
		d.Add(h.Entry([]byte(key), []byte(value)))
	}
	sum := d.Sum.Bytes()
	require.Equal(t, f.Sum, sum[:])
	require.Equal(t, f.Count, d.Count)
}

// Cells, tags and rows that take many messages, and cells in pieces, are what they are in one.
func TestRepairAnswersOfManyMessages(t *testing.T) {
	n := newNode(t, 1, nil)
	const rows = 40_000
	var want []uint64
	for i := 0; i < rows; i += 1000 {
		var records []batch.Record
		for k := i; k < i+1000; k++ {
			want = append(want, tagOf(fmt.Sprint("key", k), fmt.Sprint("value", k)))
			records = append(records, memlog.Put(fmt.Sprint("key", k), fmt.Sprint("value", k)))
		}
		n.logs[0].Append(records...)
	}
	n.cut()
	f, tags, err := n.tags(&api.TagsRequest{Cut: rows})
	require.NoError(t, err)
	require.EqualValues(t, rows, f.Count)
	require.Equal(t, packed(want...), tags, "in the order of the offsets")

	cells := sketch.NewEncoder(want).Next(nil, 40_000)
	_, got, _, err := n.sketch(&api.SketchRequest{Cut: rows, Cells: 40_000})
	require.NoError(t, err)
	require.Equal(t, cells, got)
	for _, x := range [][2]uint32{{0, 64}, {39_000, 1000}, {64, 0}, {sketch.CellsMax - 1, 1}} {
		f, got, _, err := n.sketch(&api.SketchRequest{Cut: rows, First: x[0], Cells: x[1]})
		require.NoError(t, err)
		require.EqualValues(t, rows, f.Count)
		require.Len(t, got, int(x[1]))
		if x[0] < 40_000 {
			require.Equal(t, cells[x[0]:x[0]+x[1]], append(cells[:0:0], got...))
		}
	}

	all, unknown, err := n.resolve(&api.ResolveRequest{Cut: rows, Tags: tags})
	require.NoError(t, err)
	require.Empty(t, unknown)
	require.Len(t, all, rows)
	for i, row := range all {
		require.EqualValues(t, i, row.Offset)
	}
}

// The largest request there may be is answered, and one beyond is not.
func TestResolveTakesManyTags(t *testing.T) {
	n := framed(t, nil)
	tags := make([]byte, 8<<17)
	for i := range 1 << 17 {
		binary.BigEndian.PutUint64(tags[8*i:], uint64(i))
	}
	rows, unknown, err := n.resolve(&api.ResolveRequest{Cut: 2000, Tags: tags, Replica: string(bytes.Repeat([]byte("r"), 249))})
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Equal(t, tags, unknown)
	_, _, err = n.resolve(&api.ResolveRequest{Cut: 2000, Tags: append(tags, tags[:8]...)})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
}

func TestRepairsAreRefused(t *testing.T) {
	n := framed(t, nil)
	other := bytes.Repeat([]byte{9}, 16)
	for name, x := range map[string]struct {
		topic     string
		partition int32
		life      []byte
		cut       int64
		code      connect.Code
		reason    api.Reason
	}{
		"unknown topic":     {"nothing", 0, nil, 2000, connect.CodeNotFound, api.Reason_REASON_UNKNOWN_TOPIC},
		"not key-framed":    {"plain", 0, nil, 2000, connect.CodeFailedPrecondition, api.Reason_REASON_NOT_KEY_FRAMED},
		"unknown partition": {topicName, 5, nil, 2000, connect.CodeNotFound, api.Reason_REASON_UNKNOWN_PARTITION},
		"another life":      {topicName, 0, other, 2000, connect.CodeFailedPrecondition, api.Reason_REASON_OTHER_INCARNATION},
		"no frame":          {topicName, 0, nil, 1999, connect.CodeNotFound, api.Reason_REASON_UNKNOWN_FRAME},
		"no offset":         {topicName, 0, nil, -1, connect.CodeNotFound, api.Reason_REASON_UNKNOWN_FRAME},
	} {
		ctx := context.Background()
		sk, err := n.client.Sketch(ctx, connect.NewRequest(&api.SketchRequest{Topic: x.topic, Partition: x.partition, Incarnation: x.life, Cut: x.cut, Cells: 1}))
		require.NoError(t, err)
		re, err := n.client.Resolve(ctx, connect.NewRequest(&api.ResolveRequest{Topic: x.topic, Partition: x.partition, Incarnation: x.life, Cut: x.cut}))
		require.NoError(t, err)
		ta, err := n.client.Tags(ctx, connect.NewRequest(&api.TagsRequest{Topic: x.topic, Partition: x.partition, Incarnation: x.life, Cut: x.cut}))
		require.NoError(t, err)
		for _, stream := range []interface {
			Receive() bool
			Err() error
			Close() error
		}{sk, re, ta} {
			require.False(t, stream.Receive(), name)
			code, why, _ := reason(t, stream.Err())
			require.Equal(t, x.code, code, name)
			require.Equal(t, x.reason, why, name)
			require.NoError(t, stream.Close())
		}
	}
	for _, m := range []*api.SketchRequest{{Cut: 2000, Cells: 1<<20 + 1}, {Cut: 2000, First: 1 << 20, Cells: 1}, {Cut: 2000, First: 1<<32 - 1, Cells: 2}} {
		_, _, _, err := n.sketch(m)
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	}
	_, _, err := n.resolve(&api.ResolveRequest{Cut: 2000, Tags: make([]byte, 9)})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
}

// As many tags as are promised can be asked for in one request, in JSON too, and no more.
func TestResolveAsManyAsPromised(t *testing.T) {
	n := framed(t, nil)
	binary := n.client
	inJSON := stateconnect.NewStateServiceClient(n.http, n.url, connect.WithProtoJSON())
	for name, client := range map[string]stateconnect.StateServiceClient{"binary": binary, "JSON": inJSON} {
		n.client = client
		_, unknown, err := n.resolve(&api.ResolveRequest{Cut: 2000, Tags: packed(make([]uint64, 1<<17)...)})
		require.NoError(t, err, name)
		require.Len(t, unknown, 8, name)
		_, _, err = n.resolve(&api.ResolveRequest{Cut: 2000, Tags: packed(make([]uint64, 1<<17+1)...)})
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), name)
		require.ErrorContains(t, err, "at most 131072", name)
	}
}

// What replicas agree on against the broker, and what is damaged here, nobody is repaired with; where memory is used up somebody has to wait.
func TestReasonsOfTheDesk(t *testing.T) {
	n := newNode(t, 3, func(c *state.Config) {
		desk := repair.NewDesk(repair.Config{MemoryBytes: 1200, Disputed: c.Replicas.Disputed, Now: c.Now}) // two frames
		t.Cleanup(func() { require.NoError(t, desk.Close()) })
		c.Repairs = desk
	})
	for i := range n.logs {
		n.logs[i].Append(memlog.Put("a", "1"), memlog.Put("b", "2"))
	}
	n.cut()
	n.logs[2].Append(memlog.Put("c", "3"))
	require.NoError(t, n.logs[2].TrimTo(t.Context(), 2)) // or its rows would be folded again
	refused := func(partition int32) (connect.Code, api.Reason) {
		t.Helper()
		_, _, _, err := n.sketch(&api.SketchRequest{Partition: partition, Cut: 2, Cells: 8})
		code, why, detail := reason(t, err)
		require.Equal(t, topicName, detail.Topic)
		require.Equal(t, partition, *detail.Partition)
		return code, why
	}
	require.NoError(t, n.pdb.Delete(keys.AppendTableOffset(nil, keys.TableRows, 3, 1), pebble.NoSync))
	code, why := refused(2)
	require.Equal(t, connect.CodeDataLoss, code)
	require.Equal(t, api.Reason_REASON_BROKER_CORRUPT, why)

	for _, partition := range []int32{0, 1} {
		_, _, err := n.tags(&api.TagsRequest{Partition: partition, Cut: 2})
		require.NoError(t, err)
	}
	n.clock.ms.Add(1)
	n.cut() // another frame of the partition, with the same damage
	_, _, err := n.tags(&api.TagsRequest{Partition: 2, Cut: 3})
	code, why, _ = reason(t, err)
	require.Equal(t, connect.CodeResourceExhausted, code)
	require.Equal(t, api.Reason_REASON_TOO_MANY_REPAIRS, why)

	n.dispute(2)
	code, why = refused(0)
	require.Equal(t, connect.CodeFailedPrecondition, code)
	require.Equal(t, api.Reason_REASON_DISPUTED, why)
}

// In a dispute it is still told what differs, to who leaves it as it is.
func TestWhatDiffersIsToldInADispute(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	n.cut()
	n.dispute(2)
	for _, naming := range []bool{false, true} {
		_, cells, _, sketchErr := n.sketch(&api.SketchRequest{Cut: 2, Cells: 64, Naming: naming})
		_, tags, tagsErr := n.tags(&api.TagsRequest{Cut: 2, Naming: naming})
		rows, _, resolveErr := n.resolve(&api.ResolveRequest{Cut: 2, Tags: tags, Naming: naming})
		if !naming {
			for _, err := range []error{sketchErr, tagsErr, resolveErr} {
				_, why, _ := reason(t, err)
				require.Equal(t, api.Reason_REASON_DISPUTED, why)
			}
			continue
		}
		require.NoError(t, errors.Join(sketchErr, tagsErr, resolveErr))
		require.NotEmpty(t, cells)
		require.Len(t, tags, 16)
		require.Len(t, rows, 2)
	}
}

// A frame that is superseded at its cut is another one: the answers say so, and know nothing of rows that have left.
func TestRepairFromAFrameThatWasSuperseded(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	former := n.cut().Frames[0]
	f, _, err := n.tags(&api.TagsRequest{Cut: 2})
	require.NoError(t, err)
	require.Equal(t, former.Pub, f.Pub)

	topic, ok := n.k.Topic(topicName)
	require.True(t, ok)
	require.NoError(t, n.logs[0].HideBelow(t.Context(), 1))
	n.eventually(topic, func(f *api.Frame) bool { return f.Start == 1 })
	f, tags, err := n.tags(&api.TagsRequest{Cut: 2})
	require.NoError(t, err)
	require.NotEqual(t, former.Pub, f.Pub)
	require.Equal(t, []int64{2, 1, 1}, []int64{f.Cut, f.Start, f.Count})
	require.Equal(t, packed(tagOf("b", "1")), tags)
	rows, unknown, err := n.resolve(&api.ResolveRequest{Cut: 2, Tags: packed(tagOf("a", "1"), tagOf("b", "1"))})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, packed(tagOf("a", "1")), unknown)
}
