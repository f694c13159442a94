package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startPoint is --from, parsed: earliest, latest, an offset or a time.
type startPoint struct {
	word string
	at   int64 // offset, or milliseconds since the epoch
}

func parseStart(from string) (startPoint, error) {
	if from == "earliest" || from == "latest" {
		return startPoint{word: from}, nil
	}
	if n, err := strconv.ParseInt(from, 10, 64); err == nil && n >= 0 {
		return startPoint{word: "offset", at: n}, nil
	}
	if at, err := time.Parse(time.RFC3339, from); err == nil {
		return startPoint{word: "time", at: at.UnixMilli()}, nil
	}
	return startPoint{}, fmt.Errorf("--from %q: write earliest, latest, an offset, or a time as 2026-01-02T15:04:05Z", from)
}

// offset is where a group starts that has no offset of its own.
func (s startPoint) offset() kgo.Offset {
	switch s.word {
	case "earliest":
		return kgo.NewOffset().AtStart()
	case "latest":
		return kgo.NewOffset().AtEnd()
	case "time":
		return kgo.NewOffset().AfterMilli(s.at)
	}
	return kgo.NewOffset().At(s.at)
}

// span is what there is to read of a partition: from next to the end that the topic has at the start, half-open.
type span struct {
	logStart, next, end int64
}

// planSpans asks where each partition begins, where it ends, and where reading starts.
func planSpans(ctx context.Context, admin *kadm.Client, topic string, start startPoint, flags consumeFlags) (map[int32]span, error) {
	starts, startErr := admin.ListStartOffsets(ctx, topic)
	listEnds := admin.ListEndOffsets
	if flags.isolation == readCommitted {
		listEnds = admin.ListCommittedOffsets // the last stable offset
	}
	ends, endErr := listEnds(ctx, topic)
	if err := cmp.Or(startErr, endErr, ends.Error(), starts.Error()); err != nil {
		return nil, topicError("consume", topic, err, "")
	}
	var byTime kadm.ListedOffsets
	if start.word == "time" {
		var err error
		byTime, err = admin.ListOffsetsAfterMilli(ctx, start.at, topic)
		if err := cmp.Or(err, byTime.Error()); err != nil {
			return nil, topicError("consume", topic, err, "")
		}
	}
	committed, err := committedOffsets(ctx, admin, topic, flags.group)
	if err != nil {
		return nil, err
	}
	parts := map[int32]span{}
	for no, end := range ends[topic] {
		if flags.partition >= 0 && no != flags.partition {
			continue
		}
		first, _ := starts.Lookup(topic, no)
		p := span{logStart: first.Offset, end: end.Offset}
		after, _ := byTime.Lookup(topic, no)
		p.next = start.in(p, after.Offset)
		if at, ok := committed[no]; ok {
			p.next = at
		} else if p.next < p.logStart || p.next > p.end {
			return nil, fmt.Errorf("--from %d: topic %s partition %d has the offsets %d to %d; %s", p.next, topic, no, p.logStart, p.end,
				"write one of them, or earliest or latest; --partition reads one partition alone")
		}
		parts[no] = p
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("topic %s has no partition %d: it has %d, numbered from 0", topic, flags.partition, len(ends[topic]))
	}
	return parts, nil
}

// in is the offset at which reading a partition starts; byTime is that of the time, if it is one.
func (s startPoint) in(p span, byTime int64) int64 {
	switch s.word {
	case "earliest":
		return p.logStart
	case "latest":
		return p.end
	case "time":
		return min(byTime, p.end) // records may have come since the end was asked for
	}
	return s.at
}

// committedOffsets are those of the group, if there is one.
func committedOffsets(ctx context.Context, admin *kadm.Client, topic, group string) (map[int32]int64, error) {
	if group == "" {
		return nil, nil
	}
	fetched, err := admin.FetchOffsets(ctx, group)
	if err := errors.Join(err, fetched.Error()); err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	committed := map[int32]int64{}
	fetched.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic && o.At >= 0 {
			committed[o.Partition] = o.At
		}
	})
	return committed, nil
}
