package client

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BeginTransaction begins a transaction; ProducerConfig.Options name its id (kgo.TransactionalID).
func (p *Producer) BeginTransaction() error {
	err := p.cl.BeginTransaction()
	if err == nil && p.kept != nil {
		p.kept.said.BeginTransaction()
	}
	return err
}

// EndTransaction ends it: a commit waits for what was handed to Produce, an abort drops what was not written yet. With KeepState, what
// was said in a transaction that is aborted was never said; a transaction that is ended behind the Producer's back (Client) is open for it. Where an error
// leaves it open what becomes of the transaction, what was said in it stays said, until an abort succeeds. See kgo.Client.EndTransaction for
// what to do about errors.
func (p *Producer) EndTransaction(ctx context.Context, commit kgo.TransactionEndTry) error {
	var err error
	if commit {
		err = p.cl.Flush(ctx)
	} else {
		err = p.cl.AbortBufferedRecords(ctx)
	}
	if err == nil {
		err = p.cl.EndTransaction(ctx, commit)
	}
	if err == nil && p.kept != nil {
		p.kept.said.EndTransaction(bool(commit))
	}
	return err
}
