package group

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/script"
)

// TestScripts plays the conversations in testdata/script: lines that begin with "> " are events, the lines below each are
// what the group does and what it then is. Read a change of these files as a change of behaviour.
func TestScripts(t *testing.T) {
	script.Play(t, "testdata/script/*.txt", func(t *testing.T) func([]string) []string { return newPlayer(t).run })
}

// player holds a group and its clock.
type player struct {
	t       *testing.T
	g       *Group
	opts    Options
	start   time.Time
	now     time.Time
	ticket  Ticket
	waiting map[Ticket]string
	saves   []*Save
	durable []byte
	out     []string
}

func newPlayer(t *testing.T) *player {
	start := time.UnixMilli(1_700_000_000_000)
	p := &player{t: t, start: start, now: start, waiting: map[Ticket]string{},
		opts: Options{InitialRebalanceDelay: 3 * time.Second, MaxSize: 4}}
	p.g = New(p.now, p.opts)
	return p
}

// run does one event and says what came of it.
func (p *player) run(words []string) []string {
	p.out = nil
	a := args{script.ParseArgs(words[1:])}
	switch words[0] {
	case "join":
		r := p.joinRequest(a)
		p.apply(p.g.Join(p.now, p.draw("join "+cmp.Or(a.Who, "as "+r.NewMemberID)), r))
	case "sync":
		r := &SyncRequest{MemberID: a.Who, InstanceID: a.Get("instance"), Generation: a.Int("gen"),
			ProtocolType: a.Get("type"), Protocol: a.Get("proto")}
		for _, pair := range a.pairs("assign") {
			r.Assignments = append(r.Assignments, Assignment{pair[0], []byte(pair[1])})
		}
		p.apply(p.g.Sync(p.now, p.draw("sync "+a.Who), r))
	case "heartbeat":
		p.say("heartbeat %s", errText(p.g.Heartbeat(p.now, a.ref())))
	case "commit":
		p.say("commit %s", errText(p.g.Commit(p.now, a.ref())))
	case "leave":
		errs, fx := p.g.Leave(p.now, []MemberRef{a.ref()})
		p.say("leave %s", errText(errs[0]))
		p.apply(fx)
	case "saved", "savefails":
		p.completeSave(words[0] == "saved")
	case "wait":
		p.wait(a.Who)
	case "restart":
		meta, err := DecodeMetadata(p.durable)
		require.NoError(p.t, err)
		p.g, p.saves, p.waiting = Restore(p.now, p.opts, meta), nil, map[Ticket]string{}
	case "kill":
		p.apply(p.g.Kill(p.now, kerr.NotCoordinator))
	case "describe":
		p.describe()
	default:
		require.Failf(p.t, "unknown event", "%v", words)
	}
	p.say("= %s", p.summary())
	return p.out
}

func (p *player) say(format string, args ...any) { p.out = append(p.out, fmt.Sprintf(format, args...)) }

func (p *player) draw(what string) Ticket {
	p.ticket++
	p.waiting[p.ticket] = what
	return p.ticket
}

func (p *player) joinRequest(a args) *JoinRequest {
	r := &JoinRequest{MemberID: a.Who, InstanceID: a.Get("instance"), NewMemberID: a.Get("as"),
		ClientID: "client", ClientHost: "/127.0.0.1", ProtocolType: "consumer",
		SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute,
		RequireMemberID: a.Has("required"), SkipsAssignment: a.Has("skips")}
	if v := a.Get("type"); v != "" {
		r.ProtocolType = v
	}
	if v := a.Get("rebalance"); v != "" {
		r.RebalanceTimeout = p.duration(v)
	}
	if v := a.Get("session"); v != "" {
		r.SessionTimeout = p.duration(v)
	}
	pairs := a.pairs("protos")
	if pairs == nil {
		pairs = [][2]string{{"range", "t"}}
	}
	for _, pair := range pairs {
		r.Protocols = append(r.Protocols, Protocol{Name: pair[0], Metadata: subscription(pair[1])})
	}
	return r
}

// subscription is consumer metadata for one topic.
func subscription(topic string) []byte {
	return (&kmsg.ConsumerMemberMetadata{Topics: []string{topic}}).AppendTo(nil)
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	require.NoError(p.t, err)
	return d
}

