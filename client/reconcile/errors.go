package reconcile

import (
	"errors"
	"fmt"
)

var (
	// ErrSourceChanged: the second pass over the source yielded other rows than the first.
	ErrSourceChanged = errors.New("the source changed while it was read")
	// ErrNotACut: Config.At names a point that no key frame is at.
	ErrNotACut = errors.New("no key frame is at this point")
	// ErrTooOld: the log does not know any more what was written since Config.At.
	ErrTooOld = errors.New("the cut is too old to tell what was written since")
	// ErrOpenTransaction: what was written since the cut cannot be told (Config.Settled).
	ErrOpenTransaction = errors.New("a transaction is open: what is in it, or was written behind its first record, cannot be seen")
	// ErrUnproved: what was found does not make the log's digest the source's, whichever way it was found.
	ErrUnproved = errors.New("the difference that was found does not lead to the source's digest")
)

// DuplicateKeyError: the source has a key twice.
type DuplicateKeyError struct{ Key []byte }

func (e *DuplicateKeyError) Error() string {
	return fmt.Sprintf("the source has the key %.128q twice: a state has one row for each key", e.Key)
}

// RowError: a row of the source cannot be one of the topic's; Err is a *delta.Refusal where the fold says so.
type RowError struct {
	Row int64 // counted from 1
	Key []byte
	Err error
}

func (e *RowError) Error() string {
	return fmt.Sprintf("row %d of the source, key %.128q: %v", e.Row, e.Key, e.Err)
}

func (e *RowError) Unwrap() error { return e.Err }
