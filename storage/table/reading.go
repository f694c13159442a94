package table

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// hold gives whoever begins to read the tables what is stored now, until release is called. It is held during every ingest.
//
// Pebble 2.1.7 installs what it ingests (DB.ingestApply), lets go of its lock, and then makes it visible (commitPipeline.publish). Who
// opens an iterator in between is to see what was before; but an excised row is gone already, and a compaction that starts from what
// was installed knows of no such reader: it spares what open snapshots see. Of a key it keeps the version that is not visible yet and
// drops the one that was; where nothing lies below its output it sets sequence numbers to zero, and part of the ingest is visible
// early. An iterator that was opened before has its own sstables and sees all. TestReadDuringIngest forces that moment.
//
// A lock over the ingest would cost readers what it takes, syncs included; a snapshot would not help against an excise.
func (db *DB) hold(tables ...*Table) (release func(), err error) {
	if len(tables) == 0 {
		return func() {}, nil
	}
	past, err := db.cfg.DB.NewIter(nil)
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	for _, t := range tables {
		t.readFrom(past)
	}
	return func() {
		for _, t := range tables {
			t.readFrom(nil)
		}
		_ = past.Close() // it was only cloned, so there is no failed read that it could tell of
	}, nil
}

func (t *Table) readFrom(past *pebble.Iterator) {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.past = past
	t.holds.Add(1)
}

// snapshot opens an iterator over all keys, which sees all of an ingest or nothing.
func (t *Table) snapshot() (*pebble.Iterator, error) {
	t.reading.RLock()
	defer t.reading.RUnlock()
	if t.past != nil {
		return t.past.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{}})
	}
	return t.db.cfg.DB.NewIter(nil)
}
