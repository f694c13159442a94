package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/replicas"
	api "github.com/keyframelog/keyframe/proto/state"
)

const (
	nameBytesMax        = 249 // of a replica, as of a topic
	hostBytesMax        = 512
	reportPartitionsMax = 1 << 12
)

// Report implements the call.
func (s *service) Report(_ context.Context, req *connect.Request[api.ReportRequest]) (*connect.Response[api.ReportResponse], error) {
	m := req.Msg
	t, err := s.topic(m.Topic)
	if err != nil {
		return nil, err
	}
	if err := checkReport(m); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	for _, x := range m.Partitions {
		p, err := t.Partition(x.Partition)
		if err != nil {
			return nil, refuse(api.Reason_REASON_UNKNOWN_PARTITION, &api.ErrorDetail{Topic: m.Topic, Partition: &x.Partition},
				"topic %q has no partition %d", m.Topic, x.Partition)
		}
		if err := checkReach(t, p, x); err != nil {
			return nil, err
		}
	}
	answer, err := s.cfg.Replicas.Report(replicas.Topic{ID: t.ID, Name: t.Name}, m)
	if errors.Is(err, replicas.ErrFull) {
		return nil, refuse(api.Reason_REASON_TOO_MANY_REPLICAS, &api.ErrorDetail{Topic: m.Topic}, "%w: try again later", err)
	}
	if err != nil {
		return nil, describe(t, nil, err)
	}
	return connect.NewResponse(answer), nil
}

// checkReach refuses a replica that is further than the log, whose end is looked at after the replica was there. Of another incarnation's offsets nothing
// is known here.
func checkReach(t *keyframer.Topic, p *keyframer.Partition, x *api.ReplicaPartition) error {
	if len(x.Incarnation) > 0 && !bytes.Equal(x.Incarnation, p.Incarnation[:]) {
		return nil
	}
	end := p.Bounds().LogEnd
	if at := max(x.Position, x.Verified); at > end {
		return refuseAt(api.Reason_REASON_FUTURE_POSITION, t, p, at, "offset %d lies above the log end offset %d of partition %d", at, end, p.Index)
	}
	return nil
}

// checkReplica refuses names that cannot be told apart, or that a terminal would take for a command.
func checkReplica(name string) error {
	if name == "" || len(name) > nameBytesMax || !printable(name) {
		return fmt.Errorf("replica %q: a name has 1 to %d bytes, all of them text", clip(name), nameBytesMax)
	}
	return nil
}

// checkInstance refuses what no process has drawn.
func checkInstance(instance []byte) error {
	if len(instance) != 0 && len(instance) != 16 {
		return fmt.Errorf("an instance of %d bytes", len(instance))
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// clip keeps what a client chose from filling a log.
func clip(s string) string {
	if len(s) > nameBytesMax {
		return strings.ToValidUTF8(s[:nameBytesMax], "") + "..."
	}
	return s
}

func checkReport(m *api.ReportRequest) error {
	if err := errors.Join(checkReplica(m.Replica), checkInstance(m.Instance)); err != nil {
		return err
	}
	if len(m.Host) > hostBytesMax || !printable(m.Host) {
		return fmt.Errorf("host %q: at most %d bytes, all of them text", clip(m.Host), hostBytesMax)
	}
	if len(m.Partitions) > reportPartitionsMax {
		return fmt.Errorf("a report of %d partitions: at most %d in one", len(m.Partitions), reportPartitionsMax)
	}
	for _, x := range m.Partitions {
		if err := checkReported(x); err != nil {
			return fmt.Errorf("partition %d: %w", x.Partition, err)
		}
	}
	return nil
}

// checkReported checks the form of what is said of one partition. What is said of the log is compared with the log by the registry.
func checkReported(x *api.ReplicaPartition) error {
	if phases := api.Phases(); !slices.Contains(phases, x.Phase) {
		return fmt.Errorf("phase %q: it is one of %s", clip(x.Phase), strings.Join(phases, ", "))
	}
	if len(x.Incarnation) != 0 && len(x.Incarnation) != 16 {
		return fmt.Errorf("an incarnation of %d bytes", len(x.Incarnation))
	}
	if _, known := api.Outcome_name[int32(x.Outcome)]; !known {
		return fmt.Errorf("outcome %d is not known", x.Outcome)
	}
	numbers := []int64{x.Position, x.ComparedMs, x.Verified, x.VerifiedMs, x.Repairs, x.Bootstraps}
	switch c := x.Compared; {
	case c == nil && (x.Outcome == api.Outcome_OUTCOME_EQUAL || x.Outcome == api.Outcome_OUTCOME_DRIFTED):
		return fmt.Errorf("%v, and no point that was compared", x.Outcome)
	case c != nil && len(c.Sum) != 32:
		return fmt.Errorf("a sum of %d bytes", len(c.Sum))
	case c != nil:
		numbers = append(numbers, c.Offset, c.Count, c.Start)
	}
	if r := x.Repair; r != nil {
		numbers = append(numbers, r.Cut, r.Keys, r.Bytes, r.DurationUs, r.TimeMs, r.RoundTrips)
		if methods := api.Methods(); !slices.Contains(methods, r.Method) {
			return fmt.Errorf("repair by %q: it is by one of %s", clip(r.Method), strings.Join(methods, ", "))
		}
	}
	for _, n := range numbers {
		if n < 0 {
			return fmt.Errorf("%d is not an offset, a count or a time", n)
		}
	}
	return nil
}
