package consumer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// TestRandomMembers lets members of both protocols come, go, get lost, and be slow, while topics change and the broker is killed.
// Always: no partition is with two members, by what the members themselves believe; epochs do not go back; what is durable is the
// whole group. In the end everything is assigned.
func TestRandomMembers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRandom(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"come":      r.come,
			"heartbeat": r.beat,
			"leave":     r.leave,
			"lost":      r.lost,
			"topics":    r.change,
			"subscribe": r.subscribe,
			"kill":      r.kill,
			"pass":      func(rt *rapid.T) { r.pass(time.Duration(rapid.IntRange(0, 8).Draw(rt, "seconds")) * time.Second) },
			"":          r.check,
		})
		r.drain()
	})
}

type random struct {
	rt      *rapid.T
	world   *world
	g       *Group
	now     time.Time
	opts    Options
	clients []*client
	serial  int
	epoch   int32
}

// client is a member as it sees itself.
type client struct {
	id, instance string
	epoch        int32
	owned        assign.Partitions
	give         assign.Partitions // owned, and to be given up
	names        []string
	pattern      string
	classic      bool
	eager        bool
	mustSync     bool
	mustJoin     bool
	lost         bool // does not send anything any more
	resend       bool // the last answer did not arrive
}

func newRandom(rt *rapid.T) *random {
	w := newWorld()
	w.set("a", 3)
	w.set("b", 4)
	r := &random{rt: rt, world: w, now: time.UnixMilli(0),
		opts: Options{SessionTimeout: 30 * time.Second, HeartbeatInterval: 5 * time.Second, MaxSize: 5, Topics: w}, epoch: 1}
	r.g = New(r.now, r.opts)
	return r
}

var subscriptions = [][]string{{"a"}, {"a", "b"}, {"b", "c"}, {"nothing"}, {}}

func (r *random) come(rt *rapid.T) {
	r.serial++
	c := &client{id: fmt.Sprintf("m%d", r.serial), names: rapid.SampledFrom(subscriptions).Draw(rt, "names"), owned: assign.Partitions{}}
	c.instance = rapid.SampledFrom([]string{"", "", "i", "j"}).Draw(rt, "instance")
	c.classic = rapid.Bool().Draw(rt, "classic")
	c.eager = rapid.Bool().Draw(rt, "eager")
	if !c.classic {
		c.pattern = rapid.SampledFrom([]string{"", "", "[ab]", ".*"}).Draw(rt, "pattern")
	}
	if !r.join(c) {
		return
	}
	for i, o := range r.clients {
		if o.instance != "" && o.instance == c.instance {
			r.clients[i] = c // fenced, or gone
			return
		}
	}
	r.clients = append(r.clients, c)
}

func (r *random) join(c *client) bool {
	if c.classic {
		return r.classicJoin(c)
	}
	c.owned = assign.Partitions{}
	req := &HeartbeatRequest{MemberID: c.id, Rebalance: 20 * time.Second, Names: c.names, Pattern: &c.pattern, Owned: assign.Partitions{}}
	if c.instance != "" {
		req.InstanceID = &c.instance
	}
	_, ok := req.Check()
	require.True(r.rt, ok)
	reply, fx := r.g.Heartbeat(r.now, req)
	r.effects(fx)
	if reply.Err != nil {
		require.Contains(r.rt, []*kerr.Error{kerr.GroupMaxSizeReached, kerr.UnreleasedInstanceID}, reply.Err)
		return false
	}
	require.NotNil(r.rt, reply.Assignment)
	c.took(reply)
	return true
}

func (c *client) took(reply HeartbeatReply) {
	c.epoch = reply.Epoch
	if reply.Assignment != nil {
		c.give = c.owned.Minus(reply.Assignment)
		c.owned = reply.Assignment.Or(c.give)
	}
}

func (r *random) beat(rt *rapid.T) {
	c := r.someone(rt)
	if c.classic {
		r.classicBeat(c)
		return
	}
	slow := len(c.give) > 0 && rapid.Bool().Draw(rt, "slow")
	r.modernBeat(c, slow, rapid.IntRange(0, 9).Draw(rt, "drop") == 0)
}

