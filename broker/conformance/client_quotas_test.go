package conformance_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// quotaEntity names an entity by types and names; "" is the default one.
func quotaEntity(typesAndNames ...string) (entity []kmsg.AlterClientQuotasRequestEntryEntity) {
	for i := 0; i < len(typesAndNames); i += 2 {
		e := kmsg.AlterClientQuotasRequestEntryEntity{Type: typesAndNames[i]}
		if name := typesAndNames[i+1]; name != "" {
			e.Name = &name
		}
		entity = append(entity, e)
	}
	return entity
}

func quotaOf(key string, value float64) kmsg.AlterClientQuotasRequestEntryOp {
	return kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value, Remove: value == 0}
}

// tryAlter sends one entity's changes.
func tryAlter(c *raw.Conn, version int16, entity []kmsg.AlterClientQuotasRequestEntryEntity, ops ...kmsg.AlterClientQuotasRequestEntryOp) kmsg.AlterClientQuotasResponseEntry {
	c.T.Helper()
	resp := raw.Do[*kmsg.AlterClientQuotasResponse](c, &kmsg.AlterClientQuotasRequest{Version: version,
		Entries: []kmsg.AlterClientQuotasRequestEntry{{Entity: entity, Ops: ops}}})
	require.Len(c.T, resp.Entries, 1)
	return resp.Entries[0]
}

// setQuota sets one quota until the test ends, and waits until it is told.
func setQuota(t *testing.T, key string, value float64, typesAndNames ...string) {
	t.Helper()
	c := start(t).Dial(t)
	e := tryAlter(c, 1, quotaEntity(typesAndNames...), quotaOf(key, value))
	raw.RequireCode(t, 0, e.ErrorCode, e.ErrorMessage)
	t.Cleanup(func() { tryAlter(start(t).Dial(t), 1, quotaEntity(typesAndNames...), quotaOf(key, 0)) })
	require.Eventually(t, func() bool { return describeQuotas(c, 1, typesAndNames...)[key] == value }, time.Minute, time.Millisecond)
}

// describeQuotas returns the quotas of exactly one entity.
func describeQuotas(c *raw.Conn, version int16, typesAndNames ...string) map[string]float64 {
	c.T.Helper()
	req := &kmsg.DescribeClientQuotasRequest{Version: version, Strict: true}
	for _, e := range quotaEntity(typesAndNames...) {
		match := kmsg.DescribeClientQuotasRequestComponent{EntityType: e.Type, Match: e.Name}
		if e.Name == nil {
			match.MatchType = 1
		}
		req.Components = append(req.Components, match)
	}
	resp := raw.Do[*kmsg.DescribeClientQuotasResponse](c, req)
	raw.RequireCode(c.T, 0, resp.ErrorCode, resp.ErrorMessage)
	values := map[string]float64{}
	for _, e := range resp.Entries {
		for _, v := range e.Values {
			values[v.Key] = v.Value
		}
	}
	return values
}

func TestClientQuotasAreSetAndRemoved(t *testing.T) {
	c := start(t).Dial(t)
	for version := range int16(2) {
		name := raw.TopicName(t)
		entity := []string{"user", name, "client-id", ""}
		is := func(want map[string]float64) {
			t.Helper()
			require.Eventually(t, func() bool { return fmt.Sprint(describeQuotas(c, version, entity...)) == fmt.Sprint(want) }, time.Minute, time.Millisecond)
		}
		e := tryAlter(c, version, quotaEntity(entity...), quotaOf("producer_byte_rate", 1000), quotaOf("request_percentage", 12.5))
		raw.RequireCode(t, 0, e.ErrorCode, e.ErrorMessage)
		require.Len(t, e.Entity, 2)
		is(map[string]float64{"producer_byte_rate": 1000, "request_percentage": 12.5})
		tryAlter(c, version, quotaEntity(entity...), quotaOf("producer_byte_rate", 0), quotaOf("consumer_byte_rate", 7))
		is(map[string]float64{"consumer_byte_rate": 7, "request_percentage": 12.5})
		e = tryAlter(c, version, quotaEntity(entity...), quotaOf("consumer_byte_rate", 0), quotaOf("request_percentage", 0), quotaOf("unknown", 0))
		raw.RequireCode(t, 0, e.ErrorCode, e.ErrorMessage)
		is(map[string]float64{})
	}
}

