package catalog

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

var (
	// ErrTopicExists: there is a topic with that name.
	ErrTopicExists = errors.New("topic exists")
	// ErrTopicNotFound: there is none.
	ErrTopicNotFound = errors.New("topic not found")
	// ErrInvalid: a name, a count or a size that cannot be stored.
	ErrInvalid = errors.New("invalid")
)

// Limits of what is stored. The broker's own limits are tighter.
const (
	maxNameLen    = 1024
	maxPartitions = 1 << 20
	producerBlock = 1000 // ids that one sync makes usable
)

// Catalog is safe for use by many goroutines. The database belongs to the caller.
type Catalog struct {
	db        *pebble.DB
	now       func() time.Time
	random    io.Reader
	reserve   Admission // nil: everything is admitted
	clusterID string

	// writing has one place: topics and broker-wide values have one writer. A channel, because it is held across a sync.
	writing chan struct{}

	mu     sync.RWMutex
	byName map[string]*Topic // immutable topics: replaced, never changed
	byID   map[[16]byte]*Topic

	idMu    sync.Mutex
	idNext  int64
	idLimit int64 // exclusive end of the durable block
}

// Open reads all topics. In an empty database it draws the cluster's id.
// Errors: keys.ErrVersion, keys.ErrCorrupt, and the database's.
func Open(db *pebble.DB, now func() time.Time, random io.Reader) (*Catalog, error) {
	c := &Catalog{db: db, now: now, random: random, writing: make(chan struct{}, 1),
		byName: make(map[string]*Topic), byID: make(map[[16]byte]*Topic)}
	if err := c.loadTopics(); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if err := c.loadClusterID(); err != nil {
		return nil, fmt.Errorf("catalog: cluster id: %w", err)
	}
	return c, nil
}

// Admission decides whether bytes may be written. *engine.Reserve is one.
type Admission interface {
	// Admit returns an error when n more bytes must not be written now.
	Admit(n int) error
}

// SetReserve sets what is asked before topics, committed offsets, quotas and the configs of resources whose names clients make up are
// written, as clients may do without end. Not so what frees space or what reading on depends on: deletions, configs of topics and of the
// broker, the metadata of groups, epochs and producer ids. Call it before anything is written.
func (c *Catalog) SetReserve(reserve Admission) { c.reserve = reserve }

func (c *Catalog) admit(pb *pebble.Batch) error {
	if c.reserve == nil {
		return nil
	}
	return c.reserve.Admit(pb.Len())
}

func (c *Catalog) loadTopics() error {
	start, end := keys.Space(keys.SpaceTopic)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		t, err := decodeTopic(string(it.Key()[1:]), it.Value())
		if err != nil {
			return errors.Join(fmt.Errorf("topic %q: %w", it.Key()[1:], err), it.Close())
		}
		c.byName[t.Name], c.byID[t.ID] = t, t
	}
	return damage.Of(errors.Join(it.Error(), it.Close()))
}

const (
	nameClusterID  = "cluster-id"
	nameEpoch      = "leader-epoch"
	nameOrdinal    = "next-ordinal"
	nameKept       = "kept-ordinals"
	nameProducerID = "next-producer-id"
)

func (c *Catalog) loadClusterID() error {
	value, ok, err := c.get(keys.Broker(nameClusterID))
	if err != nil {
		return err
	}
	if ok {
		text, err := keys.Unversioned(value)
		c.clusterID = string(text)
		return err
	}
	if err := c.checkEmpty(); err != nil {
		return err
	}
	var id [16]byte
	if err := c.draw(&id); err != nil {
		return err
	}
	c.clusterID = base64.RawURLEncoding.EncodeToString(id[:])
	err = c.db.Set(keys.Broker(nameClusterID), keys.Versioned([]byte(c.clusterID)), pebble.Sync)
	if errors.Is(err, pebble.ErrReadOnly) { // whoever only looks into it draws none
		c.clusterID, err = "", nil
	}
	return err
}

// checkEmpty fails for a database that has something in it: the cluster's id is the first key of all, so it was lost.
func (c *Catalog) checkEmpty() error {
	it, err := c.db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.First() {
		return errors.Join(fmt.Errorf("%w: it is missing, but the database is not empty", keys.ErrCorrupt), it.Close())
	}
	return damage.Of(errors.Join(it.Error(), it.Close()))
}

// ClusterID is 22 characters, drawn once for a data directory.
func (c *Catalog) ClusterID() string { return c.clusterID }

// BeginEpoch returns the leader epoch of this run: one more than the last run's, durable before it returns. Call it once.
func (c *Catalog) BeginEpoch() (int32, error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	last, err := c.number(nameEpoch, -1)
	if err != nil {
		return 0, fmt.Errorf("leader epoch: %w", err)
	}
	if last >= math.MaxInt32 {
		return 0, fmt.Errorf("leader epoch: %w: used up", ErrInvalid)
	}
	if err := c.db.Set(keys.Broker(nameEpoch), keys.AppendInt64(nil, last+1), pebble.Sync); err != nil {
		return 0, fmt.Errorf("leader epoch: %w", err)
	}
	return int32(last + 1), nil
}

// NextProducerID returns an id that no producer has had. Ids are taken from a block that is durable as taken, so a restart
// skips some.
func (c *Catalog) NextProducerID() (int64, error) {
	for {
		c.idMu.Lock()
		if c.idNext < c.idLimit {
			id := c.idNext
			c.idNext++
			c.idMu.Unlock()
			return id, nil
		}
		c.idMu.Unlock()
		if err := c.takeProducerBlock(); err != nil {
			return 0, fmt.Errorf("producer id: %w", err)
		}
	}
}

func (c *Catalog) takeProducerBlock() error {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	c.idMu.Lock()
	left := c.idLimit - c.idNext
	c.idMu.Unlock()
	if left > 0 { // another call was first
		return nil
	}
	next, err := c.number(nameProducerID, 0)
	if err != nil {
		return err
	}
	if err := c.db.Set(keys.Broker(nameProducerID), keys.AppendInt64(nil, next+producerBlock), pebble.Sync); err != nil {
		return err
	}
	c.idMu.Lock()
	defer c.idMu.Unlock()
	c.idNext, c.idLimit = next, next+producerBlock
	return nil
}

// Get returns the topic with the name. The caller must not change what it points to.
func (c *Catalog) Get(name string) (Topic, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return deref(c.byName[name])
}

// ByID returns the topic with the id.
func (c *Catalog) ByID(id [16]byte) (Topic, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return deref(c.byID[id])
}

func deref(t *Topic) (Topic, bool) {
	if t == nil {
		return Topic{}, false
	}
	return *t, true
}

// List returns all topics by name.
func (c *Catalog) List() []Topic {
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := make([]Topic, 0, len(c.byName))
	for _, t := range c.byName {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Topic) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (c *Catalog) number(name string, absent int64) (int64, error) {
	value, ok, err := c.get(keys.Broker(name))
	if err != nil || !ok {
		return absent, err
	}
	return keys.DecodeInt64(value)
}

func (c *Catalog) get(key []byte) (value []byte, ok bool, err error) {
	b, closer, err := c.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, damage.Of(err)
	}
	return bytes.Clone(b), true, closer.Close()
}

// draw fills id with randomness in the layout of a version 4 UUID, which is never zero.
func (c *Catalog) draw(id *[16]byte) error {
	if _, err := io.ReadFull(c.random, id[:]); err != nil {
		return fmt.Errorf("random source: %w", err)
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return nil
}
