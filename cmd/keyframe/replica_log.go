package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// replicaLog prints what happens, one line each; verdicts and events come from the partitions' goroutines.
type replicaLog struct {
	stopped  chan struct{} // capacity 1: a partition is no longer followed
	answered chan struct{} // capacity 1: answers has more
	acts     bool          // the policy is to do something about what differs, and an event says what came of it; else to name the keys

	brief bool // of a verdict, and the event that comes with it, one is told

	mu      sync.Mutex
	out     replicaOutput
	said    map[int32]string // the last verdict of each partition, or what failed and is tried again (of all: -1), until something else happens to it
	answers map[int32]bool   // since expectAnswers: what came of a partition that differed; true: it is equal, or to be compared again
	ended   map[int32]bool   // partitions that are no longer followed, from which no answer comes: all false
	equal   map[int32]int64  // the newest offset at which a partition was equal, since anything else happened to it
	rotten  bool             // answers are about rows that are not what was applied
	away    bool             // the last attempt to connect failed
	anew    map[int32]bool   // partitions that were loaded anew
	mended  bool             // something was repaired, or copied from what was set aside
}

// replicaOutput prints what is told: in words and, for formats that machines read, as values.
type replicaOutput interface {
	fact(text string, columns []string, values ...any) error
	key(d client.Difference) error
}

func newReplicaLog(out replicaOutput, acts bool) *replicaLog {
	return &replicaLog{
		out: out, acts: acts, stopped: make(chan struct{}, 1), answered: make(chan struct{}, 1), said: map[int32]string{}, ended: map[int32]bool{},
		anew: map[int32]bool{}, equal: map[int32]int64{},
	}
}

// replicaLines prints one line for each.
type replicaLines struct{ to io.Writer }

func (l replicaLines) fact(text string, _ []string, _ ...any) error {
	_, err := fmt.Fprintln(l.to, text)
	return err
}

// key prints what was here and in the log under a key: the first bytes of the entries' hashes.
func (l replicaLines) key(d client.Difference) error {
	if applied := shortEntry(d.Applied); d.Applied != (digest.Entry{}) {
		what := "cannot be read: " + applied + " was applied, as it is in the log"
		switch {
		case d.LogUnknown:
			what = "cannot be read: " + applied + " was applied, what the log has is not known"
		case d.Expired && d.Log == digest.Entry{}:
			what = "cannot be read: " + applied + " was applied, and has expired"
		case d.Applied != d.Log:
			what = fmt.Sprintf("differs, and cannot be read: %s was applied, %s in the log", applied, shortEntry(d.Log))
		}
		return l.fact(fmt.Sprintf("partition %d at %d: key %q %s", d.Partition, d.Cut, d.Key, what), nil)
	}
	return l.fact(fmt.Sprintf("partition %d at %d: key %q differs: %s here, %s in the log", d.Partition, d.Cut, d.Key, shortEntry(d.Here), shortEntry(d.Log)), nil)
}

// expectAnswers forgets what came of partitions that differed. rotten: the log's digest is no answer to what is wrong with stored rows.
func (l *replicaLog) expectAnswers(rotten bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers, l.rotten = maps.Clone(l.ended), rotten
}

// answerLocked notes what came of a partition that may have differed.
func (l *replicaLog) answerLocked(partition int32, again bool) {
	if l.answers != nil {
		l.answers[partition] = again
		wake(l.answered)
	}
}

// reopened forgets what ended with a replica that is closed.
func (l *replicaLog) reopened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.ended)
	clear(l.equal)
	l.answers = nil
	for _, c := range []chan struct{}{l.stopped, l.answered} {
		select {
		case <-c:
		default:
		}
	}
	l.printLocked("opening the directory again, to set aside what is damaged")
}

