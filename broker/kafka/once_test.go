package kafka_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// What is described is told once, however often a request names it: else a request of 100 KB would ask for gigabytes.
func TestNamedAgainIsToldOnce(t *testing.T) {
	b := startTransactions(t)
	c := b.Dial(t)
	const times = 10_000
	names := slices.Repeat([]string{"a-group-or-a-transaction"}, times)
	require.Len(t, raw.Do[*kmsg.DescribeGroupsResponse](c, &kmsg.DescribeGroupsRequest{Version: 5, Groups: names}).Groups, 1)
	require.Len(t, raw.Do[*kmsg.ConsumerGroupDescribeResponse](c, &kmsg.ConsumerGroupDescribeRequest{Version: 1, Groups: names}).Groups, 1)
	require.Len(t, raw.Do[*kmsg.DescribeTransactionsResponse](c, &kmsg.DescribeTransactionsRequest{TransactionalIDs: names}).TransactionStates, 1)

	tp := raw.CreateTopic(c, 2)
	indexes := slices.Repeat([]int32{1, 0}, times)
	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = slices.Repeat([]kmsg.DescribeProducersRequestTopic{{Topic: tp.Name, Partitions: indexes}}, 2)
	told := 0
	for _, rt := range raw.Do[*kmsg.DescribeProducersResponse](c, producers).Topics {
		told += len(rt.Partitions)
	}
	require.Equal(t, 2, told)

	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version = 8
	one := kmsg.OffsetFetchRequestGroup{Group: strings.Repeat("g", 100), MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: tp.Name, Partitions: []int32{0}}}}
	all := kmsg.OffsetFetchRequestGroup{Group: strings.Repeat("g", 100), MemberEpoch: -1}
	fetch.Groups = append(slices.Repeat([]kmsg.OffsetFetchRequestGroup{all}, times), one, one)
	require.Len(t, raw.Do[*kmsg.OffsetFetchResponse](c, fetch).Groups, 3, "what is asked of one partition is no larger than its question")
}

// startTransactions gives a test a broker with groups and transactions.
func startTransactions(t *testing.T) *broker {
	b, _ := startGroupsOwn(t, options{kafka: func(cfg *kafka.Config) {
		var err error
		cfg.Transactions, err = txn.Open(txn.Config{Settings: txn.DefaultSettings(), Store: cfg.Producers.(*catalog.Catalog), Markers: noMarkers{}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, cfg.Transactions.Close()) })
	}})
	return b
}
