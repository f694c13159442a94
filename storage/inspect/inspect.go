package inspect

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Dir is an opened data directory.
type Dir struct {
	engine     *engine.Dir
	databases  []database
	catalog    *catalog.Catalog
	log        *log.Store
	tables     *table.DB
	partitions []Partition
	err        error // why the catalog cannot be read
	tableErr   error // why the tables cannot be opened
}

type database struct {
	path    string
	db      *pebble.DB
	options *pebble.Options // to read its sstables with
}

// Partition is one partition as it is stored.
type Partition struct {
	Topic       string
	TopicID     [16]byte
	Index       int32
	Ordinal     uint32 // its number in both databases
	Incarnation [16]byte
	KeyFramed   bool
	Fold        fold.Kind // of a key-framed partition

	Log   *log.Partition
	Table *table.Table // nil where nothing was folded or the table cannot be opened
	// Err is why log or table could not be opened.
	Err error
}

func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Index) }

// Open opens a broker's directory and changes nothing in it: what a start would tidy up stays. It is locked until Close. Errors:
// engine.OpenReadOnly's. A database that cannot be opened because of damage is what Check reports and Partitions returns.
func Open(cfg engine.Config) (_ *Dir, err error) {
	d := &Dir{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.engine, err = engine.OpenReadOnly(cfg); err != nil {
		return nil, err
	}
	if err := d.openDatabases(cfg); err != nil {
		return nil, err
	}
	if d.err != nil {
		return d, nil
	}
	for _, t := range d.catalog.List() {
		for i, p := range t.Partitions {
			d.partitions = append(d.partitions, d.open(t, int32(i), p))
		}
	}
	return d, nil
}

// openDatabases opens both. A damaged one does not keep the other from being looked at.
func (d *Dir) openDatabases(cfg engine.Config) error {
	logDB, err := d.engine.OpenLogDB()
	if d.err = err; err != nil && !isDamage(err) {
		return err
	}
	tableDB, options, err := d.engine.OpenTableDB()
	if d.tableErr = err; err != nil && !isDamage(err) {
		return err
	}
	if options == nil {
		options = &pebble.Options{FS: cfg.FS}
		options.EnsureDefaults()
	}
	fs := options.FS
	if logDB != nil {
		d.databases = append(d.databases, database{fs.PathJoin(cfg.Dir, "log"), logDB, options})
		if err := d.openLog(cfg, logDB); err != nil {
			return err
		}
	}
	if tableDB != nil {
		d.databases = append(d.databases, database{fs.PathJoin(cfg.Dir, "table"), tableDB, options})
		tableConfig := table.Config{DB: tableDB, Options: options, FS: fs, Dir: fs.PathJoin(cfg.Dir, "ingest"), Logger: cfg.Logger}
		if d.tables, err = table.Open(tableConfig); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) openLog(cfg engine.Config, db *pebble.DB) (err error) {
	// Whatever epoch the last run had is not later.
	logConfig := log.Config{DB: db, Logger: cfg.Logger, Fatal: d.engine.Fatal, LeaderEpoch: math.MaxInt32, CompactEveryBytes: -1}
	if d.log, err = log.Open(logConfig); err != nil {
		return err
	}
	d.catalog, d.err = catalog.Open(db, time.Now, rand.Reader)
	return nil
}

func isDamage(err error) bool {
	var damaged *damage.Error
	return errors.As(err, &damaged)
}

func (d *Dir) open(t catalog.Topic, index int32, stored catalog.Partition) Partition {
	p := Partition{Topic: t.Name, TopicID: t.ID, Index: index, Ordinal: stored.Ordinal, Incarnation: stored.Incarnation}
	p.KeyFramed, p.Fold, p.Err = foldOf(t)
	var err error
	if p.Log, err = d.log.OpenPartition(log.PartitionID(p.Ordinal), stored); err != nil {
		p.Err = errors.Join(p.Err, err)
	}
	if !p.KeyFramed || d.tables == nil {
		return p
	}
	if p.Table, err = d.tables.Table(p.Ordinal, table.Identity{TopicID: t.ID, Partition: index, Incarnation: p.Incarnation, Fold: p.Fold}); err != nil {
		p.Err = errors.Join(p.Err, err)
	}
	return p
}

// foldOf reads the two configs that decide what a topic's records are.
func foldOf(t catalog.Topic) (keyFramed bool, kind fold.Kind, err error) {
	name := ""
	for _, c := range t.Configs {
		switch c.Name {
		case "cleanup.policy":
			keyFramed = strings.Contains(c.Value, "compact")
		case "keyframe.fold":
			name = c.Value
		}
	}
	if !keyFramed {
		return false, 0, nil
	}
	kind, err = fold.ParseKind(cmp.Or(name, fold.LastValue.String()))
	return true, kind, err
}

// Partitions lists all partitions by topic and index. The error says why the catalog, which names them, cannot be read, or their
// tables cannot be opened.
func (d *Dir) Partitions() ([]Partition, error) { return d.partitions, errors.Join(d.err, d.tableErr) }

// Close releases the directory.
func (d *Dir) Close() error {
	var errs []error
	if d.tables != nil {
		errs = append(errs, d.tables.Close())
	}
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	if d.engine != nil {
		errs = append(errs, d.engine.Close())
	}
	return errors.Join(errs...)
}
