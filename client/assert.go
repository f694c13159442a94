package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/client/said"
	"github.com/keyframelog/keyframe/proto/digest"
)

// Assertion is what Assert found.
type Assertion struct {
	// Outcome is Equal if the topic holds what was said, whatever partition a row is in; Drifted if a partition is proved to differ, and the topic with it; else
	// Inconclusive.
	Outcome Outcome
	// Positions are the offsets that were compared: the end of each partition, or, where records were handed in meanwhile, behind the last of those before.
	Positions map[int32]int64
	// Ours and Logs are sums over all partitions.
	Ours, Logs digest.Digest
	// Reason is for a person: the first that makes the outcome what it is, empty when equal.
	Reason string
	// Partitions has the verdict of each.
	Partitions []Verdict
}

const (
	assertTries = 4
	// lateMax is how long the log is asked again, after its last record came, where nothing is acknowledged and a record may still be on its way.
	lateMax   = 2 * time.Second
	latePause = 20 * time.Millisecond
)

// Assert compares what was said with the log (ProducerConfig.KeepState): every record that was handed to Produce and ProduceSync when it is called,
// folded onto the state that the producer began with. It waits until each is acknowledged or has failed, and then for the log's answer; records may be
// produced meanwhile, and count the next time. Equal says that the log's keys and values are what was said. Drifted says that they are not, and
// why as far as that can be told: a delivery failed (a failed record stays said: that is the point), a record was lost, doubled or changed on the way,
// somebody else wrote, the topic was created anew. PublishState(ctx, p.State()) mends it, and Assert is Equal afterwards.
//
// Inconclusive: a transaction is open, this producer's or another's; the topic has got more partitions; the log cannot tell its digest; or rows have
// expired (cleanup.policy=compact,delete) in a way that cannot be followed here. Rows leave the state when they leave the log, if every delta is a
// whole value (last-value, debezium) and all offsets are known; for the others what was said may have been folded onto a row that was gone, so that a
// difference proves nothing: begin again with a new Producer.
//
// With acks=0 nothing tells a record that is late from one that is lost: the log is asked again until two seconds have passed without a new record in it,
// and an assertion while records are handed in is Inconclusive.
//
// Errors: ErrConfig without KeepState; the context's, such as while a broker is away; the state plane's; memory.ErrFull.
func (p *Producer) Assert(ctx context.Context) (Assertion, error) {
	k := p.kept
	if k == nil {
		return Assertion{Outcome: Error, Reason: errNotKept.Error()}, errNotKept
	}
	if err := hold(ctx, k.asserting); err != nil {
		return Assertion{Outcome: Error, Reason: err.Error()}, err
	}
	defer func() { <-k.asserting }()
	a, err := k.assert(ctx)
	if err != nil {
		err = fmt.Errorf("comparing what was said with topic %s: %w", k.topic, err)
		return Assertion{Outcome: Error, Reason: err.Error()}, err
	}
	return a, nil
}

// assert compares until what it sees is of one piece: a log start may move meanwhile; and records may be late.
func (k *keptState) assert(ctx context.Context) (Assertion, error) {
	var last map[int32]int64
	var moved time.Time
	for try := 1; ; {
		c, err := k.compare(ctx)
		if err != nil {
			return Assertion{}, err
		}
		switch {
		case c.unsettled && try < assertTries:
			try++
		case k.noAcks && c.quiet && c.Outcome != Equal:
			if !samePositions(last, c.Positions) {
				last, moved = c.Positions, time.Now()
			} else if time.Since(moved) >= lateMax {
				return c.Assertion, nil
			}
			if err := plane.Wait(ctx, latePause); err != nil {
				return Assertion{}, err
			}
		default:
			return c.Assertion, nil
		}
	}
}

func samePositions(a, b map[int32]int64) bool {
	for no, at := range b {
		if was, ok := a[no]; !ok || was != at {
			return false
		}
	}
	return true
}