// stay waits until something has come of each of these partitions, which differ: until then not all of their keys may be named. It returns how many stay as
// they are; of those of which nothing has come when ctx ends none is known to be put right.
func (l *replicaLog) stay(ctx context.Context, differ []int32) int {
	for {
		stay, missing := 0, 0
		l.mu.Lock()
		for _, p := range differ {
			switch again, ok := l.answers[p]; {
			case !ok:
				missing++
			case !again:
				stay++
			}
		}
		l.mu.Unlock()
		if missing == 0 {
			return stay
		}
		select {
		case <-ctx.Done():
			return stay + missing
		case <-l.answered:
		}
	}
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *replicaLog) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.printLocked(fmt.Sprintf(format, args...))
}

// printLocked prints what is no verdict and no event. What the output makes of it is its own business: nobody waits for it.
func (l *replicaLog) printLocked(line string) { _ = l.out.fact(line, []string{"message"}, line) }

// OnBrokerConnect is a hook of franz-go, which connects again by itself and reports no error: this alone tells a broker that is
// away from a log in which nothing happens.
func (l *replicaLog) OnBrokerConnect(broker kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return // we are being closed, in the middle of it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	addr := net.JoinHostPort(broker.Host, strconv.Itoa(int(broker.Port)))
	switch {
	case err != nil && !l.away:
		l.printLocked(fmt.Sprintf("the broker at %s does not answer, trying again: %v", addr, err))
	case err == nil && l.away:
		l.printLocked(fmt.Sprintf("the broker at %s answers again", addr))
	}
	l.away = err != nil
}

