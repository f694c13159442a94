package txn

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// Ticket names an EndTxn that waits for its answer. The caller draws tickets, never 0 and never one twice; a transaction returns
// each exactly once, in Effects.
type Ticket uint64

// Producer is a producer id with its epoch.
type Producer struct {
	ID    int64
	Epoch int16
}

// NoProducer stands where there is none.
func NoProducer() Producer { return Producer{ID: -1, Epoch: -1} }

// Partition is a partition of a transaction. Its ordinal tells it from one of another topic of that name.
type Partition struct {
	Topic   string
	Index   int32
	Ordinal uint32
}

// InitRequest is an InitProducerId.
type InitRequest struct {
	Timeout  time.Duration
	Expected *Producer // that the client has (KIP-360); nil: it starts
	// SpareID is a producer id that was never used, should the epochs be used up.
	SpareID int64
}

// EndRequest is an EndTxn.
type EndRequest struct {
	Producer Producer
	Commit   bool
	// EpochPerTxn is a client that gets a new epoch with each transaction (EndTxn v5, KIP-890).
	EpochPerTxn bool
	SpareID     int64 // as in InitRequest
}

// Reply answers an InitProducerId or an EndTxn.
type Reply struct {
	Ticket   Ticket // of an EndTxn
	Err      *kerr.Error
	Producer Producer // NoProducer with an error
}

// Effects is what a step asks its owner to do, in this order.
type Effects struct {
	// Save, if not nil, is to be applied to the store before anything that comes later. What the step's caller is answered waits
	// until it is durable; an append that follows does not wait.
	Save *catalog.Transaction
	// Addition, if not nil, is to be applied instead: it adds to what was saved, and is of no use if that was not.
	Addition *catalog.TxnAddition
	Replies  []Reply
	// End, if not nil, is to be written, as one batch; its outcome comes back through Txn.Ended.
	End *End
	// Remove: the transactional id has expired and is to be removed from the store.
	Remove bool
}

// End is the end of a transaction: a marker for each partition, the offsets of the groups, and the state of afterwards, all or
// nothing.
type End struct {
	Marker     Producer
	Bumped     bool // the marker's epoch is higher than that of the transaction
	Commit     bool
	ProducerID int64 // of the transaction: that the offsets were committed by
	Additions  int   // that the transaction has got
	Partitions []Partition
	Groups     []string
	After      catalog.Transaction
}
