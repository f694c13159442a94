package crash

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// outcome is what a client knows of its transaction.
type outcome uint8

const (
	unknown outcome = iota // the answer was lost
	committed
	aborted
)

// transaction is what one client did, in the order in which it did it. Times are of one clock; a client's transactions do not overlap,
// and it begins none before the one before has ended, whether it knows how or not.
type transaction struct {
	client  int
	began   int64 // before its first append
	ended   int64 // after the answer
	appends []appendOp
	outcome outcome
}

// appendOp is one value at the end of the list of a key. Values are unique.
type appendOp struct {
	key   int32
	value string
}

// read is that a client saw the first n values of a list.
type read struct {
	view  int // the reader that saw them
	key   int32
	n     int
	began int64
	ended int64
}

// history is everything that the clients did and saw.
type history struct {
	transactions []transaction
	reads        []read
	views        []map[int32][]string // the lists as each reader has seen them, value by value
	hanging      []int32              // lists whose last stable offset is held by nobody's transaction
	final        map[int32][]string   // the lists at the end: all that was committed, in the order of the log
}

// place is where a value stands in the end.
type place struct {
	key   int32
	index int
}

// check returns what must not be, at most a few of each kind.
func (h *history) check() (anomalies []string) {
	found := map[string]int{}
	anomaly := func(kind, format string, args ...any) {
		if found[kind]++; found[kind] <= 3 {
			anomalies = append(anomalies, kind+": "+fmt.Sprintf(format, args...))
		}
	}
	for _, key := range h.hanging {
		anomaly("hangs", "the last stable offset of list %d is held, and nobody has a transaction open", key)
	}
	at := map[string]place{}
	for key, list := range h.final {
		for i, value := range list {
			if was, ok := at[value]; ok {
				anomaly("doubled", "%s stands in list %d at %d and in list %d at %d", value, was.key, was.index, key, i)
			}
			at[value] = place{key, i}
		}
	}
	h.checkOutcomes(at, anomaly)
	h.checkOrder(at, anomaly)
	h.checkReads(at, anomaly)
	return anomalies
}

// checkOutcomes: all of a transaction is there or nothing of it, and what was answered is what happened.
func (h *history) checkOutcomes(at map[string]place, anomaly func(kind, format string, args ...any)) {
	known := map[string]bool{}
	for _, x := range h.transactions {
		present := 0
		for _, a := range x.appends {
			known[a.value] = true
			if was, ok := at[a.value]; ok {
				present++
				if was.key != a.key {
					anomaly("misplaced", "%s was appended to list %d and stands in %d", a.value, a.key, was.key)
				}
			}
		}
		switch {
		case x.outcome == aborted && present > 0:
			anomaly("aborted", "%d of %d values of %v are there, and it was aborted", present, len(x.appends), x.appends)
		case x.outcome == committed && present == 0 && len(x.appends) > 0:
			anomaly("lost", "nothing of %v is there, and it was committed", x.appends)
		case present > 0 && present < len(x.appends):
			anomaly("torn", "%d of %d values of %v are there", present, len(x.appends), x.appends)
		}
	}
	for value, p := range at {
		if !known[value] {
			anomaly("invented", "nobody has appended %s, which stands in list %d", value, p.key)
		}
	}
}

// checkOrder: what was appended later stands later: in one transaction, by one client, and if one was answered before the other began.
func (h *history) checkOrder(at map[string]place, anomaly func(kind, format string, args ...any)) {
	type span struct {
		began, ended int64
		client       int
		first, last  int // places of its values in the list
	}
	lists := map[int32][]span{}
	for _, x := range h.transactions {
		spans := map[int32]span{}
		for _, a := range x.appends {
			p, ok := at[a.value]
			if !ok {
				continue
			}
			s, had := spans[a.key]
			if had && p.index <= s.last {
				anomaly("reordered", "%s stands at %d, not behind what its transaction appended before", a.value, p.index)
			}
			if !had {
				s = span{began: x.began, ended: x.ended, client: x.client, first: p.index}
				if x.outcome == unknown {
					s.ended = 1<<63 - 1 // it may have gone on after its client gave up
				}
			}
			s.last = p.index
			spans[a.key] = s
		}
		for key, s := range spans {
			lists[key] = append(lists[key], s)
		}
	}
	for key, spans := range lists {
		byEnd := slices.Clone(spans)
		slices.SortFunc(byEnd, func(a, b span) int { return cmp.Compare(a.ended, b.ended) })
		for i := 1; i < len(byEnd); i++ {
			byEnd[i].last = max(byEnd[i].last, byEnd[i-1].last)
		}
		for _, s := range spans {
			n, _ := slices.BinarySearchFunc(byEnd, s.began, func(x span, began int64) int { return cmp.Or(cmp.Compare(x.ended, began), 1) })
			if n > 0 && byEnd[n-1].last >= s.first {
				anomaly("reordered", "list %d: what client %d appended at %d was begun after what stands at %d had ended", key, s.client, s.first, byEnd[n-1].last)
			}
		}
	}
}

