package txn

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
)

// Init is an InitProducerId with a transactional id. expected is the producer that the client is, nil if it starts.
func (c *Coordinator) Init(id string, timeout time.Duration, expected *Producer) Answer {
	if id == "" || len(id) > catalog.TxnIDMax {
		return refused(kerr.InvalidRequest)
	}
	if timeout <= 0 || timeout > c.cfg.MaxTimeout {
		return refused(kerr.InvalidTransactionTimeout)
	}
	if err := c.admit(id); err != nil {
		return refused(err)
	}
	return c.withSpare(func(spare int64) (a Answer, used bool) {
		e, refusal := c.lock(id, true)
		if refusal != nil {
			return refused(refusal), false
		}
		defer e.mu.Unlock()
		if e.txn == nil {
			e.txn = New(id, spare, c.cfg.IDExpiration)
		}
		reply, fx := e.txn.Init(c.cfg.Now(), InitRequest{Timeout: timeout, Expected: expected, SpareID: spare})
		used = e.txn.producer.ID == spare
		c.applyLocked(e, fx)
		return e.answerLocked(reply), used
	})
}

// Add is an AddPartitionsToTxn.
func (c *Coordinator) Add(id string, p Producer, partitions []Partition) Answer {
	return c.step(id, func(e *entry) (*kerr.Error, Effects) { return e.txn.Add(c.cfg.Now(), p, partitions) })
}

// AddGroup is an AddOffsetsToTxn.
func (c *Coordinator) AddGroup(id string, p Producer, group string) Answer {
	return c.step(id, func(e *entry) (*kerr.Error, Effects) { return e.txn.AddGroup(c.cfg.Now(), p, group) })
}

func (c *Coordinator) step(id string, step func(*entry) (*kerr.Error, Effects)) Answer {
	if id == "" {
		return refused(kerr.InvalidRequest)
	}
	if err := c.admit(id); err != nil {
		return refused(err)
	}
	e, refusal := c.lock(id, false)
	if refusal != nil {
		return refused(refusal)
	}
	defer e.mu.Unlock()
	err, fx := step(e)
	c.applyLocked(e, fx)
	return e.answerLocked(Reply{Err: err})
}

// Verify says whether a partition is in the producer's transaction.
func (c *Coordinator) Verify(id string, p Producer, tp Partition) *kerr.Error {
	if id == "" {
		return kerr.InvalidRequest
	}
	e, err := c.lock(id, false)
	if err != nil {
		return err
	}
	defer e.mu.Unlock()
	return e.txn.Verify(p, tp)
}

// Begin is the begin of an append to a partition in a transaction; the transaction is not ended before done is called, once. With
// implicit the partition is added if it is not in the transaction.
func (c *Coordinator) Begin(id string, p Producer, tp Partition, implicit bool) (done func(), err *kerr.Error) {
	return c.begin(id, func(e *entry) (*kerr.Error, Effects) { return e.txn.Begin(c.cfg.Now(), p, tp, implicit) })
}

// BeginGroup is the begin of an offset commit to a group in a transaction, as Begin is of an append. done may be called by any
// goroutine.
func (c *Coordinator) BeginGroup(id string, p Producer, group string, implicit bool) (done func(), err *kerr.Error) {
	return c.begin(id, func(e *entry) (*kerr.Error, Effects) { return e.txn.BeginGroup(c.cfg.Now(), p, group, implicit) })
}

func (c *Coordinator) begin(id string, step func(*entry) (*kerr.Error, Effects)) (done func(), err *kerr.Error) {
	if id == "" {
		return nil, kerr.InvalidRequest
	}
	e, err := c.lock(id, false)
	if err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	err, fx := step(e)
	c.applyLocked(e, fx)
	if err != nil {
		return nil, err
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		fx := e.txn.Done()
		if e.gone {
			fx.End = nil // closed: the transaction is open still when the broker starts again
		}
		c.applyLocked(e, fx)
	}, nil
}

// End is an EndTxn. perTxn is a client of EndTxn v5.
func (c *Coordinator) End(id string, p Producer, commit, perTxn bool) Answer {
	if id == "" {
		return refused(kerr.InvalidRequest)
	}
	return c.withSpare(func(spare int64) (a Answer, used bool) {
		e, refusal := c.lock(id, false)
		if refusal != nil {
			return refused(refusal), false
		}
		defer e.mu.Unlock()
		ticket, ch := c.draw(), make(chan Reply, 1)
		e.waiting[ticket] = ch
		fx := e.txn.End(c.cfg.Now(), ticket, EndRequest{Producer: p, Commit: commit, EpochPerTxn: perTxn, SpareID: spare})
		used = e.txn.end != nil && e.txn.end.after.producer.ID == spare
		c.applyLocked(e, fx)
		return Answer{ch: ch, write: e.last}, used
	})
}

// admit refuses what would fill the disk. Ends are never refused: they make room.
func (c *Coordinator) admit(id string) *kerr.Error {
	if c.cfg.Admit == nil {
		return nil
	}
	err := c.cfg.Admit(len(id))
	if err == nil {
		return nil
	}
	if !errors.Is(err, engine.ErrDiskFull) { // a full disk shows in metrics and readiness
		c.cfg.Logger.Error("transaction refused", "transactional_id", id, "error", err)
	}
	return kerr.CoordinatorNotAvailable
}
