package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// reading is a line of a readings file; see ../../capabilities.txt.
type reading struct {
	kind, topic string
	from        int64
	want        []string
}

// readings runs those of the file that an environment variable names.
func readings(variable string) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		path := os.Getenv(variable)
		if path == "" {
			return errElsewhere
		}
		all, err := parseReadings(path)
		if err != nil {
			return err
		}
		for _, one := range all {
			if err := one.check(ctx, r); err != nil {
				return fmt.Errorf("%s %s %d: %w", one.kind, one.topic, one.from, err)
			}
		}
		return nil
	}
}

func parseReadings(path string) (all []reading, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		one := reading{kind: fields[0], topic: fields[1], from: Earliest}
		if fields[2] != "earliest" {
			if one.from, err = strconv.ParseInt(fields[2], 10, 64); err != nil {
				return nil, err
			}
		}
		if fields[3] != "-" {
			want, err := os.ReadFile(fields[3])
			if err != nil {
				return nil, err
			}
			one.want = strings.Split(strings.TrimSuffix(string(want), "\n"), "\n")
		}
		all = append(all, one)
	}
	return all, nil
}

func (one *reading) check(ctx context.Context, r *run) error {
	switch one.kind {
	case "earliest":
		a, err := r.Admin(r.addr, r.id())
		if err != nil {
			return err
		}
		defer a.Close()
		offset, err := a.OffsetFor(ctx, one.topic, 0, Earliest)
		if err == nil && offset != one.from {
			err = fmt.Errorf("the earliest offset is %d", offset)
		}
		return err
	case "read":
		return one.read(ctx, r, "")
	case "out-of-range":
		return one.outOfRange(ctx, r)
	}
	return fmt.Errorf("no kind of reading that is known")
}

// outOfRange tries both policies; a client has at least one.
func (one *reading) outOfRange(ctx context.Context, r *run) error {
	refused := one.read(ctx, r, ResetNone)
	switch {
	case errors.Is(refused, ErrUnsupported):
		r.noteOnce("%v", refused)
	case refused == nil:
		return fmt.Errorf("is served, and is out of range")
	case !errors.Is(refused, ErrOutOfRange):
		return fmt.Errorf("without a reset policy: %w", refused)
	}
	reset := one.read(ctx, r, ResetEarliest)
	switch {
	case errors.Is(reset, ErrUnsupported) && !errors.Is(refused, ErrUnsupported):
		r.noteOnce("%v", reset)
	case reset != nil:
		return fmt.Errorf("with auto.offset.reset=earliest: %w", reset)
	}
	return nil
}

// read to the end and compare.
func (one *reading) read(ctx context.Context, r *run, reset string) error {
	c, err := r.consumer(ConsumerConfig{Assign: []Start{{Topic: one.topic, Offset: one.from}}, Reset: reset})
	if err != nil {
		return err
	}
	defer c.Close()
	want := one.want
	for len(want) > 0 {
		got, err := take(ctx, c, 1)
		if err != nil {
			return err
		}
		for _, g := range got {
			if want, err = without(want, shown(g)); err != nil {
				return err
			}
		}
	}
	return nil
}

// without drops what was wanted up to a line that came.
func without(want []string, line string) ([]string, error) {
	for i, w := range want {
		if w[1:] == line {
			return want[i+1:], nil
		}
		if w[0] == '=' {
			return nil, fmt.Errorf("%.120q came, not %.120q", line, w[1:])
		}
	}
	return nil, fmt.Errorf("%.120q came behind the end", line)
}

// shown is the line of a record, as the files have it.
func shown(g Record) string {
	headers := make([]string, len(g.Headers))
	for i, h := range g.Headers {
		headers[i] = h.Key + "=" + string(h.Value)
	}
	size := len(g.Value)
	if g.Value == nil {
		size = -1
	}
	return fmt.Sprintf("%d\t%d\t%d\t%s\t%s\t%s", g.Offset, g.Time.UnixMilli(), size, strings.Join(headers, ","), g.Value, g.Key)
}