// checkReads: every reader saw the beginning of the final list; and nobody missed what had been committed before the read began, unless a
// transaction that was open meanwhile held the last stable offset.
func (h *history) checkReads(at map[string]place, anomaly func(kind, format string, args ...any)) {
	for v, view := range h.views {
		for key, list := range view {
			final := h.final[key]
			for i, value := range list {
				if i >= len(final) || final[i] != value {
					anomaly("taken back", "reader %d saw %s in list %d at %d, and it is not there in the end", v, value, key, i)
					break
				}
			}
		}
	}
	type done struct {
		ended int64
		index int
	}
	answered := map[int32][]done{}
	for _, x := range h.transactions {
		for _, a := range x.appends {
			if p, ok := at[a.value]; ok && x.outcome == committed {
				answered[a.key] = append(answered[a.key], done{x.ended, p.index})
			}
		}
	}
	open := h.open()
	for _, r := range h.reads {
		most := -1
		for _, d := range answered[r.key] {
			if d.ended < r.began {
				most = max(most, d.index)
			}
		}
		if most < r.n {
			continue
		}
		if !slices.ContainsFunc(open[r.key], func(s [2]int64) bool { return s[0] < r.ended && s[1] > r.began }) {
			anomaly("missed", "a read of list %d saw %d values, and the one at %d had been committed before it began", r.key, r.n, most)
		}
	}
}

// open are the times in which transactions on a list may have been open: until their client began the next one, if nobody knows better.
func (h *history) open() map[int32][][2]int64 {
	next := map[int]int64{}
	open := map[int32][][2]int64{}
	for _, x := range slices.Backward(h.transactions) { // of one client they are in their order
		until, ok := next[x.client]
		if !ok {
			until = 1<<63 - 1
		}
		next[x.client] = x.began
		if x.outcome != unknown {
			until = x.ended
		}
		for _, a := range x.appends {
			open[a.key] = append(open[a.key], [2]int64{x.began, until})
		}
	}
	return open
}

// sound is a history that is in order: three transactions on two lists.
func sound() *history {
	list := func() map[int32][]string { return map[int32][]string{0: {"a1", "a2", "c1"}, 1: {"a3", "c2"}} }
	return &history{
		transactions: []transaction{
			{client: 0, began: 1, ended: 5, outcome: committed, appends: []appendOp{{0, "a1"}, {0, "a2"}, {1, "a3"}}},
			{client: 1, began: 2, ended: 6, outcome: aborted, appends: []appendOp{{0, "b1"}, {1, "b2"}}},
			{client: 0, began: 7, ended: 9, outcome: unknown, appends: []appendOp{{0, "c1"}, {1, "c2"}}},
			{client: 0, began: 10, ended: 12, outcome: unknown, appends: []appendOp{{0, "d1"}, {1, "d2"}}},
		},
		reads: []read{{0, 0, 2, 6, 7}, {0, 1, 0, 8, 9}, {0, 0, 0, 3, 4}},
		views: []map[int32][]string{{0: {"a1", "a2"}, 1: {"a3"}}},
		final: list(),
	}
}

func TestCheckerAcceptsASoundHistory(t *testing.T) { require.Empty(t, sound().check()) }

// Each anomaly is found, and is called what it is.
func TestCheckerFinds(t *testing.T) {
	for kind, spoil := range map[string]func(*history){
		"lost":       func(h *history) { h.final = map[int32][]string{0: {"c1"}, 1: {"c2"}}; h.views, h.reads = nil, nil },
		"torn":       func(h *history) { h.final[1] = []string{"a3"} },
		"doubled":    func(h *history) { h.final[1] = append(h.final[1], "c1") },
		"aborted":    func(h *history) { h.final[0], h.final[1] = append(h.final[0], "b1"), append(h.final[1], "b2") },
		"reordered":  func(h *history) { h.final[0] = []string{"a1", "c1", "a2"}; h.views, h.reads = nil, nil },
		"taken back": func(h *history) { h.views[0][0] = append(h.views[0][0], "b1") },
		"missed":     func(h *history) { h.reads = append(h.reads, read{0, 1, 0, 6, 7}) },
		"misplaced":  func(h *history) { h.final[0], h.final[1] = []string{"a1", "a2", "c2"}, []string{"a3", "c1"} },
		"hangs":      func(h *history) { h.hanging = []int32{1} },
		"invented":   func(h *history) { h.final[0] = append(h.final[0], "x") },
	} {
		t.Run(kind, func(t *testing.T) {
			h := sound()
			spoil(h)
			found := h.check()
			require.True(t, slices.ContainsFunc(found, func(a string) bool { return len(a) > len(kind) && a[:len(kind)] == kind }), "%v", found)
		})
	}
	h := sound()
	h.final[0], h.views, h.reads = []string{"c1", "a1", "a2"}, nil, nil // of two transactions
	require.NotEmpty(t, h.check())
}
