package lease

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// plain is what the machine is held against: a list of all leases that ever were, looked through from the start each time.
type plain struct {
	nowMs int64
	all   []*plainLease
}

type plainLease struct {
	id                   ID
	topic                byte
	partition            int32
	replica              string
	instance             byte
	cut, since, from, at int64
	until                int64
	over                 error // why it is over; nil: it is not
	out                  bool
}

func (p *plain) pass() {
	for _, l := range p.all {
		if l.out && l.until <= p.nowMs {
			l.out, l.over = false, ErrExpired
		}
	}
}

func (p *plain) held(topic byte, partition int32) (from, since int64, cuts []int64) {
	from, since = math.MaxInt64, math.MaxInt64
	for _, l := range p.all {
		if !l.out || l.topic != topic || l.partition != partition {
			continue
		}
		from = min(from, max(l.from, l.at))
		if l.at < l.cut && l.since != -1 {
			since = min(since, l.since)
		}
		if l.at <= l.cut && !slices.Contains(cuts, l.cut) {
			cuts = append(cuts, l.cut)
		}
	}
	slices.Sort(cuts)
	return from, since, cuts
}

// largest are the leases of a partition that hold the most.
func (p *plain) largest(topic byte, partition int32) (ids []ID) {
	lowest := int64(math.MaxInt64)
	for _, l := range p.all {
		from := max(l.from, l.at)
		switch {
		case !l.out || l.topic != topic || l.partition != partition || from > lowest:
		case from < lowest:
			lowest, ids = from, []ID{l.id}
		default:
			ids = append(ids, l.id)
		}
	}
	return ids
}

func TestMachineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 6
		m, p, drawn := newMachine(30*time.Second, limit), &plain{nowMs: 1000}, byte(0)
		m.advance(p.nowMs)
		pick := func(t *rapid.T) *plainLease {
			if len(p.all) == 0 {
				t.Skip("no lease was granted yet")
			}
			return rapid.SampledFrom(p.all).Draw(t, "lease")
		}
		ends := func(t *rapid.T, l *plainLease, why error, got error) {
			if !l.out {
				require.Equal(t, l.over, got)
				return
			}
			require.NoError(t, got)
			l.out, l.over = false, why
		}
		t.Repeat(map[string]func(*rapid.T){
			"grant": func(t *rapid.T) {
				drawn++
				l := &plainLease{
					id: ID{drawn, 9}, topic: rapid.Byte().Draw(t, "topic") % 2, partition: rapid.Int32Range(0, 1).Draw(t, "partition"),
					replica: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "replica"), instance: rapid.Byte().Draw(t, "instance") % 2, cut: rapid.Int64Range(0, 50).Draw(t, "cut"), since: -1,
					at: -1, out: true, until: p.nowMs + 30_000,
				}
				if l.from = l.cut; rapid.Bool().Draw(t, "delta") {
					l.since = rapid.Int64Range(0, l.cut).Draw(t, "since")
				}
				out := 0
				var former, namesake *plainLease
				for _, o := range p.all {
					if o.out {
						out++
					}
					if o.out && o.topic == l.topic && o.partition == l.partition && o.replica == l.replica {
						if namesake = o; o.instance == l.instance {
							former = o
						}
					}
				}
				if former == nil && out == limit {
					former = namesake
				}
				got, err := m.grant(l.id, Terms{
					TopicID: [16]byte{l.topic}, Partition: l.partition, Replica: l.replica, Instance: [16]byte{l.instance}, Cut: l.cut, Since: l.since, From: l.from,
				})
				if former == nil && out == limit {
					require.ErrorIs(t, err, ErrTooMany)
					return
				}
				require.NoError(t, err)
				require.Equal(t, l.until, got.ExpiryMs)
				if former != nil {
					former.out, former.over = false, ErrExpired
				}
				p.all = append(p.all, l)
			},
			"renew": func(t *rapid.T) {
				l, position := pick(t), rapid.Int64Range(-1, 60).Draw(t, "position")
				got, err := m.renew(l.id, position)
				if !l.out {
					require.Equal(t, l.over, err)
					return
				}
				require.NoError(t, err)
				l.at, l.until = max(l.at, position), p.nowMs+30_000
				require.Equal(t, []int64{l.at, max(l.from, l.at), l.until}, []int64{got.Position, got.From, got.ExpiryMs})
			},
			"release": func(t *rapid.T) { l := pick(t); ends(t, l, ErrExpired, m.stop(l.id, released)) },
			"revoke":  func(t *rapid.T) { l := pick(t); ends(t, l, ErrRevoked, m.stop(l.id, revoked)) },
			"lose the frames": func(t *rapid.T) {
				topic, partition := rapid.Byte().Draw(t, "topic")%2, rapid.Int32Range(0, 1).Draw(t, "partition")
				lost := 0
				for _, l := range p.all {
					if l.out && l.topic == topic && l.partition == partition && l.at <= l.cut {
						l.out, l.over = false, ErrRevoked
						lost++
					}
				}
				require.Len(t, m.lose(partitionKey{[16]byte{topic}, partition}), lost)
			},
			"delete the topic": func(t *rapid.T) {
				topic := rapid.Byte().Draw(t, "topic") % 2
				m.dropTopic([16]byte{topic})
				for _, l := range p.all {
					if l.out && l.topic == topic {
						l.out, l.over = false, ErrTopicDeleted
					}
				}
			},
			"time": func(t *rapid.T) {
				step := rapid.Int64Range(-5000, 20_000).Draw(t, "ms") // a clock may be set back: what has expired stays so
				m.advance(p.nowMs + step)
				p.nowMs += max(step, 0)
				p.pass()
			},
			"": func(t *rapid.T) {
				out := 0
				for _, l := range p.all {
					if _, err := m.find(l.id); l.out {
						out++
						require.NoError(t, err)
					} else {
						require.Equal(t, l.over, err)
					}
				}
				require.Len(t, m.leases, out)
				names := 0
				for _, of := range m.replicas {
					require.NotEmpty(t, of)
					names += len(of)
				}
				require.Equal(t, out, names)
				for topic := range byte(2) {
					for partition := range int32(2) {
						largest := p.largest(topic, partition)
						var got []ID
						for _, l := range m.lowest(partitionKey{[16]byte{topic}, partition}) {
							got = append(got, l.ID)
						}
						require.ElementsMatch(t, largest, got)
						_, known := m.partitions[partitionKey{[16]byte{topic}, partition}]
						require.Equal(t, len(largest) > 0, known, "nothing is kept of a partition without leases")
						from, since, cuts := p.held(topic, partition)
						gotFrom, gotSince, gotCuts := m.hold(partitionKey{[16]byte{topic}, partition})
						require.Equal(t, []int64{from, since}, []int64{gotFrom, gotSince})
						require.Equal(t, cuts, gotCuts)
					}
				}
			},
		})
		over := len(p.all)
		for _, l := range p.all {
			if l.out {
				over--
			}
		}
		require.Len(t, m.takeGone(), over, "each that has ended leaves the store, once")
	})
}

// The reasons of ends are remembered of so many leases, and no more.
func TestEndsAreBounded(t *testing.T) {
	m := newMachine(time.Second, 10)
	m.advance(0)
	first := ID{0xff}
	for i := range endedMax + 1 {
		id := ID{byte(i), byte(i >> 8), byte(i >> 16), 1}
		if i == 0 {
			id = first
		}
		_, err := m.grant(id, Terms{Since: -1})
		require.NoError(t, err)
		require.NoError(t, m.stop(id, revoked))
		_, err = m.find(id)
		require.ErrorIs(t, err, ErrRevoked)
	}
	require.Len(t, m.ended, endedMax)
	_, err := m.find(first)
	require.ErrorIs(t, err, ErrExpired)
}
