package client

import (
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// Method names how the keys that differ were found out.
type Method string

const (
	ByRehash Method = state.MethodRehash // the rows were right, the digest that was kept of them was not
	ByIndex  Method = state.MethodIndex  // the rows are the log's, but some could not be read: the index told which
	ByRows   Method = state.MethodRows   // all rows could be read, but not what leads to them: that was made anew, and nothing received
	BySketch Method = state.MethodSketch // cells of a set sketch, at the cost of the difference
	ByTags   Method = state.MethodTags   // 8 bytes for each row of the log
	ByDelta  Method = state.MethodDelta  // what has changed since the position, each key once; nothing else differed
	ByLog    Method = "log"              // of a RepairCost: what follows in the log overwrites the keys that differ, and nothing else is received
	ByFrame  Method = state.MethodFrame  // the whole key frame was loaded
)

// Cause tells the two kinds of drift apart.
type Cause int

const (
	// LogicalDrift: the stored rows are what was applied, and that is not what the log has: a delta was lost, doubled or changed on its way.
	LogicalDrift Cause = iota + 1
	// LocalCorruption: the stored rows are no longer what was applied: memory or disk changed them.
	LocalCorruption
)

func (c Cause) String() string {
	switch c {
	case LogicalDrift:
		return "logical drift"
	case LocalCorruption:
		return "local corruption"
	}
	return fmt.Sprintf("cause(%d)", int(c))
}

// RepairResult is what was done about a drift, in the Event Repaired.
type RepairResult struct {
	Cut        int64 // the key frame to which the state was made equal
	Cause      Cause
	Method     Method
	Keys       int64 // that differed: only here, only in the log, or with another value; and of rows that could not be read
	Bytes      int64 // received for it
	RoundTrips int
	Duration   time.Duration
	Time       time.Time // of its end
}

// Difference is a key whose row here was not the log's, or cannot be read.
type Difference struct {
	Partition int32
	Cut       int64 // where they were compared
	Key       []byte
	// Here and Log are the entries (proto/digest) of the two rows; zero: there is no such row, or it cannot be read.
	Here, Log digest.Entry
	// Applied is what was applied of a row on disk that cannot be read, as the index has it; zero: the row can be read, or there is none. Where it is Log, the
	// row has rotted and nothing else is wrong with it; else the key has drifted as well, unless Expired says why the log has none.
	Applied digest.Entry
	// Expired: the log start has passed the row that was applied and cannot be read. It is no row of the log's any more, and was not compared with one.
	Expired bool
	// LogUnknown: what the log has of a row that cannot be read is not known, and Log is zero.
	LogUnknown bool
}

// drifted tells whether another row was applied than the log's, as far as is known.
func (d *Difference) drifted() bool {
	ours := d.Applied
	if d.Expired {
		ours = digest.Entry{}
	}
	return d.Applied == (digest.Entry{}) || !d.LogUnknown && ours != d.Log
}

// lastRepair is the latest repair of the partition, and how many there were since the replica was opened.
func (p *partition) lastRepair() (RepairResult, int64) {
	if r := p.mended.Load(); r != nil {
		return *r, p.repairs.Load()
	}
	return RepairResult{}, 0
}