func TestAlterClientQuotasChecksOnly(t *testing.T) {
	c := start(t).Dial(t)
	name := raw.TopicName(t)
	for value, code := range map[float64]int16{1000: 0, -1: 42} {
		resp := raw.Do[*kmsg.AlterClientQuotasResponse](c, &kmsg.AlterClientQuotasRequest{Version: 1, ValidateOnly: true, Entries: []kmsg.AlterClientQuotasRequestEntry{
			{Entity: quotaEntity("client-id", name), Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: value}}}}})
		require.Equal(t, code, resp.Entries[0].ErrorCode)
	}
	require.Empty(t, describeQuotas(c, 1, "client-id", name))
}

func TestAlterClientQuotasRefuses(t *testing.T) {
	c := start(t).Dial(t)
	name := raw.TopicName(t)
	client, ip := quotaEntity("client-id", name), quotaEntity("ip", "127.99.0.1")
	empty := []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: new(string)}}
	for _, x := range []struct {
		entity []kmsg.AlterClientQuotasRequestEntryEntity
		op     kmsg.AlterClientQuotasRequestEntryOp
	}{
		{nil, quotaOf("producer_byte_rate", 1)},
		{quotaEntity("group", name), quotaOf("producer_byte_rate", 1)},
		{empty, quotaOf("producer_byte_rate", 1)},
		{client, quotaOf("unknown", 1)},
		{client, quotaOf("connection_creation_rate", 1)},
		{client, quotaOf("producer_byte_rate", -1)},
		{client, quotaOf("producer_byte_rate", 1.5)},
		{client, quotaOf("consumer_byte_rate", 1e30)},
		{client, kmsg.AlterClientQuotasRequestEntryOp{Key: "request_percentage"}},
		{ip, quotaOf("producer_byte_rate", 1)},
		{quotaEntity("ip", "no address"), quotaOf("connection_creation_rate", 1)},
		{quotaEntity("ip", "127.99.0.1", "user", name), quotaOf("connection_creation_rate", 1)},
	} {
		e := tryAlter(c, 1, x.entity, x.op)
		require.Equal(t, int16(42), e.ErrorCode, "%+v", x)
		require.NotEmpty(t, e.ErrorMessage)
	}
	require.Empty(t, describeQuotas(c, 1, "client-id", name))
}