// verdict prints a verdict once: that at the end repeats the one at a frame that was cut there.
func (l *replicaLog) verdict(v client.Verdict) {
	if v.Scrub && v.Outcome == client.Equal {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.rotten { // the rows are what was applied, whatever was wrong with them before
			l.answerLocked(v.Partition, true)
		}
		return
	}
	if v.Scrub && l.brief {
		return // it says nothing of the log, and there is an event
	}
	text := verdictText(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	columns, values := verdictFact(v)
	l.sayLocked(v.Partition, text, columns, values...)
	switch {
	case v.Scrub:
	case v.Outcome == client.Drifted:
		delete(l.equal, v.Partition)
	case v.Outcome == client.Equal:
		l.equal[v.Partition] = max(v.At, l.equal[v.Partition])
	}
	if v.Outcome == client.Equal && !l.rotten {
		l.answerLocked(v.Partition, true)
	}
}

// provedEqual tells whether a partition, which stands at position now, is equal at or behind an end: by its last verdict or, where that could not be told, by one
// that was told of the same state or a newer one.
func (l *replicaLog) provedEqual(last client.Verdict, position, end int64) bool {
	if last.Outcome == client.Equal {
		return last.At >= end
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, told := l.equal[last.Partition]
	return told && last.Outcome != client.Drifted && !errors.Is(last.Err, client.ErrCorrupt) && at >= last.At && at >= end && at <= position
}

// verdictText is a verdict on one line.
func verdictText(v client.Verdict) string {
	text := fmt.Sprintf("partition %d at %d: %s", v.Partition, v.At, v.Outcome)
	switch {
	case v.Scrub && v.Err == nil:
		text = fmt.Sprintf("partition %d at %d: %s stored, digest %s, and %d applied, %s", v.Partition, v.At,
			counted(v.Ours.Count, "row"), shortSum(v.Ours.Sum.Bytes()), v.Logs.Count, shortSum(v.Logs.Sum.Bytes()))
	case v.Scrub:
		text = fmt.Sprintf("partition %d at %d", v.Partition, v.At)
		v.Reason = ""
	case errors.Is(v.Err, client.ErrCorrupt) && v.Outcome != client.Drifted: // of our own rows, which need not have been read to the end
		v.Reason = ""
	case v.Outcome == client.Equal:
		text += fmt.Sprintf(", %s, digest %s", counted(v.Ours.Count, "row"), shortSum(v.Ours.Sum.Bytes()))
	case v.Outcome == client.Drifted:
		text += fmt.Sprintf(": ours %s %s, the log's %s %s", counted(v.Ours.Count, "row"), shortSum(v.Ours.Sum.Bytes()),
			counted(v.Logs.Count, "row"), shortSum(v.Logs.Sum.Bytes()))
	}
	if v.Reason != "" {
		text += " (" + v.Reason + ")"
	}
	if v.Err != nil {
		text += ": " + v.Err.Error()
	}
	return text
}

// sayLocked prints what is not what was said of the partition last.
func (l *replicaLog) sayLocked(partition int32, text string, columns []string, values ...any) {
	if l.said[partition] != text {
		l.said[partition] = text
		_ = l.out.fact(text, columns, values...)
	}
}

func (l *replicaLog) event(e client.Event) {
	text := fmt.Sprintf("partition %d at %d: %s", e.Partition, e.Offset, e.Kind)
	if e.Repair != nil {
		text += ", " + repairText(e.Repair)
	} else if e.Rows > 0 {
		text += ", " + counted(e.Rows, "row")
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if l.brief && e.Kind == client.DriftFound {
		return
	}
	columns, values := eventFact(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch { // what is tried again and again is said once
	case e.Partition < 0: // of all of them
		l.sayLocked(e.Partition, fmt.Sprintf("topic %s: %s, trying again: %v", e.Topic, e.Kind, e.Err), columns, values...)
		return
	case e.Kind == client.BootstrapFailed:
		l.sayLocked(e.Partition, fmt.Sprintf("partition %d at %d: %s, trying again: %v", e.Partition, e.Offset, e.Kind, e.Err), columns, values...)
		return
	}
	delete(l.said, e.Partition)
	delete(l.said, -1)
	delete(l.equal, e.Partition)
	_ = l.out.fact(text, columns, values...)
	l.mended = l.mended || e.Kind == client.Repaired || e.Kind == client.CorruptionFound
	if e.Kind == client.Bootstrapped || e.Repair != nil && e.Repair.Method == client.ByFrame && e.Repair.Keys == 0 {
		l.anew[e.Partition] = true
	}
	switch e.Kind {
	case client.Repaired, client.RepairFailed, client.Bootstrapped:
		l.answerLocked(e.Partition, true)
	case client.RepairRefused:
		l.answerLocked(e.Partition, false)
	case client.KeysNamed:
		if !l.acts {
			l.answerLocked(e.Partition, false)
		}
	case client.Stopped:
		l.ended[e.Partition] = false
		l.answerLocked(e.Partition, false)
		wake(l.stopped)
	}
}

// repairText says what a repair has done, and what it cost.
func repairText(r *client.RepairResult) string {
	took := r.Duration.Round(time.Millisecond / 10)
	switch {
	case r.Method == client.ByRows:
		return fmt.Sprintf("%s: the index of the rows was made anew from them, nothing was received, %s", r.Cause, took)
	case r.Method == client.ByFrame && r.Keys == 0: // there was nothing to compare it with
		return fmt.Sprintf("%s: a whole key frame, %s in %s, %s", r.Cause, counted(r.Bytes, "byte"), counted(r.RoundTrips, "round trip"), took)
	}
	return fmt.Sprintf("%s: %s by %s, %s in %s, %s", r.Cause, counted(r.Keys, "key"), r.Method, counted(r.Bytes, "byte"), counted(r.RoundTrips, "round trip"), took)
}

// tally says how many partitions were loaded anew, and whether anything was put right.
func (l *replicaLog) tally() (anew int, mended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.anew), l.mended
}

// difference prints a key that differs, as the replica logs it: each of them.
func (l *replicaLog) difference(d client.Difference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.out.key(d)
}

func shortEntry(e digest.Entry) string {
	if e == (digest.Entry{}) {
		return "nothing"
	}
	return hex.EncodeToString(e[:8])
}

func (l *replicaLog) positions(r *client.Replica) {
	positions := r.Positions()
	for _, p := range slices.Sorted(maps.Keys(positions)) {
		l.printf("partition %d position %d", p, positions[p].Offset)
	}
	if d, err := r.Digest(); err == nil {
		l.printf("topic: %s, digest %s", counted(d.Count, "row"), shortSum(d.Sum.Bytes()))
	}
}

// shortSum is enough of a sum to compare by eye.
func shortSum(sum [32]byte) string { return hex.EncodeToString(sum[:8]) }
