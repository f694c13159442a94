package engine

import (
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
)

// Metrics of a data directory: plain numbers of one moment. Counters count since the start.
type Metrics struct {
	Log, Table DBMetrics
	Reserve    ReserveState
}

// DBMetrics of one database.
type DBMetrics struct {
	Stalls          uint64 // writes held back by Pebble
	StallSeconds    float64
	Flushes         uint64
	Compactions     uint64
	BlobRewrites    uint64
	BlobRewriteIn   uint64 // bytes
	BlobRewriteOut  uint64 // bytes; missing from Pebble's own level metrics
	Corruptions     uint64 // damaged blocks met by reads and compactions
	BackgroundFails uint64 // flushes and compactions that failed and are retried
	SlowDisk        uint64 // writes that took longer than Pebble's threshold

	DiskBytes     uint64 // files of the database, WAL included
	WALBytes      uint64
	WALBytesIn    uint64 // appended by users
	BlobBytes     uint64
	MemTableBytes uint64
	CacheBytes    int64
	L0Sublevels   int32
	ReadAmp       int
	Tables        int64
}

type counters struct {
	stalls, stallNs, stallFrom      atomic.Int64
	flushes, compactions            atomic.Uint64
	blobRewrites, blobIn, blobOut   atomic.Uint64
	corruptions, background, slowed atomic.Uint64
}

// listener counts. Damage is logged and left to the read that met it: Pebble's default would end the process for one
// flipped bit.
func (c *counters) listener(kind Kind, name string, log *slog.Logger, now func() time.Time) *pebble.EventListener {
	var failures repeats
	damaged := "a file is damaged: " + damagedAdvice(kind, name)
	return &pebble.EventListener{
		WriteStallBegin: func(pebble.WriteStallBeginInfo) { c.stalls.Add(1); c.stallFrom.Store(now().UnixNano()) },
		WriteStallEnd:   func() { c.stallNs.Add(max(0, now().UnixNano()-c.stallFrom.Load())) },
		FlushEnd:        func(pebble.FlushInfo) { c.flushes.Add(1) },
		CompactionEnd:   func(pebble.CompactionInfo) { c.compactions.Add(1) },
		BlobFileRewriteEnd: func(i pebble.BlobFileRewriteInfo) {
			c.blobRewrites.Add(1)
			c.blobIn.Add(i.Input.Size)
			c.blobOut.Add(i.Output.Size)
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			c.corruptions.Add(1)
			if times := failures.due(now(), i.Path); times > 0 { // a compaction that needs it tries again and again
				log.Error(damaged, "file", i.Path, "reason", damage.Why(i.Details), "times", times)
			}
		},
		BackgroundError: func(err error) {
			c.background.Add(1)
			why := damage.Why(damage.Of(err))
			if times := failures.due(now(), digits.ReplaceAllString(why, "#")); times > 0 { // each try has a file of its own
				log.Error("background work failed and is retried", "err", why, "times", times)
			}
		},
		DiskSlow: func(pebble.DiskSlowInfo) { c.slowed.Add(1) }, // must not block: no logging
	}
}

// damagedAdvice is what comes of a damaged file of a database, or is to be done. Of a table, its owner says more.
func damagedAdvice(kind Kind, name string) string {
	switch {
	case kind == Replica:
		return "what cannot be read of the copy is had anew from the log" // as far as its policy allows
	case name == tableDir:
		return "rows that the log still has are folded from it again, once they are read; where it has not, that is said, and what to do"
	}
	return damage.Advice
}

// repeats logs the first failure of a kind, and then one in failureEvery at most: on a full disk Pebble tries a flush again at once,
// thousands of times in a second. It calls with its lock held, so nothing here can slow it down.
type repeats struct {
	mu    sync.Mutex
	kinds map[string]*repeated
}

type repeated struct {
	logged time.Time
	silent int // failures since
}

const (
	failureEvery    = 10 * time.Second
	failureKindsMax = 64
)

var digits = regexp.MustCompile(`\d+`)

// due is how many failures a line that is logged now stands for; 0: none is to be logged.
func (r *repeats) due(now time.Time, kind string) (times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.kinds[kind]
	if !ok {
		if r.kinds == nil || len(r.kinds) >= failureKindsMax {
			r.kinds = map[string]*repeated{}
		}
		k = &repeated{}
		r.kinds[kind] = k
	} else if age := now.Sub(k.logged); age >= 0 && age < failureEvery { // negative: a clock set back
		k.silent++
		return 0
	}
	times = k.silent + 1
	*k = repeated{logged: now}
	return times
}

// Metrics returns the numbers of this moment. It takes Pebble's locks for some microseconds: scrape, do not poll.
func (d *Dir) Metrics() Metrics {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := Metrics{Log: d.logStats.snapshot(), Table: d.tabStats.snapshot(), Reserve: d.reserve.State()}
	if d.closed {
		return m
	}
	m.Log.add(d.logDB)
	m.Table.add(d.tabDB)
	return m
}

func (c *counters) snapshot() DBMetrics {
	return DBMetrics{
		Stalls:          uint64(c.stalls.Load()),
		StallSeconds:    time.Duration(c.stallNs.Load()).Seconds(),
		Flushes:         c.flushes.Load(),
		Compactions:     c.compactions.Load(),
		BlobRewrites:    c.blobRewrites.Load(),
		BlobRewriteIn:   c.blobIn.Load(),
		BlobRewriteOut:  c.blobOut.Load(),
		Corruptions:     c.corruptions.Load(),
		BackgroundFails: c.background.Load(),
		SlowDisk:        c.slowed.Load(),
	}
}

func (m *DBMetrics) add(db *pebble.DB) {
	if db == nil {
		return
	}
	pm := db.Metrics()
	m.DiskBytes = pm.DiskSpaceUsage()
	m.WALBytes = pm.WAL.PhysicalSize
	m.WALBytesIn = pm.WAL.BytesIn
	m.BlobBytes = pm.BlobFiles.LiveSize
	m.MemTableBytes = pm.MemTable.Size
	m.CacheBytes = pm.BlockCache.Size
	m.L0Sublevels = pm.Levels[0].Sublevels
	m.ReadAmp = pm.ReadAmp()
	for i := range pm.Levels {
		m.Tables += pm.Levels[i].TablesCount
	}
}
