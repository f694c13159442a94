package quota

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// store is a Store in memory.
type store struct {
	all  map[catalog.QuotaEntity][]catalog.Quota
	fail error
}

func (s *store) Quotas() (all []catalog.Quotas, err error) {
	for e, values := range s.all {
		all = append(all, catalog.Quotas{Entity: e, Values: values})
	}
	return all, s.fail
}

func (s *store) PutQuotas(all []catalog.Quotas) error {
	if s.fail != nil {
		return s.fail
	}
	for _, q := range all {
		if s.all[q.Entity] = q.Values; len(q.Values) == 0 {
			delete(s.all, q.Entity)
		}
	}
	return nil
}

type world struct {
	t     *testing.T
	m     *Manager
	store *store
	now   time.Time
}

func newWorld(t *testing.T, settings Settings) *world {
	w := &world{t: t, store: &store{all: map[catalog.QuotaEntity][]catalog.Quota{}}, now: time.UnixMilli(1_700_000_000_000)}
	w.open(settings)
	return w
}

func (w *world) open(settings Settings) {
	var err error
	w.m, err = Open(Config{Store: w.store, Settings: settings, Now: func() time.Time { return w.now }, Metrics: prometheus.NewRegistry()})
	require.NoError(w.t, err)
}

// entity makes the parts of an entity of types and names; "" is the default.
func entity(typesAndNames ...string) (parts []Part) {
	for i := 0; i < len(typesAndNames); i += 2 {
		p := Part{Type: typesAndNames[i]}
		if name := typesAndNames[i+1]; name != "" {
			p.Name = &name
		}
		parts = append(parts, p)
	}
	return parts
}

func (w *world) set(value float64, kind Kind, typesAndNames ...string) {
	w.t.Helper()
	errs := w.m.Alter([]Change{{Parts: entity(typesAndNames...), Ops: []Op{{Key: kind.Key(), Value: value, Remove: value == 0}}}}, false)
	require.Equal(w.t, []error{nil}, errs)
}

// TestPrecedence adds quotas from the least specific on: each takes the place of the one before.
func TestPrecedence(t *testing.T) {
	w := newWorld(t, Settings{ProducerByteRate: 1})
	limit := func() float64 {
		most, ok := w.m.Most(Produce, Client{User: "u", ID: "c"})
		require.True(t, ok)
		return most / 10
	}
	require.Equal(t, 1.0, limit())
	order := [][]string{{"client-id", ""}, {"client-id", "c"}, {"user", ""}, {"user", "", "client-id", ""}, {"user", "", "client-id", "c"},
		{"user", "u"}, {"user", "u", "client-id", ""}, {"user", "u", "client-id", "c"}}
	for i, e := range order {
		w.set(float64(i+2), Produce, e...)
		require.Equal(t, float64(i+2), limit(), "%v", e)
	}
	for i := len(order) - 1; i >= 0; i-- {
		require.Equal(t, float64(i+2), limit())
		w.set(0, Produce, order[i]...)
	}
	require.Equal(t, 1.0, limit())
	require.Empty(t, w.store.all)
}

// TestWhoShares: a quota of a user is for all of its clients together, one of a client id for all users, and a default is each one's own.
func TestWhoShares(t *testing.T) {
	for _, x := range []struct {
		entity []string
		other  Client
		shares bool
	}{
		{[]string{"user", "u"}, Client{"u", "d"}, true},
		{[]string{"user", ""}, Client{"u", "d"}, true},
		{[]string{"user", ""}, Client{"v", "c"}, false},
		{[]string{"client-id", "c"}, Client{"v", "c"}, true},
		{[]string{"client-id", ""}, Client{"u", "d"}, false},
		{[]string{"user", "u", "client-id", ""}, Client{"u", "d"}, false},
		{[]string{"user", "", "client-id", ""}, Client{"v", "c"}, false},
	} {
		w := newWorld(t, Settings{})
		w.set(100, Fetch, x.entity...)
		require.Equal(t, 10*time.Second, w.m.Record(Fetch, Client{"u", "c"}, 2000))
		require.Equal(t, x.shares, w.m.Record(Fetch, x.other, 1) > 0, "%v and %v", x.entity, x.other)
		require.Zero(t, w.m.Record(Produce, Client{"u", "c"}, 1e9), "another kind")
	}
}

