package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readings are what the drivers of a capability read, and what has to come: capabilities.txt has the form.
type readings struct {
	dir   string
	name  string
	lines []string
}

// record is one that comes, or on a broker that may compact more or less of the topic: one that may come.
type record struct {
	*kgo.Record
	may bool
}

// String is the line that a driver compares with what it got.
func (r record) String() string {
	headers := make([]string, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = h.Key + "=" + string(h.Value)
	}
	mark, size := "=", len(r.Value)
	if r.may {
		mark = "?"
	}
	if r.Value == nil {
		size = -1
	}
	return fmt.Sprintf("%s%d\t%d\t%d\t%s\t%s\t%s", mark, r.Offset, r.Timestamp.UnixMilli(), size, strings.Join(headers, ","), r.Value, r.Key)
}

// earliest is what ListOffsets has to say.
func (r *readings) earliest(topic string, offset int64) {
	r.lines = append(r.lines, fmt.Sprintf("earliest\t%s\t%d\t-", topic, offset))
}

// read from an offset, or from the earliest if that is negative, gives the records at or above it.
func (r *readings) read(topic string, from int64, all []record) error {
	at := fmt.Sprint(from)
	if from < 0 {
		at = "earliest"
	}
	return r.want("read", topic, at, above(all, from))
}

// outOfRange: a fetch at the offset is, and a consumer that then begins at the earliest gets all.
func (r *readings) outOfRange(topic string, offset int64, all []record) error {
	return r.want("out-of-range", topic, fmt.Sprint(offset), all)
}

func (r *readings) want(kind, topic, from string, records []record) error {
	path := filepath.Join(r.dir, fmt.Sprintf("%s-%d.want", r.name, len(r.lines)))
	r.lines = append(r.lines, strings.Join([]string{kind, topic, from, path}, "\t"))
	var b bytes.Buffer
	for _, one := range records {
		fmt.Fprintln(&b, one)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func above(all []record, from int64) []record {
	return slices.DeleteFunc(slices.Clone(all), func(r record) bool { return r.Offset < from })
}

// compacted are the records that a compacted topic gives that is trimmed up to n1: the last of each key below, and all from there on.
func compacted(all []*kgo.Record, n1 int64) (left []record) {
	last := map[string]int64{}
	for _, r := range all {
		if r.Offset < n1 {
			last[string(r.Key)] = r.Offset
		}
	}
	for _, r := range all {
		if r.Offset >= n1 || last[string(r.Key)] == r.Offset {
			left = append(left, record{Record: r})
		}
	}
	return left
}

// compactedSometime are the records of a topic that is compacted at some time, as Kafka does: all but the last of each key may be gone.
func compactedSometime(all []*kgo.Record) (left []record) {
	last := map[string]int64{}
	for _, r := range all {
		last[string(r.Key)] = r.Offset
	}
	for _, r := range all {
		left = append(left, record{r, last[string(r.Key)] != r.Offset})
	}
	return left
}

// readingFixture makes the topics of one capability.
type readingFixture struct {
	capability string
	variable   string // of a driver's environment: the path of the readings, empty where the broker has no such topics
	oursOnly   bool
	make       func(ctx context.Context, w *workplace, b *ours, r *readings) error
}

func readingFixtures() []readingFixture {
	return []readingFixture{
		{"log-start", "INTEROP_LOG_START", false, makeLogStart},
		{"folds", "INTEROP_FOLDS", true, makeFolds},
		{"stale", "INTEROP_STALE", true, makeStale},
	}
}

// makeReadings makes the topics of what the drivers are asked for, at once, and returns their environment.
func makeReadings(ctx context.Context, w *workplace, chosen []driver, b *ours) ([]string, error) {
	fixtures := readingFixtures()
	env, errs := make([]string, len(fixtures)), make([]error, len(fixtures))
	var wait sync.WaitGroup
	for i, f := range fixtures {
		env[i] = f.variable + "="
		asked := slices.ContainsFunc(chosen, func(d driver) bool { return slices.Contains(d.wanted(w.only), f.capability) })
		if !asked || f.oursOnly && b == nil {
			continue
		}
		wait.Go(func() {
			r := &readings{dir: w.temp, name: f.capability}
			path := filepath.Join(w.temp, f.capability+".readings")
			env[i] += path
			if errs[i] = f.make(ctx, w, b, r); errs[i] != nil {
				errs[i] = fmt.Errorf("topics of %s: %w", f.capability, errs[i])
				return
			}
			errs[i] = os.WriteFile(path, []byte(strings.Join(r.lines, "\n")+"\n"), 0o644)
		})
	}
	wait.Wait()
	return env, errors.Join(errs...)
}
