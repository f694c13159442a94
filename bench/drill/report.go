package drill

import (
	"time"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// Fault names what is done to a replica, or to what it is told.
type Fault string

const (
	Lost      Fault = "lost"
	LostBatch Fault = "lost-batch"
	Doubled   Fault = "doubled"
	Mutated   Fault = "mutated"
	BeforeLog Fault = "before-log"
	Flipped   Fault = "flipped"
	Asleep    Fault = "asleep"
)

// Faults are all of them, in the order in which they happen.
func Faults() []Fault {
	return []Fault{Lost, LostBatch, Doubled, Mutated, BeforeLog, Flipped, Asleep}
}

// Means is what found a fault.
type Means string

const (
	ByKeyFrame  Means = "key frame" // the digest at its cut
	ByChecksum  Means = "checksum"  // of what is stored, when it was read
	ByHandshake Means = "handshake" // what the replica says that it has, when it comes back
	ByReconcile Means = "reconcile" // of the source's full state with the log
)

// Finding is what became of one fault.
type Finding struct {
	Fault Fault
	Topic string
	// Injected is the offset of the delta that is harmed, of the first of several, or of the row; of a replica that was asleep, its position.
	Injected int64

	Detected bool
	At       int64         // the offset at which it was found
	After    time.Duration // from the fault to the verdict
	AfterCut time.Duration // from asking for a key frame to the verdict; 0: none was needed
	By       Means

	Repaired   bool
	In         time.Duration // from the verdict to the repair's end
	Method     client.Method // how the keys were found out; empty: they need not be
	Harmed     int64         // keys
	Keys       int64         // that were found to differ, or to have changed; with the method frame: all, since none is known to be right
	Exact      bool          // these are the harmed ones, and no others; of a block that cannot be read: the harmed one is among them, and right again
	Bytes      int64         // of the repair, on the wire
	RoundTrips int           // of the repair; 0: they are not told
	WholeFrame int64         // bytes of a whole key frame of the topic, on the wire
}

// OK tells whether the fault was found, and put right and nothing else.
func (f *Finding) OK() bool { return f.Detected && f.Repaired && f.Exact }

// Factor is how many times as much a whole frame would have cost.
func (f *Finding) Factor() float64 {
	if f.Bytes == 0 {
		return 0
	}
	return float64(f.WholeFrame) / float64(f.Bytes)
}

// End is how the copies of a topic compare when the drill is over.
type End struct {
	Topic    string
	Cut      int64
	Replicas int
	Log      digest.Digest // of the log's key frame at the cut
	// Wrong says of each copy that is not equal to that what it has; the state that was produced is one of the copies.
	Wrong []string
}

// Report is what a drill found.
type Report struct {
	Findings []Finding
	Ends     []End
	Took     time.Duration
}

// OK tells whether every fault was found and put right, and all copies are equal to the log.
func (r *Report) OK() bool {
	for i := range r.Findings {
		if !r.Findings[i].OK() {
			return false
		}
	}
	for _, e := range r.Ends {
		if len(e.Wrong) > 0 {
			return false
		}
	}
	return true
}