// logView is what the log is at a moment.
type logView struct {
	partitions []plane.Partition
	starts     map[int32]int64 // log starts that its newest frames respect
}

func lookAt(ctx context.Context, pl *plane.Plane) (v logView, err error) {
	v.starts = map[int32]int64{}
	err = pl.Frames(ctx, nil, false, func(parts []plane.Partition, frames []plane.Frame) error {
		v.partitions = append(v.partitions, parts...)
		for _, f := range frames {
			v.starts[f.Partition] = max(v.starts[f.Partition], f.Start)
		}
		return nil
	})
	for i, info := range v.partitions {
		if info.Partition != int32(i) {
			return v, fmt.Errorf("%w: partition %d in place of %d", plane.ErrBadAnswer, info.Partition, i)
		}
	}
	return v, err
}

// attempt is an Assertion in the making.
type attempt struct {
	Assertion
	moment    said.Moment
	quiet     bool // nothing was said since the moment: the log's end is what it led to
	unsettled bool // a log start or the log itself changed meanwhile
}

func (k *keptState) compare(ctx context.Context) (attempt, error) {
	before, err := lookAt(ctx, k.plane)
	if err != nil {
		return attempt{}, err
	}
	n := k.said.Partitions()
	for i := range min(n, len(before.partitions)) {
		k.said.Expire(int32(i), before.starts[int32(i)])
	}
	c := attempt{moment: k.said.Moment()}
	if err := k.flush(ctx, c.moment); err != nil {
		return c, err
	}
	now, err := lookAt(ctx, k.plane)
	if err != nil {
		return c, err
	}
	c.quiet = k.said.Quiet(c.moment)
	c.Outcome, c.Positions = Equal, map[int32]int64{}
	all := len(now.partitions) == n
	for i, info := range now.partitions[:min(n, len(now.partitions))] {
		v, err := k.judge(ctx, &c, info)
		if err != nil {
			return c, fmt.Errorf("partition %d: %w", i, err)
		}
		c.add(v)
		all = all && (v.Outcome == Equal || v.Outcome == Drifted)
	}
	const other = "the topic has %d partitions, and had %d when the producer began: begin again with a new one"
	switch {
	case len(now.partitions) > n:
		c.settle(Inconclusive, fmt.Sprintf(other, len(now.partitions), n))
	case len(now.partitions) < n:
		for _, d := range c.moment.Digests[len(now.partitions):] {
			c.Ours.Merge(d)
		}
		c.settle(Drifted, fmt.Sprintf(other, len(now.partitions), n))
	}
	if all && c.Ours == c.Logs { // the same rows, some of them in other partitions
		c.Outcome, c.Reason = Equal, ""
	}
	for i, v := range c.Partitions {
		if c.quiet && (v.Outcome == Equal || c.Outcome == Equal) {
			k.said.Agree(c.moment, v.Partition, now.partitions[i].Incarnation, v.At)
		}
	}
	return c, nil
}

func (c *attempt) add(v Verdict) {
	c.Partitions = append(c.Partitions, v)
	c.Positions[v.Partition] = v.At
	c.Ours.Merge(v.Ours)
	c.Logs.Merge(v.Logs)
	c.settle(v.Outcome, fmt.Sprintf("partition %d: %s", v.Partition, v.Reason))
}

// settle makes the outcome worse if this one is: drifted before inconclusive before equal.
func (c *attempt) settle(o Outcome, reason string) {
	if o == Drifted && c.Outcome != Drifted || o == Inconclusive && c.Outcome == Equal {
		c.Outcome, c.Reason = o, reason
	}
}

// flush waits until it is known what became of everything that was said up to a moment, and of nothing else.
func (k *keptState) flush(ctx context.Context, m said.Moment) error {
	flushing, stop := context.WithCancel(ctx)
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		_ = k.cl.Flush(flushing) // it hurries the records; Wait tells what became of them
	}()
	err := k.said.Wait(ctx, m)
	stop()
	<-flushed
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s not acknowledged: %w", counted(k.cl.BufferedProduceRecords(), "record"), err)
	}
	return err
}

