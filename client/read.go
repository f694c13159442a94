package client

import (
	"bytes"
	"context"
	"iter"

	"github.com/keyframelog/keyframe/proto/frame"
)

// Row is a row of a replica: a key that exists. Its slices alias the replica's memory and must not be written to.
type Row struct {
	Partition int32
	frame.Row
}

// Get returns the row of key, false if there is none. It looks through the partitions in ascending order, because the
// partitioner is the producer's; a key that producers wrote to more than one partition is answered from the first.
func (r *Replica) Get(ctx context.Context, key []byte) (Row, bool, error) {
	for _, no := range r.numbers {
		row, ok, err := r.GetFrom(ctx, no, key)
		if ok || err != nil {
			return row, ok, err
		}
	}
	return Row{}, false, nil
}

// GetFrom returns the row of key in one partition.
func (r *Replica) GetFrom(_ context.Context, partition int32, key []byte) (Row, bool, error) {
	p, err := r.partition(partition)
	if err != nil {
		return Row{}, false, err
	}
	if err := r.closedErr(); err != nil {
		return Row{}, false, err
	}
	s := p.rows()
	row, ok, err := s.get(key)
	for err != nil && p.rows() != s { // it was replaced meanwhile
		s = p.rows()
		row, ok, err = s.get(key)
	}
	if err != nil {
		return Row{}, false, &PartitionError{r.cfg.Topic, partition, p.position().Offset, err}
	}
	return Row{partition, row}, ok, nil
}

// Scan yields the live rows whose key starts with prefix (nil: all), in key order; equal keys in partition order. In
// memory, rows that change during the scan are yielded as they are when their turn comes; a Dir store yields one moment of each
// partition. An error is the last thing yielded.
func (r *Replica) Scan(ctx context.Context, prefix []byte) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var sources []*source
		defer func() {
			for _, s := range sources {
				s.stop()
			}
		}()
		for _, no := range r.numbers {
			sources = append(sources, r.partitions[no].source(prefix))
		}
		for n := 0; ; n++ {
			s := lowest(sources)
			if s == nil {
				return
			}
			err := s.err
			if n%256 == 0 && err == nil {
				if err = ctx.Err(); err == nil {
					err = r.closedErr()
				}
			}
			if err != nil {
				yield(Row{}, &PartitionError{r.cfg.Topic, s.partition, r.partitions[s.partition].position().Offset, err})
				return
			}
			if !yield(Row{s.partition, s.row}, nil) {
				return
			}
			s.advance()
		}
	}
}

// source is one partition's rows in a merge.
type source struct {
	partition int32
	next      func() (frame.Row, error, bool)
	stop      func()
	row       frame.Row
	err       error
	ok        bool
}

// source begins a scan of the partition's rows; if they are replaced before it has begun, of the new ones.
func (p *partition) source(prefix []byte) *source {
	for {
		rows := p.rows()
		s := &source{partition: p.no}
		s.next, s.stop = iter.Pull2(rows.scan(prefix, nil))
		s.advance()
		if s.err == nil || p.rows() == rows {
			return s
		}
		s.stop()
	}
}

func (s *source) advance() { s.row, s.err, s.ok = s.next() }

// lowest returns the source with the lowest key, an error first of all; nil at the end.
func lowest(sources []*source) *source {
	var low *source
	for _, s := range sources {
		switch {
		case !s.ok:
		case s.err != nil:
			return s
		case low == nil || bytes.Compare(s.row.Key, low.row.Key) < 0:
			low = s
		}
	}
	return low
}
