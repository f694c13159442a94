package live_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// The oracle folds the log naively, record by record. It imports nothing of the project.

type record struct {
	key    string
	null   bool // no key
	op     string
	value  string
	dead   bool // null value
	offset int64
}

type row struct {
	value  string
	dead   bool
	offset int64
}

type state map[string]row

// oracle is the log of one partition: batches of records.
type oracle struct {
	counter bool
	records []record
	moves   []move // of the log start
}

// move takes out, at a cut, the rows whose last record lies below start.
type move struct{ cut, start int64 }

const rowMax = 60

// at folds everything below x.
func (o *oracle) at(x int64) (s state, rejected uint64) {
	s = state{}
	moves := o.moves
	expire := func(at int64) {
		for len(moves) > 0 && moves[0].cut <= at {
			maps.DeleteFunc(s, func(_ string, r row) bool { return r.offset < moves[0].start })
			moves = moves[1:]
		}
	}
	defer expire(x)
	for _, r := range o.records {
		if r.offset >= x {
			break
		}
		expire(r.offset)
		if !o.apply(s, r) {
			rejected++
		}
	}
	return s, rejected
}

func (o *oracle) apply(s state, r record) bool {
	if r.null {
		return false
	}
	value := r.value
	if o.counter && !r.dead {
		n, err := strconv.ParseInt(r.value, 10, 64)
		if err != nil {
			return false
		}
		if before, ok := s[r.key]; r.op != "put" && ok && !before.dead {
			sum, err := strconv.ParseInt(before.value, 10, 64)
			if err != nil || n > 0 && sum > math.MaxInt64-n || n < 0 && sum < math.MinInt64-n {
				return false
			}
			n += sum
		}
		value = strconv.FormatInt(n, 10)
	}
	if r.dead {
		value = ""
	}
	if len(r.key)+len(value)+headerBytes(r.op) > rowMax {
		return false
	}
	s[r.key] = row{value, r.dead, r.offset}
	return true
}

// headerBytes is the size of one header, keyframe.op: the record's, or the longest that its row may be given.
func headerBytes(op string) int {
	if op == "" {
		op = "delete"
	}
	return len("keyframe.op") + len(op) + 3
}

// live lists the live keys in order.
func (s state) live(keep func(key string) bool) []string {
	keys := slices.Sorted(maps.Keys(s))
	return slices.DeleteFunc(keys, func(k string) bool { return s[k].dead || !keep(k) })
}

func (s state) String() string { return fmt.Sprint(map[string]row(s)) }
