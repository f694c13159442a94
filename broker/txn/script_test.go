package txn

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/script"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// TestScripts plays the conversations in testdata/script: lines that begin with "> " are events, the lines below each are what the
// transactional id does and what it then is. Read a change of these files as a change of behaviour.
func TestScripts(t *testing.T) {
	script.Play(t, "testdata/script/*.txt", func(t *testing.T) func([]string) []string { return newPlayer(t).run })
}

// player holds a transactional id and its clock.
type player struct {
	t          *testing.T
	x          *Txn
	start, now time.Time
	spare      int64
	ticket     Ticket
	waiting    map[Ticket]string
	durable    catalog.Transaction
	end        *End // asked for and not reported yet
	out        []string
}

const expiration = 7 * 24 * time.Hour

func newPlayer(t *testing.T) *player {
	start := time.UnixMilli(1_700_000_000_000)
	return &player{t: t, start: start, now: start, spare: 100, x: New("tx", 1, expiration), waiting: map[Ticket]string{}}
}

// run does one event and says what came of it. Producers are named ID:EPOCH, partitions TOPIC-INDEX.
func (p *player) run(words []string) []string {
	p.out = nil
	a := args{script.ParseArgs(words[1:])}
	switch words[0] {
	case "init":
		r := InitRequest{Timeout: time.Minute, SpareID: p.spare}
		if a.Who != "" {
			e := p.producer(a.Who)
			r.Expected = &e
		}
		reply, fx := p.x.Init(p.now, r)
		if p.x.producer.ID == p.spare {
			p.spare++
		}
		p.say("init %s", replyText(reply))
		p.apply(fx)
	case "add":
		err, fx := p.x.Add(p.now, p.producer(a.Who), a.partitions())
		p.say("add %s", errText(err))
		p.apply(fx)
	case "addgroup":
		err, fx := p.x.AddGroup(p.now, p.producer(a.Who), a.Get("group"))
		p.say("addgroup %s", errText(err))
		p.apply(fx)
	case "verify":
		p.say("verify %s", errText(p.x.Verify(p.producer(a.Who), a.partitions()[0])))
	case "begin":
		err, fx := p.x.Begin(p.now, p.producer(a.Who), a.partitions()[0], a.Has("implicit"))
		p.say("begin %s", errText(err))
		p.apply(fx)
	case "begingroup":
		err, fx := p.x.BeginGroup(p.now, p.producer(a.Who), a.Get("group"), a.Has("implicit"))
		p.say("begingroup %s", errText(err))
		p.apply(fx)
	case "done":
		p.apply(p.x.Done())
	case "commit", "abort":
		p.ticket++
		p.waiting[p.ticket] = words[0]
		r := EndRequest{Producer: p.producer(a.Who), Commit: words[0] == "commit", EpochPerTxn: a.Has("v5"), SpareID: p.spare}
		p.apply(p.x.End(p.now, p.ticket, r))
		if e := p.x.end; e != nil && e.after.producer.ID == p.spare {
			p.spare++
		}
	case "ended", "endfails":
		require.NotNil(p.t, p.end)
		if words[0] == "ended" {
			p.durable = p.end.After
		}
		p.end = nil
		p.apply(p.x.Ended(words[0] == "ended"))
	case "wait":
		d, err := time.ParseDuration(a.Who)
		require.NoError(p.t, err)
		p.now = p.now.Add(d)
		p.apply(p.x.Tick(p.now))
	case "restart":
		p.x, p.end, p.waiting = Restore(&p.durable, expiration), nil, map[Ticket]string{}
	case "epoch": // as after so many transactions
		n, err := strconv.Atoi(a.Who)
		require.NoError(p.t, err)
		p.x.producer.Epoch = int16(n)
	default:
		require.Failf(p.t, "unknown event", "%v", words)
	}
	p.say("= %s", p.summary())
	return p.out
}

func (p *player) say(format string, args ...any) { p.out = append(p.out, fmt.Sprintf(format, args...)) }