func TestDescribeClientQuotasFilters(t *testing.T) {
	c := start(t).Dial(t)
	user, client := raw.TopicName(t), raw.TopicName(t)
	setQuota(t, "request_percentage", 1000, "user", user)
	setQuota(t, "request_percentage", 1001, "client-id", client)
	setQuota(t, "request_percentage", 1002, "user", user, "client-id", client)
	setQuota(t, "request_percentage", 1003, "user", user, "client-id", "")
	setQuota(t, "connection_creation_rate", 1004, "ip", "127.99.0.2")
	exact := func(kind, name string) kmsg.DescribeClientQuotasRequestComponent {
		return kmsg.DescribeClientQuotasRequestComponent{EntityType: kind, Match: &name}
	}
	some := func(kind string, match int8) kmsg.DescribeClientQuotasRequestComponent {
		return kmsg.DescribeClientQuotasRequestComponent{EntityType: kind, MatchType: kmsg.QuotasMatchType(match)}
	}
	type components = []kmsg.DescribeClientQuotasRequestComponent
	for _, x := range []struct {
		components components
		strict     bool
		want       []float64 // of ours, among those of others
	}{
		{nil, false, []float64{1000, 1001, 1002, 1003, 1004}},
		{nil, true, nil},
		{components{exact("user", user)}, false, []float64{1000, 1002, 1003}},
		{components{exact("user", user)}, true, []float64{1000}},
		{components{some("user", 2)}, false, []float64{1000, 1002, 1003}},
		{components{some("user", 2)}, true, []float64{1000}},
		{components{some("client-id", 1)}, false, []float64{1003}},
		{components{some("client-id", 2), exact("user", user)}, true, []float64{1002, 1003}},
		{components{exact("client-id", client)}, false, []float64{1001, 1002}},
		{components{some("ip", 2)}, false, []float64{1004}},
	} {
		resp := raw.Do[*kmsg.DescribeClientQuotasResponse](c, &kmsg.DescribeClientQuotasRequest{Version: 1, Components: x.components, Strict: x.strict})
		raw.RequireCode(t, 0, resp.ErrorCode, resp.ErrorMessage)
		var got []float64
		for _, e := range resp.Entries {
			if v := e.Values[0].Value; v >= 1000 && v <= 1004 && len(e.Values) == 1 {
				got = append(got, v)
			}
		}
		require.ElementsMatch(t, x.want, got, "%+v", x)
	}
	for code, bad := range map[int16][]components{
		35: {{some("group", 2)}},
		42: {{some("", 2)}, {some("user", 0)}, {some("user", 7)}, {some("user", 2), some("user", 2)}, {some("ip", 2), some("user", 2)},
			{{EntityType: "user", MatchType: 1, Match: &user}}, {{EntityType: "user", MatchType: 2, Match: &user}}},
	} {
		for _, components := range bad {
			resp := raw.Do[*kmsg.DescribeClientQuotasResponse](c, &kmsg.DescribeClientQuotasRequest{Version: 1, Components: components})
			require.Equal(t, code, resp.ErrorCode, "%+v", components)
			require.NotEmpty(t, resp.ErrorMessage)
			require.Nil(t, resp.Entries)
		}
	}
}

// throttledClient is a connection under a client id of its own.
func throttledClient(t *testing.T) *raw.Conn {
	c := start(t).Dial(t)
	c.Client = raw.TopicName(t)
	return c
}

// other is another connection of the same client.
func other(c *raw.Conn) *raw.Conn {
	o := start(c.T).Dial(c.T)
	o.Client = c.Client
	return o
}

// requireMuted says that the connection is mute after a request that was throttled: the next one has no answer before the time is over. It
// counts from when the request was sent: between the broker, who counts from its answer on, and us there may be any time.
func requireMuted(c *raw.Conn, sent time.Time, throttleMillis int32) {
	c.T.Helper()
	require.Positive(c.T, throttleMillis)
	raw.Do[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
	require.GreaterOrEqual(c.T, time.Since(sent)+50*time.Millisecond, time.Duration(throttleMillis)*time.Millisecond)
}

// throttledProduce is a client that may produce so many bytes a second, and its request, of more than it may in ten seconds.
func throttledProduce(t *testing.T, version int16, rate float64) (*raw.Conn, raw.Topic, *kmsg.ProduceRequest) {
	t.Helper()
	c := throttledClient(t)
	tp := raw.CreateTopic(c, 1)
	setQuota(t, "producer_byte_rate", rate, "client-id", c.Client)
	return c, tp, raw.ProduceTo(tp, 0, version, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 105_000))))))
}

// TestProduceIsAnsweredAndThenThrottled (KIP-219): the batch is in the log, the answer comes at once, and then the connection is mute.
func TestProduceIsAnsweredAndThenThrottled(t *testing.T) {
	t.Parallel()
	for _, version := range []int16{3, 9, 13} {
		c, tp, req := throttledProduce(t, version, 10_000)
		sent := time.Now()
		resp := raw.Do[*kmsg.ProduceResponse](c, req)
		p := resp.Topics[0].Partitions[0]
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		// 105 KB over ten seconds are half a second too much.
		require.InDelta(t, 530, resp.ThrottleMillis, 100)
		requireMuted(c, sent, resp.ThrottleMillis)
		require.Equal(t, int64(1), raw.ListOffset(c, tp, 0, -1).Offset)

		// An answer that waited, too, would come when the connection has long timed out.
		c, _, req = throttledProduce(t, version, 100)
		require.Greater(t, raw.Do[*kmsg.ProduceResponse](c, req).ThrottleMillis, int32(1_000_000))
	}
}

