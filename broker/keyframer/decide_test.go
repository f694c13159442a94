package keyframer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/table"
)

// Every row is one situation and what is done in it.
func TestDecide(t *testing.T) {
	limits := Settings{IntervalRecords: 100, IntervalBytes: 1000, IntervalMs: 60}
	some := interval{records: 10, bytes: 100, firstMs: 1000}
	ask := &request{target: 50, timeMs: 7}
	due := &table.Frame{Cut: 50, CutTimeMs: 3}
	for _, c := range []struct {
		name string
		s    situation
		want action
	}{
		{"nothing there", situation{lastCut: -1}, action{}},
		{"caught up, nothing changed", situation{position: 50, lastStable: 50, lastCut: 50, nowMs: 9999}, action{}},
		{"behind", situation{lastStable: 50, lastCut: -1}, action{kind: doApply, end: 50}},
		{"caught up, wait for the interval", situation{nowMs: 1001, position: 50, lastStable: 50, lastCut: -1, since: some}, action{wakeMs: 1060}},
		{"interval.ms", situation{nowMs: 1060, position: 50, lastStable: 50, lastCut: -1, since: some}, action{kind: doFold, cut: true}},
		{"interval.ms before more deltas", situation{nowMs: 1060, position: 50, lastStable: 60, lastCut: -1, since: some}, action{kind: doFold, cut: true}},
		{"interval.records", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, since: interval{records: 100, firstMs: 1000}}, action{kind: doFold, cut: true}},
		{"interval.bytes", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, since: interval{bytes: 1000, firstMs: 1000}}, action{kind: doFold, cut: true}},
		{"the next interval fills while one is folded", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, folding: true, since: some}, action{kind: doApply, end: 60}},
		{"... but not beyond its limit", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, folding: true, since: interval{records: 100, firstMs: 1000}}, action{}},
		{"interval.records, but a transaction straddles: look for its end", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, straddled: true, since: interval{records: 100, firstMs: 1000}}, action{kind: doApply, end: 60}},
		{"... not for more than another interval", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, straddled: true, since: interval{records: 200, firstMs: 1000}}, action{kind: doFold, cut: true}},
		{"interval.ms, and a transaction straddles", situation{nowMs: 1060, position: 50, lastStable: 50, lastCut: -1, straddled: true, since: some}, action{wakeMs: 1120}},
		{"... for another interval", situation{nowMs: 1120, position: 50, lastStable: 50, lastCut: -1, straddled: true, since: some}, action{kind: doFold, cut: true}},
		{"a request is cut where it says", situation{position: 50, lastStable: 60, lastCut: -1, straddled: true, since: some, request: ask, held: true}, action{kind: doFold, cut: true, cutTimeMs: 7}},
		{"memory asks for a fold", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, full: true, since: some}, action{kind: doFold}},
		{"full while folding", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, full: true, folding: true, since: some}, action{}},
		{"no memory left", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: -1, throttled: true, since: some}, action{wakeMs: 1060}},
		{"a failed fold waits", situation{nowMs: 2000, position: 50, lastStable: 50, lastCut: -1, retryMs: 2100, since: some}, action{wakeMs: 2100}},
		{"... and is tried again", situation{nowMs: 2100, position: 50, lastStable: 50, lastCut: -1, retryMs: 2100, since: some}, action{kind: doFold, cut: true}},
		{"a request: apply up to it, not beyond", situation{position: 40, lastStable: 60, lastCut: -1, since: some, request: ask, held: true}, action{kind: doApply, end: 50}},
		{"a request: cut with its time", situation{position: 50, lastStable: 60, lastCut: -1, since: some, request: ask, held: true}, action{kind: doFold, cut: true, cutTimeMs: 7}},
		{"a request: there already", situation{position: 50, lastStable: 60, lastCut: 50, request: ask, held: true}, action{kind: doAnswer}},
		{"a request of an empty partition", situation{lastCut: -1, request: &request{}, held: true}, action{kind: doAnswer}},
		{"a request waits for the fold under way", situation{position: 50, lastStable: 60, lastCut: -1, folding: true, request: ask, held: true}, action{}},
		{"no interval cut while a request waits", situation{nowMs: 5000, position: 40, lastStable: 60, lastCut: -1, since: some, request: ask, held: true}, action{kind: doApply, end: 50}},
		{"a request comes: neither cut nor apply", situation{nowMs: 5000, position: 40, lastStable: 60, lastCut: -1, since: some, held: true, preparing: true}, action{}},
		{"a request is answered: apply, and no cut", situation{nowMs: 5000, position: 50, lastStable: 60, lastCut: 40, since: some, held: true}, action{kind: doApply, end: 60}},
		{"... beyond the limit too", situation{nowMs: 5000, position: 50, lastStable: 60, lastCut: 40, since: interval{records: 100, firstMs: 1000}, held: true}, action{kind: doApply, end: 60}},
		{"... nothing to apply", situation{nowMs: 1001, position: 60, lastStable: 60, lastCut: 40, since: some, held: true}, action{}},
		{"... but memory asks for a fold", situation{nowMs: 5000, position: 50, lastStable: 60, lastCut: 40, since: some, held: true, full: true}, action{kind: doFold}},
		{"... which failed", situation{nowMs: 5000, position: 50, lastStable: 60, lastCut: 40, since: some, held: true, full: true, retryMs: 5100}, action{wakeMs: 5100}},
		{"the log start moved", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: 40, since: some, logStart: 30}, action{kind: doFold, cut: true}},
		{"... on an idle partition: the newest frame is cut anew", situation{nowMs: 9999, position: 50, lastStable: 50, lastCut: 50, start: 20, logStart: 30}, action{kind: doFold, cut: true}},
		{"... and has taken effect", situation{nowMs: 9999, position: 50, lastStable: 50, lastCut: 50, start: 30, logStart: 30}, action{}},
		{"... but not yet to deltas that are not applied", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: 50, logStart: 55}, action{kind: doApply, end: 60}},
		{"... but has nowhere to be noted", situation{nowMs: 9999, position: 50, lastStable: 50, lastCut: 50, start: 20, logStart: 30, stuck: true}, action{}},
		{"... while rows leave", situation{nowMs: 1001, position: 50, lastStable: 60, lastCut: 50, logStart: 30, folding: true, expiring: true}, action{}},
		{"... while a cut of the topic is under way", situation{nowMs: 1001, position: 50, lastStable: 50, lastCut: 50, logStart: 30, held: true}, action{}},
		{"... and a request comes: its frame has none of the rows", situation{position: 50, lastStable: 50, lastCut: 50, logStart: 30, held: true, request: ask}, action{kind: doFold, cut: true, cutTimeMs: 7}},
		{"... which failed", situation{nowMs: 5000, position: 50, lastStable: 50, lastCut: 50, logStart: 30, retryMs: 5100}, action{wakeMs: 5100}},
		{"a frame is due again: apply up to it", situation{nowMs: 5000, position: 40, lastStable: 60, lastCut: 30, since: some, due: due}, action{kind: doApply, end: 50}},
		{"... cut with its time, whatever else asks for a cut", situation{nowMs: 5000, position: 50, lastStable: 60, lastCut: 30, since: some, due: due, logStart: 30, request: &request{target: 60, timeMs: 7}, held: true}, action{kind: doFold, cut: true, cutTimeMs: 3, due: due}},
		{"... nothing else is cut before", situation{nowMs: 5000, position: 40, lastStable: 40, lastCut: 30, since: some, due: due, logStart: 30}, action{}},
		{"... but memory asks for a fold", situation{nowMs: 5000, position: 40, lastStable: 60, lastCut: 30, since: some, due: due, full: true}, action{kind: doFold}},
		{"... while it is cut", situation{nowMs: 5000, position: 50, lastStable: 60, lastCut: 30, due: due, folding: true}, action{}},
		{"... which failed", situation{nowMs: 5000, position: 50, lastStable: 60, lastCut: 30, since: some, due: due, retryMs: 5100}, action{wakeMs: 5100}},
		{"paused", situation{nowMs: 5000, position: 40, lastStable: 60, lastCut: -1, since: some, paused: true}, action{}},
		{"paused, but memory is needed", situation{nowMs: 5000, position: 40, lastStable: 60, lastCut: -1, since: some, paused: true, full: true}, action{kind: doFold}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.limits = limits
			require.Equal(t, c.want, decide(&c.s))
		})
	}
}

func TestIntervalPlus(t *testing.T) {
	failed := interval{records: 10, bytes: 100, firstMs: 5}
	later := interval{records: 1, bytes: 2, firstMs: 9}
	require.Equal(t, interval{records: 11, bytes: 102, firstMs: 5}, failed.plus(later))
	require.Equal(t, later, interval{}.plus(later))
	require.Equal(t, failed, failed.plus(interval{}))
}
