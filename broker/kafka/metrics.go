package kafka

import (
	"reflect"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// metrics of the handlers.
type metrics struct {
	errors   *prometheus.CounterVec
	diskFull prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyframe_kafka_errors_total", Help: "Error codes in answers to Kafka requests, by API and code; one per partition or topic that failed."},
			[]string{"api", "error"}),
		diskFull: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyframe_kafka_produce_disk_full_total", Help: "Batches refused because the disk is at its reserve."}),
	}
	if reg != nil {
		reg.MustRegister(m.errors, m.diskFull)
	}
	return m
}

// count counts the error codes of an answer.
func (m *metrics) count(key int16, message wire.Message) {
	errorCodes(message, func(code int16) {
		if code == none {
			return
		}
		name := strconv.Itoa(int(code))
		if e := kerr.TypedErrorForCode(code); e != nil {
			name = e.Message
		}
		m.errors.WithLabelValues(kmsg.NameForKey(key), name).Inc()
	})
}

// errorCodes calls see with the error codes of an answer. APIs that are asked often, or answer at length, have a case of their own;
// of the others every field counts that is called ErrorCode.
func errorCodes(message wire.Message, see func(int16)) {
	switch m := message.(type) {
	case *kmsg.ProduceResponse:
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				see(m.Topics[i].Partitions[j].ErrorCode)
			}
		}
	case *fetchResponse:
		errorCodes(m.FetchResponse, see)
	case *kmsg.FetchResponse:
		see(m.ErrorCode)
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				see(m.Topics[i].Partitions[j].ErrorCode)
			}
		}
	case *kmsg.ListOffsetsResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				see(p.ErrorCode)
			}
		}
	case *kmsg.OffsetForLeaderEpochResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				see(p.ErrorCode)
			}
		}
	case *kmsg.MetadataResponse:
		for _, t := range m.Topics {
			see(t.ErrorCode)
		}
	case *kmsg.CreateTopicsResponse:
		for _, t := range m.Topics {
			see(t.ErrorCode)
		}
	case *kmsg.DeleteTopicsResponse:
		for _, t := range m.Topics {
			see(t.ErrorCode)
		}
	case *kmsg.DescribeConfigsResponse:
		for _, r := range m.Resources {
			see(r.ErrorCode)
		}
	case *kmsg.ApiVersionsResponse:
		see(m.ErrorCode)
	case *kmsg.InitProducerIDResponse:
		see(m.ErrorCode)
	case *kmsg.DescribeClientQuotasResponse:
		see(m.ErrorCode)
	case *kmsg.AlterClientQuotasResponse:
		for _, e := range m.Entries {
			see(e.ErrorCode)
		}
	default:
		if !groupErrorCodes(message, see) && !transactionErrorCodes(message, see) {
			eachErrorCode(reflect.ValueOf(message), see)
		}
	}
}

// eachErrorCode calls see with every field ErrorCode in v and below.
func eachErrorCode(v reflect.Value, see func(int16)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachErrorCode(v.Elem(), see)
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k == reflect.Struct || k == reflect.Pointer {
			for i := range v.Len() {
				eachErrorCode(v.Index(i), see)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); v.Type().Field(i).Name == "ErrorCode" && f.Kind() == reflect.Int16 {
				see(int16(f.Int()))
			} else {
				eachErrorCode(f, see)
			}
		}
	}
}

// transactionErrorCodes is errorCodes for the transaction APIs; false: it is none of them.
func transactionErrorCodes(message wire.Message, see func(int16)) bool {
	switch m := message.(type) {
	case *kmsg.AddPartitionsToTxnResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				see(p.ErrorCode)
			}
		}
		for i := range m.Transactions {
			eachCode(&m.Transactions[i], func(code *int16) { see(*code) })
		}
	case *kmsg.AddOffsetsToTxnResponse:
		see(m.ErrorCode)
	case *kmsg.EndTxnResponse:
		see(m.ErrorCode)
	case *kmsg.TxnOffsetCommitResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				see(p.ErrorCode)
			}
		}
	case *kmsg.DescribeProducersResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				see(p.ErrorCode)
			}
		}
	case *kmsg.DescribeTransactionsResponse:
		for _, x := range m.TransactionStates {
			see(x.ErrorCode)
		}
	case *kmsg.ListTransactionsResponse:
		see(m.ErrorCode)
	default:
		return false
	}
	return true
}

// groupErrorCodes is errorCodes for the consumer group APIs; false: it is none of them.
func groupErrorCodes(message wire.Message, see func(int16)) bool {
	switch m := message.(type) {
	case *kmsg.FindCoordinatorResponse:
		see(m.ErrorCode)
		for _, c := range m.Coordinators {
			see(c.ErrorCode)
		}
	case *kmsg.JoinGroupResponse:
		see(m.ErrorCode)
	case *kmsg.SyncGroupResponse:
		see(m.ErrorCode)
	case *kmsg.HeartbeatResponse:
		see(m.ErrorCode)
	case *kmsg.ConsumerGroupHeartbeatResponse:
		see(m.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		see(m.ErrorCode)
	case *kmsg.OffsetCommitResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				see(p.ErrorCode)
			}
		}
	case *kmsg.OffsetFetchResponse:
		see(m.ErrorCode)
		for _, g := range m.Groups {
			see(g.ErrorCode)
		}
	case *kmsg.ListGroupsResponse:
		see(m.ErrorCode)
	case *kmsg.DescribeGroupsResponse:
		for _, g := range m.Groups {
			see(g.ErrorCode)
		}
	case *kmsg.DeleteGroupsResponse:
		for _, g := range m.Groups {
			see(g.ErrorCode)
		}
	default:
		return false
	}
	return true
}