// TestPipelinedRequestsAreThrottled: what was sent behind the request waits, too.
func TestPipelinedRequestsAreThrottled(t *testing.T) {
	t.Parallel()
	c, _, first := throttledProduce(t, 9, 10_000)
	second := kmsg.NewPtrApiVersionsRequest()
	sent := time.Now()
	c.Send(first)
	c.Send(second)
	resp, _ := c.Receive(first)
	throttle := resp.(*kmsg.ProduceResponse).ThrottleMillis
	require.Positive(t, throttle)
	c.Receive(second)
	require.GreaterOrEqual(t, time.Since(sent)+50*time.Millisecond, time.Duration(throttle)*time.Millisecond)
}

// TestProduceWithoutAnswerIsThrottled: the client is not told, and its connection is mute all the same.
func TestProduceWithoutAnswerIsThrottled(t *testing.T) {
	t.Parallel()
	c, _, req := throttledProduce(t, 9, 10_000)
	req.Acks = 0
	sent := time.Now()
	c.Send(req)
	raw.Do[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
	require.GreaterOrEqual(t, time.Since(sent), 400*time.Millisecond)
}

// TestFetchIsAnsweredEmptyAndThenThrottled: records come when the client is under its quota again, and its session goes on.
func TestFetchIsAnsweredEmptyAndThenThrottled(t *testing.T) {
	t.Parallel()
	for _, version := range []int16{7, 12, 18} {
		c := throttledClient(t)
		tp := raw.CreateTopic(c, 1)
		raw.MustProduce(c, tp, raw.KV("a", string(make([]byte, 55_000))))
		setQuota(t, "consumer_byte_rate", 10_000, "client-id", c.Client)
		began := time.Now()
		s, full := raw.BeginSession(c, version, tp, 0, 0)
		require.Zero(t, full.ThrottleMillis)
		require.NotEmpty(t, full.Topics[0].Partitions[0].RecordBatches)
		sent := time.Now()
		resp := s.Fetch(nil) // the same again: 110 KB in ten seconds, and in what went of an eleventh meanwhile
		require.Empty(t, resp.Topics)
		require.Equal(t, s.ID, resp.SessionID)
		require.Positive(t, resp.ThrottleMillis)
		require.GreaterOrEqual(t, int64(resp.ThrottleMillis), 1000-time.Since(began).Milliseconds())
		require.LessOrEqual(t, resp.ThrottleMillis, int32(1200))
		requireMuted(c, sent, resp.ThrottleMillis)

		resp = raw.Do[*kmsg.FetchResponse](other(c), raw.FetchFrom(tp, 0, version)) // without a session
		require.Zero(t, resp.ErrorCode)
		require.Empty(t, resp.Topics)
		require.Positive(t, resp.ThrottleMillis)
		require.LessOrEqual(t, resp.ThrottleMillis, int32(1200), "what was not given does not count")
		setQuota(t, "consumer_byte_rate", 1e9, "client-id", c.Client)
		require.Eventually(t, func() bool {
			resp = s.Fetch(nil)
			return len(resp.Topics) == 1
		}, time.Minute, time.Millisecond)
		require.Zero(t, resp.ThrottleMillis)
		require.NotEmpty(t, resp.Topics[0].Partitions[0].RecordBatches)
	}
}

// TestRequestsAreThrottledByTheirTime, whatever they are, for a second at most.
func TestRequestsAreThrottledByTheirTime(t *testing.T) {
	t.Parallel()
	c := throttledClient(t)
	setQuota(t, "request_percentage", 1e-9, "client-id", c.Client)
	for _, req := range []kmsg.Request{
		&kmsg.ApiVersionsRequest{Version: 2},
		&kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{}},
		&kmsg.FindCoordinatorRequest{Version: 4, CoordinatorKeys: []string{"g"}},
		&kmsg.HeartbeatRequest{Version: 4, Group: "g", MemberID: "m"},
		&kmsg.DescribeClientQuotasRequest{Version: 1, Strict: true},
	} {
		require.Eventually(t, func() bool { // an answer may be slow for other reasons; one that waited, too, is never faster
			c := other(c)
			sent := time.Now()
			resp := raw.Do[kmsg.Response](c, req)
			took := time.Since(sent)
			throttle, _ := resp.(kmsg.ThrottleResponse).Throttle()
			require.InDelta(t, 1000, throttle, 999, "%T", req)
			if req.Key() == 18 {
				requireMuted(c, sent, throttle)
			}
			return took < time.Duration(throttle)*time.Millisecond
		}, time.Minute, time.Millisecond, "%T", req)
	}
}