// TestWhoHasNoQuota takes what it likes, also where others have one.
func TestWhoHasNoQuota(t *testing.T) {
	w := newWorld(t, Settings{})
	require.False(t, w.m.BoundsAny())
	w.set(100, Produce, "client-id", "c")
	w.set(1, Connection, "ip", "10.0.0.1")
	require.True(t, w.m.BoundsAny())
	require.Zero(t, w.m.Record(Produce, Client{"u", "other"}, 1e9))
	_, bounded := w.m.Most(Produce, Client{"u", "other"})
	require.False(t, bounded)
	for range 100 {
		_, ok := w.m.Connect("10.0.0.2")
		require.True(t, ok)
	}
}

func TestQuotasAreThereAfterARestart(t *testing.T) {
	w := newWorld(t, Settings{})
	w.set(100, Produce, "client-id", "c")
	w.open(Settings{})
	require.Positive(t, w.m.Record(Produce, Client{"u", "c"}, 2000))
	w.set(0, Produce, "client-id", "c")
	require.Zero(t, w.m.Record(Produce, Client{"u", "c"}, 2000))
	require.False(t, w.m.Bounds(Produce))
}

// TestAChangedQuotaHoldsAtOnce for what was counted before it, too.
func TestAChangedQuotaHoldsAtOnce(t *testing.T) {
	w := newWorld(t, Settings{})
	c := Client{"u", "c"}
	w.set(1000, Produce, "client-id", "c")
	require.Zero(t, w.m.Record(Produce, c, 5000))
	w.set(100, Produce, "client-id", "c")
	require.Positive(t, w.m.Record(Produce, c, 0))
	w.now = w.now.Add(12 * time.Second)
	require.Zero(t, w.m.Record(Produce, c, 0))
}

func TestRequestTimeWaitsAWindowAtMost(t *testing.T) {
	w := newWorld(t, Settings{RequestPercentage: 1})
	require.Equal(t, time.Second, w.m.Record(Request, Client{"u", "c"}, 5000))
}

func TestAlterRefuses(t *testing.T) {
	name := "c"
	set := func(key string, value float64) []Op { return []Op{{Key: key, Value: value}} }
	client := entity("client-id", name)
	for text, c := range map[string]Change{
		"Invalid empty client quota entity":                                  {nil, set("producer_byte_rate", 1)},
		"Unhandled client quota entity type: foo":                            {entity("foo", name), set("producer_byte_rate", 1)},
		"Empty client-id not supported":                                      {[]Part{{"client-id", new(string)}}, set("producer_byte_rate", 1)},
		"Invalid configuration key foo":                                      {client, set("foo", 1)},
		"Invalid configuration key connection_creation_rate":                 {client, set("connection_creation_rate", 1)},
		"Invalid configuration key producer_byte_rate":                       {entity("ip", "10.0.0.1"), set("producer_byte_rate", 1)},
		"Quota producer_byte_rate must be greater than 0":                    {client, set("producer_byte_rate", 0)},
		"Quota request_percentage must be greater than 0":                    {client, set("request_percentage", math.NaN())},
		"producer_byte_rate cannot be a fractional value.":                   {client, set("producer_byte_rate", 1.5)},
		"Proposed value for consumer_byte_rate is too large for a LONG.":     {client, set("consumer_byte_rate", 1e30)},
		"no address is not a valid IP or resolvable host.":                   {entity("ip", "no address"), set("connection_creation_rate", 1)},
		"Quota producer_byte_rate is named twice":                            {client, append(set("producer_byte_rate", 1), set("producer_byte_rate", 2)...)},
		"Invalid quota entity combination, IP entity should not be combined": {entity("ip", "10.0.0.1", "user", "u"), nil},
	} {
		w := newWorld(t, Settings{})
		good := Change{entity("user", "other"), set("request_percentage", 12.5)}
		errs := w.m.Alter([]Change{c, good}, false)
		var refusal *Refusal
		require.ErrorAs(t, errs[0], &refusal)
		require.Contains(t, errs[0].Error(), text)
		require.NoError(t, errs[1], "the others are carried out")
		require.Len(t, w.store.all, 1)
	}
}

