package suite

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// The topic, as ../../capabilities.txt has it.
const (
	bootstrapKeys    = 600
	bootstrapRounds  = 4
	bootstrapDeletes = bootstrapKeys / 10
	bootstrapTail    = 20
	bootstrapAborted = 20 + 1 // and the marker
	bootstrapEnd     = bootstrapKeys*bootstrapRounds + bootstrapAborted + bootstrapDeletes + bootstrapTail
)

func bootstrap(ctx context.Context, r *run) error {
	topic := os.Getenv("INTEROP_BOOTSTRAP")
	if topic == "" {
		return fmt.Errorf("the runner made no compacted topic")
	}
	fewest := int64(bootstrapEnd)
	for _, c := range []struct {
		from      int64
		committed bool
	}{{0, false}, {0, true}, {1, true}, {1500, true}, {1500, false}} {
		n, err := readCompacted(ctx, r, topic, c.from, c.committed)
		if err != nil {
			return fmt.Errorf("from offset %d, read_committed %v: %w", c.from, c.committed, err)
		}
		fewest = min(fewest, int64(n))
	}
	r.note("%d of %d records were left", fewest, bootstrapEnd)
	if r.showsMarkers() {
		r.note("the client takes a transaction's marker for a record")
	}
	return nil
}

// readCompacted reads from an offset to the end and compares the state with what was written.
func readCompacted(ctx context.Context, r *run, topic string, from int64, committed bool) (int, error) {
	c, err := r.consumer(ConsumerConfig{Assign: []Start{{Topic: topic, Offset: from}}, ReadCommitted: committed})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	state, next, n := map[string]*Record{}, from, 0
	for next < bootstrapEnd {
		got, err := take(ctx, c, 1)
		if err != nil {
			return 0, fmt.Errorf("no end: after offset %d: %w", next-1, err)
		}
		for _, g := range got {
			if g.Offset < next {
				return 0, fmt.Errorf("offset %d came after %d", g.Offset, next-1)
			}
			if marker(g) && r.showsMarkers() {
				next = g.Offset + 1
				continue
			}
			if h := header(g, "time"); h != strconv.FormatInt(g.Time.UnixMilli(), 10) {
				return 0, fmt.Errorf("offset %d has timestamp %d, and %q in its header", g.Offset, g.Time.UnixMilli(), h)
			}
			n, next, state[string(g.Key)] = n+1, g.Offset+1, &g
		}
	}
	for i := range bootstrapKeys {
		if err := rightRow(i, state[fmt.Sprintf("key-%04d", i)]); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// rightRow checks the last record of key i.
func rightRow(i int, g *Record) error {
	if g == nil {
		return fmt.Errorf("nothing of key %d came", i)
	}
	round := "3"
	switch {
	case i < bootstrapTail:
		round = "4"
	case i%10 == 3:
		round = "deleted"
	}
	if h := header(*g, "round"); h != round {
		return fmt.Errorf("key %d ends with round %q, not %s (offset %d)", i, h, round, g.Offset)
	}
	if round == "deleted" {
		if g.Value != nil {
			return fmt.Errorf("key %d ends with a value, and was deleted", i)
		}
		return nil
	}
	if want := fmt.Sprintf("value-%d-%s-%s", i, round, strings.Repeat("x", 2000)); string(g.Value) != want {
		return fmt.Errorf("key %d has another value: %.20q", i, g.Value)
	}
	return nil
}

// marker of a transaction: a control record's key is a version and a type.
func marker(r Record) bool { return len(r.Headers) == 0 && len(r.Key) == 4 && r.Key[0] == 0 }

// showsMarkers tells of a client that hands control records to its user as if they were records, whoever the broker is.
func (r *run) showsMarkers() bool {
	c, ok := r.Client.(interface{ ShowsMarkers() bool })
	return ok && c.ShowsMarkers()
}

func header(r Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