// TestChangesOfTopicsAreThrottled (KIP-599): clients that know the refusal get it, others are served and wait.
func TestChangesOfTopicsAreThrottled(t *testing.T) {
	t.Parallel()
	c := throttledClient(t)
	create := func(version int16, partitions int32) (code int16, throttle int32) {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = raw.TopicName(t), partitions, 1
		resp := raw.Do[*kmsg.CreateTopicsResponse](other(c), &kmsg.CreateTopicsRequest{Version: version, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{rt}})
		return resp.Topics[0].ErrorCode, resp.ThrottleMillis
	}
	tp := raw.CreateTopic(c, 2)
	setQuota(t, "controller_mutation_rate", 0.1, "client-id", c.Client)
	var code int16
	var throttle int32
	require.Eventually(t, func() bool { // the controller may know it a little later
		if code, throttle = create(7, 30); code == 0 {
			require.Zero(t, throttle, "one that finds a token may take more")
		}
		return code != 0
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, int16(89), code)
	require.Greater(t, throttle, int32(100_000))
	code, throttle = create(5, 1)
	require.Zero(t, code)
	require.Positive(t, throttle)

	grown := raw.Do[*kmsg.CreatePartitionsResponse](other(c), &kmsg.CreatePartitionsRequest{Version: 3, TimeoutMillis: 10_000,
		Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: tp.Name, Count: 3}}})
	require.Equal(t, int16(89), grown.Topics[0].ErrorCode)
	require.Positive(t, grown.ThrottleMillis)
	deleted := raw.Do[*kmsg.DeleteTopicsResponse](other(c), &kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: 10_000,
		Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &tp.Name}}})
	require.Equal(t, int16(89), deleted.Topics[0].ErrorCode)
	require.Positive(t, deleted.ThrottleMillis)
	deleted = raw.Do[*kmsg.DeleteTopicsResponse](other(c), &kmsg.DeleteTopicsRequest{Version: 4, TimeoutMillis: 10_000, TopicNames: []string{tp.Name}})
	require.Zero(t, deleted.Topics[0].ErrorCode)
	require.Positive(t, deleted.ThrottleMillis)
}

// TestConnectionsOfAnAddressAreThrottled (KIP-612): those that come too early are closed a little later, without an answer.
func TestConnectionsOfAnAddressAreThrottled(t *testing.T) {
	t.Parallel()
	const address = "127.0.99.3" // one of this machine's own, which nobody else uses
	setQuota(t, "connection_creation_rate", 1, "ip", address)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	served, closed := 0, 0
	for range 30 {
		nc, err := dialer.Dial("tcp", start(t).Addr)
		require.NoError(t, err)
		c := &raw.Conn{T: t, Conn: nc}
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
		req := kmsg.NewPtrApiVersionsRequest()
		c.Send(req)
		if _, _, err := c.TryReceive(req); err != nil {
			closed++
		} else {
			served++
		}
		require.NoError(t, c.Close())
		if closed == 2 {
			break
		}
	}
	require.Equal(t, 2, closed)
	require.GreaterOrEqual(t, served, 9)
	require.Less(t, served, 25)
}