func TestAlterOfAnEntityTwice(t *testing.T) {
	w := newWorld(t, Settings{})
	c := Change{entity("user", "u"), []Op{{Key: "request_percentage", Value: 1}}}
	errs := w.m.Alter([]Change{c, c}, false)
	require.Error(t, errs[0])
	require.Error(t, errs[1])
	require.Empty(t, w.store.all)
}

func TestAlterChecksOnly(t *testing.T) {
	w := newWorld(t, Settings{})
	require.Equal(t, []error{nil}, w.m.Alter([]Change{{entity("user", "u"), []Op{{Key: "request_percentage", Value: 1}}}}, true))
	require.Empty(t, w.store.all)
	require.False(t, w.m.Bounds(Request))
}

// TestAlterThatIsNotDurable changes nothing.
func TestAlterThatIsNotDurable(t *testing.T) {
	w := newWorld(t, Settings{})
	w.store.fail = errors.New("disk")
	errs := w.m.Alter([]Change{{entity("user", "u"), []Op{{Key: "request_percentage", Value: 1}}}}, false)
	require.ErrorIs(t, errs[0], w.store.fail)
	require.False(t, w.m.Bounds(Request))
}

func TestDescribeFilters(t *testing.T) {
	w := newWorld(t, Settings{})
	for _, e := range [][]string{{"user", "u"}, {"user", ""}, {"client-id", "c"}, {"user", "u", "client-id", "c"}, {"user", "u", "client-id", ""}} {
		w.set(1, Request, e...)
	}
	w.set(1, Connection, "ip", "10.0.0.1")
	u, c := "u", "c"
	for _, x := range []struct {
		matches []Match
		strict  bool
		want    int
	}{
		{nil, false, 6},
		{nil, true, 0},
		{[]Match{{"user", MatchExact, &u}}, false, 3},
		{[]Match{{"user", MatchExact, &u}}, true, 1},
		{[]Match{{"user", MatchDefault, nil}}, false, 1},
		{[]Match{{"user", MatchAny, nil}}, false, 4},
		{[]Match{{"user", MatchAny, nil}}, true, 2},
		{[]Match{{"user", MatchExact, &u}, {"client-id", MatchAny, nil}}, true, 2},
		{[]Match{{"client-id", MatchExact, &c}}, false, 2},
		{[]Match{{"ip", MatchAny, nil}}, false, 1},
	} {
		all, err := w.m.Describe(x.matches, x.strict)
		require.NoError(t, err)
		require.Len(t, all, x.want, "%v", x)
	}
	for _, bad := range []Match{{"", MatchAny, nil}, {"foo", MatchAny, nil}, {"user", MatchExact, nil}, {"user", MatchDefault, &u}, {"user", MatchAny, &u}, {"user", 7, &u}} {
		_, err := w.m.Describe([]Match{bad}, false)
		var refusal *Refusal
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, bad.Type == "foo", refusal.Unsupported)
	}
}

func TestMutate(t *testing.T) {
	w := newWorld(t, Settings{ControllerMutationRate: 1})
	c := Client{"u", "c"}
	taken, wait := w.m.Mutate(c, 20, true)
	require.True(t, taken)
	require.Zero(t, wait)
	taken, wait = w.m.Mutate(c, 1, true)
	require.False(t, taken)
	require.Equal(t, 9*time.Second, wait)
	taken, wait = w.m.Mutate(c, 1, false)
	require.True(t, taken)
	require.Equal(t, 10*time.Second, wait)
}

