package group

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRandomEvents sends a group what clients may send in any order, and what they should not, and checks after each step
// what must hold always. At the end nothing that waited is forgotten.
func TestRandomEvents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRandom(t, rt)
		rt.Repeat(map[string]func(*rapid.T){
			"join":      r.join,
			"sync":      r.sync,
			"heartbeat": r.heartbeat,
			"leave":     r.leave,
			"saved":     r.saved,
			"pass":      r.pass,
			"":          r.check,
		})
		r.drain()
	})
}

// random is a group, the requests that wait for it, and what its members know.
type random struct {
	t       *testing.T
	rt      *rapid.T
	g       *Group
	now     time.Time
	tickets Ticket
	joins   map[Ticket]string // the id that the request came with
	syncs   map[Ticket]string
	saves   []*Save
	ids     []string // every id that was ever handed out, in order
	serial  int
	// leaders of the generations: the first reply to the leader names it
	leaders map[int32]string
	protos  map[int32]string
}

func newRandom(t *testing.T, rt *rapid.T) *random {
	r := &random{t: t, rt: rt, now: time.UnixMilli(0), joins: map[Ticket]string{}, syncs: map[Ticket]string{},
		leaders: map[int32]string{}, protos: map[int32]string{}}
	delay := time.Duration(rapid.IntRange(0, 1).Draw(rt, "delay")) * 3 * time.Second
	r.g = New(r.now, Options{InitialRebalanceDelay: delay, MaxSize: 3})
	return r
}

// someone is one of the members' ids, mostly of those that still are.
func (r *random) someone(rt *rapid.T) string {
	known := slices.Sorted(maps.Keys(r.g.byID))
	known = append(known, slices.Sorted(maps.Keys(r.g.pending))...)
	if len(r.ids) > 0 {
		known = append(known, r.ids[rapid.IntRange(0, len(r.ids)-1).Draw(rt, "old")])
	}
	known = append(known, "stranger")
	return rapid.SampledFrom(known).Draw(rt, "id")
}

func (r *random) instance(rt *rapid.T, id string) string {
	if m := r.g.byID[id]; m != nil && rapid.IntRange(0, 9).Draw(rt, "honest") > 0 {
		return m.instanceID
	}
	return rapid.SampledFrom([]string{"", "", "i1", "i2"}).Draw(rt, "instance")
}

func (r *random) generation(rt *rapid.T) int32 {
	return r.g.generation - int32(max(0, rapid.IntRange(-6, 1).Draw(rt, "back")))
}

func (r *random) join(rt *rapid.T) {
	id := ""
	if rapid.Bool().Draw(rt, "known") {
		id = r.someone(rt)
	}
	r.serial++
	req := &JoinRequest{
		MemberID: id, InstanceID: r.instance(rt, id), NewMemberID: fmt.Sprintf("m%d", r.serial),
		ProtocolType:     rapid.SampledFrom([]string{"consumer", "consumer", "consumer", "connect", ""}).Draw(rt, "type"),
		SessionTimeout:   time.Duration(rapid.IntRange(6, 20).Draw(rt, "session")) * time.Second,
		RebalanceTimeout: time.Duration(rapid.IntRange(6, 60).Draw(rt, "rebalance")) * time.Second,
		RequireMemberID:  rapid.Bool().Draw(rt, "require"),
		SkipsAssignment:  rapid.Bool().Draw(rt, "skips"),
	}
	for _, name := range rapid.SampledFrom([][]string{{"range"}, {"range", "sticky"}, {"sticky", "range"}, {"sticky"}, {}}).Draw(rt, "protocols") {
		req.Protocols = append(req.Protocols, Protocol{Name: name, Metadata: subscription("t")})
	}
	r.tickets++
	r.joins[r.tickets] = id
	r.apply(r.g.Join(r.now, r.tickets, req))
}

func (r *random) sync(rt *rapid.T) {
	id := r.someone(rt)
	req := &SyncRequest{MemberID: id, InstanceID: r.instance(rt, id), Generation: r.generation(rt)}
	for member := range r.g.byID {
		req.Assignments = append(req.Assignments, Assignment{member, []byte(fmt.Sprintf("%s@%d", member, req.Generation))})
	}
	r.tickets++
	r.syncs[r.tickets] = id
	r.apply(r.g.Sync(r.now, r.tickets, req))
}

func (r *random) heartbeat(rt *rapid.T) {
	id := r.someone(rt)
	ref := MemberRef{MemberID: id, InstanceID: r.instance(rt, id), Generation: r.generation(rt)}
	if rapid.Bool().Draw(rt, "commit") {
		if r.g.Commit(r.now, ref) == nil && ref.Generation >= 0 {
			require.Equal(rt, r.g.generation, ref.Generation, "a commit of a stale generation was accepted")
			require.Contains(rt, r.g.byID, id)
			require.NotEqual(rt, CompletingRebalance, r.g.state)
		}
		return
	}
	if r.g.Heartbeat(r.now, ref) == nil {
		require.Equal(rt, r.g.generation, ref.Generation, "a heartbeat of a stale generation was accepted")
		require.Contains(rt, r.g.byID, id)
	}
}