// wait lets the time pass, with a tick at every deadline on the way.
func (p *player) wait(s string) {
	end := p.now.Add(p.duration(s))
	for {
		at, ok := p.g.Deadline()
		if !ok || at.After(end) {
			break
		}
		p.now = at
		p.say("at %v", p.now.Sub(p.start))
		p.apply(p.g.Tick(p.now))
	}
	p.now = end
}

func (p *player) completeSave(ok bool) {
	if len(p.saves) == 0 {
		p.say("nothing to save")
		return
	}
	s := p.saves[0]
	p.saves = p.saves[1:]
	var err error
	if ok {
		p.durable = s.Metadata.Append(nil)
	} else {
		err = os.ErrInvalid
	}
	p.apply(p.g.Saved(p.now, s.Seq, err))
}

// apply notes the effects of a step; each ticket may be answered once.
func (p *player) apply(fx Effects) {
	for _, r := range fx.Joins {
		line := fmt.Sprintf("%s: %s id=%s", p.answered(r.Ticket), errText(r.Err), r.MemberID)
		if r.Err == nil {
			line += fmt.Sprintf(" gen=%d proto=%s leader=%s", r.Generation, r.Protocol, r.Leader)
		}
		if r.SkipAssignment {
			line += " skip"
		}
		if len(r.Members) > 0 {
			line += " members=" + joinMembersText(r.Members)
		}
		p.say("%s", line)
	}
	for _, r := range fx.Syncs {
		line := fmt.Sprintf("%s: %s", p.answered(r.Ticket), errText(r.Err))
		if r.Err == nil {
			line += fmt.Sprintf(" proto=%s assignment=%s", r.Protocol, r.Assignment)
		}
		p.say("%s", line)
	}
	if fx.Save != nil {
		p.saves = append(p.saves, fx.Save)
		p.say("save gen=%d members=%d", fx.Save.Metadata.Generation, len(fx.Save.Metadata.Members))
	}
}

func (p *player) answered(t Ticket) string {
	what, ok := p.waiting[t]
	require.True(p.t, ok, "ticket %d is answered and does not wait", t)
	delete(p.waiting, t)
	return what
}

func joinMembersText(members []JoinMember) string {
	var all []string
	for _, m := range members {
		all = append(all, m.MemberID)
	}
	return strings.Join(all, ",")
}

func (p *player) summary() string {
	var members []string
	for _, m := range p.g.members {
		members = append(members, m.id)
	}
	s := fmt.Sprintf("%v gen=%d members=[%s]", p.g.state, p.g.generation, strings.Join(members, " "))
	if p.g.leader != "" {
		s += " leader=" + p.g.leader
	}
	if len(p.g.pending) > 0 {
		s += fmt.Sprintf(" pending=%v", slices.Sorted(maps.Keys(p.g.pending)))
	}
	if len(p.waiting) > 0 {
		s += fmt.Sprintf(" waiting=[%s]", strings.Join(slices.Sorted(maps.Values(p.waiting)), ", "))
	}
	if at, ok := p.g.Deadline(); ok {
		s += fmt.Sprintf(" deadline=%v", at.Sub(p.start))
	}
	return s
}

func (p *player) describe() {
	d := p.g.Describe()
	p.say("%v type=%s proto=%s", d.State, d.ProtocolType, d.Protocol)
	for _, m := range d.Members {
		p.say("  %s instance=%s client=%s%s metadata=%d assignment=%s", m.MemberID, m.InstanceID, m.ClientID, m.ClientHost,
			len(m.Metadata), m.Assignment)
	}
}

func errText(err *kerr.Error) string {
	if err == nil {
		return "OK"
	}
	return err.Message
}

// args of an event: who it is about ("-" is nobody), key=value pairs and flags.
type args struct{ script.Args }

// pairs parses a:x,b:y.
func (a args) pairs(key string) (pairs [][2]string) {
	if a.Get(key) == "" {
		return nil
	}
	for part := range strings.SplitSeq(a.Get(key), ",") {
		name, value, _ := strings.Cut(part, ":")
		pairs = append(pairs, [2]string{name, value})
	}
	return pairs
}

func (a args) ref() MemberRef {
	return MemberRef{MemberID: a.Who, InstanceID: a.Get("instance"), Generation: a.Int("gen")}
}