// judge compares one partition.
func (k *keptState) judge(ctx context.Context, c *attempt, info plane.Partition) (Verdict, error) {
	no, at := info.Partition, info.LastStable
	v := Verdict{Topic: k.topic, Partition: no, At: at, Outcome: Inconclusive, Ours: c.moment.Digests[no], Time: time.Now()}
	known := true
	if !c.quiet {
		at, known = k.said.Position(c.moment, no)
		v.At = at
	}
	switch {
	case c.moment.Open:
		v.Reason = "a transaction of this producer is open: end it first"
		return v, nil
	case !known:
		v.Reason = "records were handed in meanwhile, and where those before them ended was not acknowledged"
		return v, nil
	}
	var start int64
	var err error
	v.Logs, start, err = k.plane.DigestAt(ctx, no, info.Incarnation, at)
	switch {
	case errors.Is(err, plane.ErrOtherIncarnation):
		c.unsettled = true
		v.Reason = "the log was created anew meanwhile"
	case errors.Is(err, plane.ErrNotComparable):
		v.Reason, v.Err = err.Error(), err
	case err != nil:
		return v, err
	case v.Ours == v.Logs:
		v.Outcome = Equal
	default:
		return v, k.judgeDifference(ctx, c, &v, info, start)
	}
	return v, nil
}

// judgeDifference says why the digests differ, or why that proves nothing.
func (k *keptState) judgeDifference(ctx context.Context, c *attempt, v *Verdict, info plane.Partition, start int64) error {
	s := k.said.Standing(v.Partition)
	if s.Incarnation != info.Incarnation {
		v.Outcome = Drifted
		v.Reason = "the log is of another incarnation: the topic was created anew or restored, and does not hold what was said; " + differs(v.Ours, v.Logs)
		return nil
	}
	if start != s.Start {
		c.unsettled = true
		v.Reason = "the log start moved meanwhile: rows expired"
		return nil
	}
	if !s.Exact {
		v.Reason = fmt.Sprintf("rows below %d have expired, and what was said may have been folded onto one of them: begin again with a new producer", start)
		return nil
	}
	if c.quiet {
		end, err := k.highWatermark(ctx, v.Partition)
		if err != nil {
			return err
		}
		if end > v.At {
			v.Reason = fmt.Sprintf("the log is stable up to %d, its end is %d: a transaction is open, or somebody else writes", v.At, end)
			return nil
		}
	}
	v.Outcome, v.Reason = Drifted, why(v, &s, c.quiet)
	return nil
}

func (k *keptState) highWatermark(ctx context.Context, partition int32) (int64, error) {
	ends, err := kadm.NewClient(k.cl).ListEndOffsets(ctx, k.topic)
	if err != nil {
		return 0, err
	}
	end, ok := ends.Lookup(k.topic, partition)
	if !ok {
		return 0, fmt.Errorf("%w: %d has no end", ErrNoPartition, partition)
	}
	return end.Offset, end.Err
}

// why tells what is known of how a difference came about.
func why(v *Verdict, s *said.Standing, quiet bool) string {
	reasons := []string{differs(v.Ours, v.Logs)}
	if s.Failed > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d records handed in were not acknowledged, the last: %v", s.Failed, s.Handed, s.Err))
	}
	if quiet {
		switch more := v.At - s.Base - s.Markers - s.Acked; {
		case more > 0:
			reasons = append(reasons, fmt.Sprintf("the log has %s more than were acknowledged here: somebody else wrote, or a record came twice", counted(more, "record")))
		case more < 0:
			reasons = append(reasons, fmt.Sprintf("the log has %s fewer than were handed on", counted(-more, "record")))
		case s.Failed == 0:
			reasons = append(reasons, "the log has as many records as were handed in: one is not what it was")
		}
	}
	return strings.Join(reasons, "; ")
}