func (r *random) modernBeat(c *client, slow, drop bool) {
	req := &HeartbeatRequest{MemberID: c.id, Epoch: c.epoch, Rebalance: -1}
	if c.instance != "" {
		req.InstanceID = &c.instance
	}
	if len(c.give) > 0 && !slow {
		c.owned, c.give = c.owned.Minus(c.give), nil
		req.Owned = c.owned
	}
	if c.resend { // everything is sent again
		req.Owned, req.Rebalance, req.Names = c.owned, 20*time.Second, c.names
	}
	reply, fx := r.g.Heartbeat(r.now, req)
	r.effects(fx)
	switch {
	case reply.Err == nil && drop:
		c.resend = true
	case reply.Err == nil:
		require.GreaterOrEqual(r.rt, reply.Epoch, c.epoch)
		c.resend = false
		c.took(reply)
	default:
		require.Contains(r.rt, []*kerr.Error{kerr.UnknownMemberID, kerr.FencedMemberEpoch, kerr.FencedInstanceID}, reply.Err)
		require.True(r.rt, reply.Err != kerr.FencedMemberEpoch || c.resend, "a member that got every answer is fenced")
		r.again(c)
	}
}

// again is a client that was told to begin anew.
func (r *random) again(c *client) {
	c.owned, c.give, c.epoch, c.resend = assign.Partitions{}, nil, 0, false
	if !r.join(c) {
		r.forget(c)
	}
}

func (r *random) classicJoin(c *client) bool {
	meta := kmsg.ConsumerMemberMetadata{Version: 1, Topics: c.names}
	if c.eager {
		c.owned = assign.Partitions{}
	}
	for _, id := range c.owned.Topics() {
		if t, ok := r.world.ByID(id); ok {
			meta.OwnedPartitions = append(meta.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: t.Name, Partitions: c.owned[id]})
		}
	}
	id := c.id
	if c.epoch == 0 && c.instance != "" {
		id = "" // a static member that comes (back)
	}
	reply, fx := r.g.Join(r.now, &JoinRequest{MemberID: id, NewMemberID: c.id, InstanceID: c.instance, ProtocolType: "consumer",
		Protocols: []Protocol{{"sticky", meta.AppendTo(nil)}}, Session: 10 * time.Second, Rebalance: 20 * time.Second})
	r.effects(fx)
	if reply.Err != nil {
		require.Contains(r.rt, []*kerr.Error{kerr.GroupMaxSizeReached, kerr.UnknownMemberID, kerr.FencedInstanceID}, reply.Err)
		return false
	}
	c.epoch, c.mustSync, c.mustJoin = reply.Epoch, true, false
	return true
}

func (r *random) classicBeat(c *client) {
	if c.mustJoin {
		if !r.classicJoin(c) {
			r.again(c)
		}
		return
	}
	if c.mustSync {
		b, err := r.g.Sync(r.now, c.id, c.instance, c.epoch, "consumer", "sticky")
		if err == nil {
			c.mustSync = false
			got := r.g.parse(b)
			gone := c.owned.Filter(func(topic TopicID, _ int32) bool { _, ok := r.world.ByID(topic); return !ok })
			if !c.owned.Minus(got).Equal(gone) {
				c.mustJoin = true // to say that it gave something up
			}
			c.owned = got
			return
		}
		r.classicError(c, err)
		return
	}
	err, fx := r.g.ClassicHeartbeat(r.now, c.id, c.instance, c.epoch)
	r.effects(fx)
	if err != nil {
		r.classicError(c, err)
	}
}

func (r *random) classicError(c *client, err *kerr.Error) {
	switch err {
	case kerr.RebalanceInProgress:
		c.mustJoin = true
	case kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.IllegalGeneration:
		r.again(c)
	default:
		require.Fail(r.rt, "unexpected", "%v", err)
	}
}

func (r *random) leave(rt *rapid.T) {
	c := r.someone(rt)
	switch {
	case c.classic || rapid.IntRange(0, 3).Draw(rt, "by LeaveGroup") == 0:
		_, fx := r.g.Leave(r.now, []MemberRef{{MemberID: c.id, InstanceID: c.instance}})
		r.effects(fx)
	default:
		req := &HeartbeatRequest{MemberID: c.id, Epoch: -1, Rebalance: -1}
		if c.instance != "" {
			req.InstanceID = &c.instance
			req.Epoch = rapid.SampledFrom([]int32{-1, -2}).Draw(rt, "for now")
		}
		_, fx := r.g.Heartbeat(r.now, req)
		r.effects(fx)
	}
	r.forget(c)
}

func (r *random) forget(c *client) {
	left := r.clients[:0]
	for _, o := range r.clients {
		if o != c {
			left = append(left, o)
		}
	}
	r.clients = left
}

func (r *random) lost(rt *rapid.T) { r.someone(rt).lost = true }

func (r *random) change(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "topic")
	more := r.world.topics[name].Partitions + rapid.IntRange(1, 3).Draw(rt, "more")
	if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
		more = 0
	}
	r.world.set(name, more)
}

