package txn

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/pattern"
)

// Description is a transactional id as DescribeTransactions shows it.
type Description struct {
	State      State
	Producer   Producer
	Timeout    time.Duration
	StartMs    int64       // Unix milliseconds; -1: none
	Partitions []Partition // of the transaction that is open
}

// Describe is one transactional id. Errors: INVALID_REQUEST, TRANSACTIONAL_ID_NOT_FOUND.
func (c *Coordinator) Describe(id string) (Description, *kerr.Error) {
	if id == "" {
		return Description{}, kerr.InvalidRequest
	}
	e, err := c.lock(id, false)
	if err == kerr.InvalidProducerIDMapping {
		return Description{}, kerr.TransactionalIDNotFound
	} else if err != nil {
		return Description{}, err
	}
	defer e.mu.Unlock()
	return e.txn.describe(), nil
}

func (x *Txn) describe() Description {
	return Description{State: x.state, Producer: x.producer, Timeout: x.timeout, StartMs: x.startMs(), Partitions: slices.Clone(x.partitions)}
}

// startMs is when the transaction, or the last one, began, in Unix milliseconds; -1: there was none.
func (x *Txn) startMs() int64 {
	if x.start.IsZero() {
		return -1
	}
	return x.start.UnixMilli()
}

// Filter of a listing. Empty fields admit everything, and so does a negative LongerThanMs.
type Filter struct {
	States       []string
	ProducerIDs  []int64
	LongerThanMs int64  // began longer ago; an id without a transaction began at the beginning of time
	Pattern      string // of the whole transactional id, RE2
}

// Listing is a transactional id as ListTransactions shows it.
type Listing struct {
	ID         string
	ProducerID int64
	State      State
}

// List is the transactional ids that pass the filter, in the order of their names, and the states of the filter that do not exist.
// Error: INVALID_REGULAR_EXPRESSION.
func (c *Coordinator) List(f Filter) (list []Listing, unknown []string, refusal *kerr.Error) {
	var states []State
	for _, name := range f.States {
		if s, ok := StateNamed(name); ok {
			states = append(states, s)
		} else if name != prepareEpochFence {
			unknown = append(unknown, name)
		}
	}
	var names *regexp.Regexp
	if f.Pattern != "" {
		var err error
		if names, err = pattern.Compile(f.Pattern); err != nil {
			return nil, nil, kerr.InvalidRegularExpression
		}
	}
	c.mu.Lock()
	closed, all := c.closed, c.entriesLocked()
	c.mu.Unlock()
	if closed {
		return nil, nil, kerr.CoordinatorNotAvailable
	}
	nowMs := c.cfg.Now().UnixMilli()
	for _, e := range all {
		e.mu.Lock()
		x := e.txn
		if x != nil && !e.gone && (len(f.States) == 0 || slices.Contains(states, x.state)) &&
			(len(f.ProducerIDs) == 0 || slices.Contains(f.ProducerIDs, x.producer.ID)) &&
			(f.LongerThanMs < 0 || nowMs-x.startMs() > f.LongerThanMs) && (names == nil || names.MatchString(e.id)) {
			list = append(list, Listing{e.id, x.producer.ID, x.state})
		}
		e.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Listing) int { return strings.Compare(a.ID, b.ID) })
	return list, unknown, nil
}