func TestConnect(t *testing.T) {
	w := newWorld(t, Settings{})
	w.set(1, Connection, "ip", "127.0.0.1")
	for range 10 {
		_, ok := w.m.Connect("127.0.0.1")
		require.True(t, ok)
	}
	for range 3 {
		wait, ok := w.m.Connect("127.0.0.1")
		require.False(t, ok)
		require.Equal(t, time.Second, wait)
	}
	_, ok := w.m.Connect("127.0.0.2")
	require.True(t, ok)
	w.now = w.now.Add(12 * time.Second)
	_, ok = w.m.Connect("127.0.0.1")
	require.True(t, ok)
	require.Equal(t, 3.0, testutil.ToFloat64(w.m.metrics.count.WithLabelValues("connection_creation_rate")))
}

func TestConnectionsHaveBoundsOfTheirOwn(t *testing.T) {
	w := newWorld(t, Settings{ConnectionByteRate: 1000, ConnectionRequestRate: 10})
	require.True(t, w.m.BoundsConnections())
	var a, b, c Conn
	require.Positive(t, w.m.RecordConn(&a, 20_000))
	require.Zero(t, w.m.RecordConn(&b, 5_000))
	for range 100 {
		require.Zero(t, w.m.RecordConn(&c, 1))
	}
	require.Positive(t, w.m.RecordConn(&c, 1))
	require.Equal(t, 2.0, testutil.ToFloat64(w.m.metrics.count.WithLabelValues("connection")))
	require.True(t, w.m.BoundsAny())
}

// TestMetersAreBounded: client ids that are never seen again leave nothing behind, and ever new ones no more than there is room for.
func TestMetersAreBounded(t *testing.T) {
	w := newWorld(t, Settings{ProducerByteRate: 100})
	for i := range 5 * metersSweep {
		w.m.Record(Produce, Client{"u", fmt.Sprint(i)}, 1)
		w.now = w.now.Add(time.Second)
	}
	require.LessOrEqual(t, len(w.m.meters), metersSweep)
	for i := range metersMax + 5000 {
		w.m.Record(Produce, Client{"u", fmt.Sprint("n", i)}, 1)
	}
	require.LessOrEqual(t, len(w.m.meters), metersMax+1)
}

// TestMetersComeBack: clients that find no room share a meter only until others have gone.
func TestMetersComeBack(t *testing.T) {
	w := newWorld(t, Settings{ProducerByteRate: 100})
	for i := range metersMax + 1 { // each a moment later, so that some are as new while others count
		w.m.Record(Produce, Client{"u", fmt.Sprint(i)}, 2000)
		if i%metersSweep == 0 {
			w.now = w.now.Add(100 * time.Millisecond)
		}
	}
	require.Len(t, w.m.meters, metersMax+1)
	require.Positive(t, w.m.Record(Produce, Client{"u", "late"}, 1), "it shares what others took")
	w.now = w.now.Add(2 * windows * time.Second)
	require.Zero(t, w.m.Record(Produce, Client{"u", "later"}, 1))
	require.Less(t, len(w.m.meters), metersMax)
}

// TestADebtIsNotForgotten: who changed more than its quota gives is left alone for as long, whoever else comes meanwhile.
func TestADebtIsNotForgotten(t *testing.T) {
	w := newWorld(t, Settings{ControllerMutationRate: 1})
	c := Client{"u", "c"}
	_, wait := w.m.Mutate(c, 611, false)
	require.Equal(t, 600*time.Second, wait)
	for i := range 5 * metersSweep {
		w.m.Mutate(Client{"u", fmt.Sprint(i)}, 1, false)
		if i%metersSweep == 0 {
			w.now = w.now.Add(time.Minute)
		}
	}
	taken, wait := w.m.Mutate(c, 1, true)
	require.False(t, taken)
	require.Equal(t, 300*time.Second, wait)
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, Settings{ProducerByteRate: 100})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 500 {
				w.m.Record(Produce, Client{"u", fmt.Sprint(n % 3)}, 1)
				if n%50 == 0 {
					w.m.Alter([]Change{{entity("user", fmt.Sprint(i)), []Op{{Key: "producer_byte_rate", Value: 5}}}}, false)
				}
			}
		})
	}
	wg.Wait()
}