// subscribe is a member of the new protocol that changes its mind.
func (r *random) subscribe(rt *rapid.T) {
	c := r.someone(rt)
	if c.classic || c.resend || len(c.give) > 0 {
		rt.Skip("not now")
	}
	c.names = rapid.SampledFrom(subscriptions).Draw(rt, "names")
	req := &HeartbeatRequest{MemberID: c.id, Epoch: c.epoch, Rebalance: -1, Names: c.names}
	if c.instance != "" {
		req.InstanceID = &c.instance
	}
	reply, fx := r.g.Heartbeat(r.now, req)
	r.effects(fx)
	if reply.Err == nil {
		c.took(reply)
	}
}

func (r *random) kill(*rapid.T) {
	b := r.g.Append(nil)
	g, err := Restore(r.now, r.opts, b)
	require.NoError(r.rt, err)
	require.Equal(r.rt, b, g.Append(nil))
	require.Equal(r.rt, r.g.State(), g.State())
	r.g = g
}

func (r *random) pass(d time.Duration) {
	r.now = r.now.Add(d)
	r.effects(r.g.Tick(r.now))
	at, ok := r.g.Deadline()
	require.True(r.rt, !ok || at.After(r.now), "a deadline has passed and is still there")
	require.Equal(r.rt, r.g.Size() > 0, ok, "members without a session")
}

func (r *random) someone(rt *rapid.T) *client {
	var here []*client
	for _, c := range r.clients {
		if !c.lost {
			here = append(here, c)
		}
	}
	if len(here) == 0 {
		rt.Skip("nobody is here")
	}
	return rapid.SampledFrom(here).Draw(rt, "member")
}

func (r *random) effects(fx Effects) {
	require.True(r.rt, fx.Save || fx.Rebalances == 0)
	require.GreaterOrEqual(r.rt, r.g.Epoch(), r.epoch)
	require.True(r.rt, fx.Save || r.g.Epoch() == r.epoch, "an epoch that is not durable")
	r.epoch = r.g.Epoch()
}

// check looks at the group and at what its members believe.
func (r *random) check(rt *rapid.T) {
	owners := map[topicPartition]string{}
	for _, m := range r.g.members {
		for _, p := range []assign.Partitions{m.assigned, m.revoking} {
			for topic, s := range p {
				for _, n := range s {
					tp := topicPartition{topic, n}
					require.NotContains(rt, owners, tp, "a partition with two owners")
					owners[tp] = m.id
					require.Same(rt, m, r.g.owners[tp])
				}
			}
		}
		require.LessOrEqual(rt, m.epoch, r.g.epoch)
		require.NotZero(rt, m.expires)
		for topic := range m.target {
			require.True(rt, r.g.assignmentEpoch > 0, "target of %v", topic)
		}
	}
	require.Len(rt, r.g.owners, len(owners))
	require.LessOrEqual(rt, r.g.assignmentEpoch, r.g.epoch)

	believed := map[topicPartition]string{}
	for _, c := range r.clients {
		m := r.g.byID[c.id]
		if m == nil || c.epoch == 0 {
			continue // out, and its session is over
		}
		for topic, s := range c.owned {
			if _, ok := r.world.ByID(topic); !ok {
				continue // a classic member cannot even name what it has of a topic that is gone
			}
			for _, n := range s {
				tp := topicPartition{topic, n}
				require.NotContains(rt, believed, tp, "%s and %s believe to own it", c.id, believed[tp])
				believed[tp] = c.id
				require.Equal(rt, c.id, owners[tp], "%s believes to own what the group has not given it", c.id)
			}
		}
	}
}

// drain lets everybody who is left send heartbeats until nothing changes, and looks at the outcome.
func (r *random) drain() {
	for range 60 {
		for _, c := range append([]*client(nil), r.clients...) {
			if c.lost {
				continue
			}
			if c.classic {
				r.classicBeat(c)
			} else {
				r.modernBeat(c, false, false)
			}
			r.check(r.rt)
		}
		r.pass(2 * time.Second)
	}
	alive := false
	for _, c := range r.clients {
		alive = alive || !c.lost
	}
	if !alive {
		require.Equal(r.rt, Empty, r.g.State())
		return
	}
	require.Equal(r.rt, Stable, r.g.State())
	want, got := assign.Partitions{}, assign.Partitions{}
	for _, c := range r.clients {
		if c.lost {
			continue
		}
		for _, t := range r.world.All() {
			if slices.Contains(c.names, t.Name) || c.pattern != "" && matches(c.pattern, t.Name) {
				for n := range int32(t.Partitions) {
					want = want.Or(parts(t.ID, n))
				}
			} else {
				require.Empty(r.rt, c.owned[t.ID], "%s does not subscribe to %s", c.id, t.Name)
			}
		}
		got = got.Or(c.owned)
	}
	require.Equal(r.rt, want, got, "not everything is with a member")
}

func matches(expression, name string) bool {
	re, err := compile(expression)
	return err == nil && re.MatchString(name)
}