func (p *player) producer(s string) Producer {
	id, epoch, _ := strings.Cut(s, ":")
	i, err := strconv.ParseInt(id, 10, 64)
	require.NoError(p.t, err)
	e, err := strconv.ParseInt(epoch, 10, 16)
	require.NoError(p.t, err)
	return Producer{i, int16(e)}
}

// apply notes the effects of a step; each ticket may be answered once.
func (p *player) apply(fx Effects) {
	if fx.Save != nil {
		p.durable = *fx.Save
		p.say("save %s", recordText(p.durable))
		require.Equal(p.t, p.durable, Restore(fx.Save, expiration).Record(), "a restart brings it back")
	}
	if a := fx.Addition; a != nil {
		p.durable = added(p.durable, a)
		p.say("add %d:%d %s", a.ProducerID, a.Number, recordText(p.durable))
		require.Equal(p.t, p.durable, Restore(&p.durable, expiration).Record(), "a restart brings it back")
	}
	for _, r := range fx.Replies {
		what, ok := p.waiting[r.Ticket]
		require.True(p.t, ok, "ticket %d is answered and does not wait", r.Ticket)
		delete(p.waiting, r.Ticket)
		p.say("%s: %s", what, replyText(r))
	}
	if fx.End != nil {
		require.Nil(p.t, p.end, "one end at a time")
		p.end = fx.End
		p.say("end commit=%v marker=%d:%d partitions=%s groups=%v then %s", fx.End.Commit, fx.End.Marker.ID, fx.End.Marker.Epoch,
			partitionsText(fx.End.Partitions), fx.End.Groups, recordText(fx.End.After))
	}
	if fx.Remove {
		p.say("remove")
	}
}

func (p *player) summary() string {
	s := fmt.Sprintf("%v %d:%d", p.x.state, p.x.producer.ID, p.x.producer.Epoch)
	if len(p.x.partitions) > 0 {
		s += " partitions=" + partitionsText(p.x.partitions)
	}
	if len(p.x.groups) > 0 {
		s += fmt.Sprintf(" groups=%v", p.x.groups)
	}
	if p.x.inFlight > 0 {
		s += fmt.Sprintf(" inflight=%d", p.x.inFlight)
	}
	if len(p.waiting) > 0 {
		s += fmt.Sprintf(" waiting=%d", len(p.waiting))
	}
	if at, ok := p.x.Deadline(); ok {
		s += fmt.Sprintf(" deadline=%v", at.Sub(p.start))
	}
	return s
}

func recordText(r catalog.Transaction) string {
	s := fmt.Sprintf("%v %d:%d last=%d", stateOf(r.State), r.ProducerID, r.Epoch, r.LastEpoch)
	if r.PreviousProducerID >= 0 {
		s += fmt.Sprintf(" previous=%d", r.PreviousProducerID)
	}
	if n := len(r.Partitions) + len(r.Groups); n > 0 {
		s += fmt.Sprintf(" members=%d", n)
	}
	return s
}

func partitionsText(list []Partition) string {
	var all []string
	for _, tp := range list {
		all = append(all, fmt.Sprintf("%s-%d", tp.Topic, tp.Index))
	}
	return "[" + strings.Join(all, " ") + "]"
}

func replyText(r Reply) string {
	if r.Err != nil {
		return errText(r.Err)
	}
	return fmt.Sprintf("OK %d:%d", r.Producer.ID, r.Producer.Epoch)
}

func errText(err *kerr.Error) string {
	if err == nil {
		return "OK"
	}
	return err.Message
}

// args of an event: who it is about ("-" is nobody), key=value pairs and flags.
type args struct{ script.Args }

// partitions parses in=t-0,t-1.
func (a args) partitions() (list []Partition) {
	for part := range strings.SplitSeq(a.Get("in"), ",") {
		topic, index, _ := strings.Cut(part, "-")
		n, _ := strconv.Atoi(index)
		list = append(list, Partition{Topic: topic, Index: int32(n)})
	}
	return list
}