func (r *random) leave(rt *rapid.T) {
	id := r.someone(rt)
	ref := MemberRef{MemberID: id, InstanceID: r.instance(rt, id)}
	errs, fx := r.g.Leave(r.now, []MemberRef{ref})
	if errs[0] == nil {
		require.NotContains(rt, r.g.byID, id)
	}
	r.apply(fx)
}

func (r *random) saved(rt *rapid.T) {
	if len(r.saves) == 0 {
		rt.Skip("nothing to save")
	}
	s := r.saves[0]
	r.saves = r.saves[1:]
	var err error
	if rapid.IntRange(0, 4).Draw(rt, "fails") == 0 {
		err = ErrCorrupt
	} else {
		meta, err := DecodeMetadata(s.Metadata.Append(nil))
		require.NoError(rt, err)
		require.Equal(rt, s.Metadata.Generation, meta.Generation)
	}
	r.apply(r.g.Saved(r.now, s.Seq, err))
}

func (r *random) pass(rt *rapid.T) {
	r.now = r.now.Add(time.Duration(rapid.IntRange(0, 15).Draw(rt, "seconds")) * time.Second)
	r.apply(r.g.Tick(r.now))
	at, ok := r.g.Deadline()
	require.True(rt, !ok || at.After(r.now), "a deadline has passed and is still there")
}

// apply checks the replies: each answers a request that waits, and all of one generation agree.
func (r *random) apply(fx Effects) {
	for _, reply := range fx.Joins {
		require.Contains(r.rt, r.joins, reply.Ticket, "answered and not asked")
		delete(r.joins, reply.Ticket)
		if reply.MemberID != "" && reply.Generation < 0 {
			r.ids = append(r.ids, reply.MemberID)
		}
		if reply.Err != nil {
			require.Empty(r.rt, reply.Members)
			continue
		}
		r.ids = append(r.ids, reply.MemberID)
		require.Equal(r.rt, r.g.generation, reply.Generation)
		require.NotEmpty(r.rt, reply.Protocol)
		r.oneOf(r.protos, reply.Generation, reply.Protocol)
		if len(reply.Members) > 0 {
			require.Equal(r.rt, reply.Leader, reply.MemberID, "only the leader sees the members")
		}
	}
	for _, reply := range fx.Syncs {
		require.Contains(r.rt, r.syncs, reply.Ticket, "answered and not asked")
		id := r.syncs[reply.Ticket]
		delete(r.syncs, reply.Ticket)
		if reply.Err == nil {
			require.Equal(r.rt, Stable, r.g.state)
			require.Contains(r.rt, r.g.byID, id)
		}
	}
	if fx.Save != nil {
		r.saves = append(r.saves, fx.Save)
	}
}

func (r *random) oneOf(of map[int32]string, generation int32, value string) {
	if seen, ok := of[generation]; ok {
		require.Equal(r.rt, seen, value)
	}
	of[generation] = value
}

// check is what holds between steps.
func (r *random) check(rt *rapid.T) {
	g := r.g
	require.Len(rt, g.byID, len(g.members))
	waiting := 0
	for _, m := range g.members {
		require.Same(rt, m, g.byID[m.id])
		require.NotContains(rt, g.pending, m.id)
		if m.instanceID != "" {
			require.Equal(rt, m.id, g.static[m.instanceID])
		}
		if m.join != 0 {
			require.Contains(rt, r.joins, m.join)
			waiting++
		}
		if m.sync != 0 {
			require.Contains(rt, r.syncs, m.sync)
			require.Equal(rt, CompletingRebalance, g.state, "a SyncGroup waits and there is nothing to wait for")
			waiting++
		}
		require.True(rt, !m.expires.IsZero() || m.waits(), "member %s never expires", m.id)
	}
	require.Equal(rt, len(r.joins)+len(r.syncs), waiting, "a request waits that nobody is going to answer")
	for instance, id := range g.static {
		require.Equal(rt, instance, g.byID[id].instanceID)
	}
	r.checkState(rt)
}

func (r *random) checkState(rt *rapid.T) {
	g := r.g
	if g.state == Empty {
		require.Empty(rt, g.members)
		return
	}
	if len(g.members) > 0 {
		require.Contains(rt, g.byID, g.leader, "a group with members has one leader")
	}
	switch g.state {
	case PreparingRebalance:
		require.False(rt, g.joinAt.IsZero(), "the join phase never ends")
	case CompletingRebalance, Stable:
		require.NotEmpty(rt, g.members)
		require.True(rt, g.supportedByAll(g.protocol))
	}
	if g.state == CompletingRebalance {
		require.True(rt, !g.syncAt.IsZero() || g.assignSeq != 0, "the sync phase never ends")
	}
}

// drain lets all time pass: every request gets its answer.
func (r *random) drain() {
	for range 1000 {
		if len(r.joins)+len(r.syncs) == 0 {
			return
		}
		if len(r.saves) > 0 {
			s := r.saves[0]
			r.saves = r.saves[1:]
			r.apply(r.g.Saved(r.now, s.Seq, nil))
			continue
		}
		at, ok := r.g.Deadline()
		require.True(r.rt, ok, "requests wait and no deadline is set: %v %v", r.joins, r.syncs)
		r.now = at
		r.apply(r.g.Tick(r.now))
	}
	require.Fail(r.rt, "requests wait for ever")
}
