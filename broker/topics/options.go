package topics

import (
	"log/slog"
	"path"
	"time"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/log"
)

// Options of a Registry. Catalog and Log are required.
type Options struct {
	Catalog *catalog.Catalog
	Log     *log.Store
	// Folds gives topics their keyframe.fold by name when they are created without one; the first match wins. Kafka's own
	// tools refuse to send a config that they do not know, so this is how they create a topic with another fold.
	Folds []FoldPattern
	// Partitions is the number of partitions of a topic that is created with -1 or by itself; 0 means 1.
	Partitions int32
	// RetentionCheck is the time between two passes of the retention loop; 0 means a minute, negative: no loop.
	RetentionCheck time.Duration
	Now            func() time.Time
	Logger         *slog.Logger
}

// FoldPattern gives a fold to topics whose name matches Pattern, in the syntax of path.Match.
type FoldPattern struct {
	Pattern string
	Fold    fold.Kind
}

// Spec asks for a topic.
type Spec struct {
	Name       string
	Partitions int32             // -1: the broker's default
	Configs    map[string]string // what is set on the topic itself
}

// Hooks are told of topics. They run one at a time, before the call that caused them returns, and must not create, delete,
// grow or configure topics.
type Hooks struct {
	Created func(*Topic) // also for every topic that is there when the hooks are added
	Deleted func(*Topic) // durably: its logs are closed and gone. After a crash in between nobody is told
	Changed func(*Topic) // its Config is another one
	Grown   func(*Topic) // it has partitions that the Topic of before did not have
}

func (o Options) withDefaults() Options {
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.RetentionCheck == 0 {
		o.RetentionCheck = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// foldFor returns the fold that the patterns give a topic, or false.
func (o Options) foldFor(name string) (fold.Kind, bool) {
	for _, p := range o.Folds {
		if ok, err := path.Match(p.Pattern, name); err == nil && ok {
			return p.Fold, true
		}
	}
	return 0, false
}
