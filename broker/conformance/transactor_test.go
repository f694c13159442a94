package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// transactor is a transactional producer on a connection of its own, as its requests tell.
type transactor struct {
	*raw.Conn
	txn       string
	id        int64
	epoch     int16
	timeoutMs int32
	sequence  map[topicIndex]int32
}

type topicIndex struct {
	name  string
	index int32
}

// transactor returns a producer that has no producer id yet.
func (b *broker) transactor(t testing.TB, txn string) *transactor {
	t.Helper()
	return &transactor{Conn: b.Dial(t), txn: txn, id: -1, epoch: -1, timeoutMs: 60_000, sequence: map[topicIndex]int32{}}
}

func (p *transactor) initRequest(version int16) *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = version, &p.txn, p.timeoutMs
	req.ProducerID, req.ProducerEpoch = -1, -1
	return req
}

// init gets a producer id and an epoch, and waits while an earlier transaction is being ended.
func (p *transactor) init() *transactor {
	p.T.Helper()
	require.Eventually(p.T, func() bool {
		// Kafka makes room for transactions when their coordinator is first looked for, as every client does.
		raw.Do[*kmsg.FindCoordinatorResponse](p.Conn, &kmsg.FindCoordinatorRequest{Version: 2, CoordinatorKey: p.txn, CoordinatorType: 1})
		resp := raw.Do[*kmsg.InitProducerIDResponse](p.Conn, p.initRequest(4))
		if resp.ErrorCode == 51 || resp.ErrorCode == 14 || resp.ErrorCode == 15 || resp.ErrorCode == 16 {
			return false
		}
		require.Zero(p.T, resp.ErrorCode)
		p.became(resp.ProducerID, resp.ProducerEpoch)
		return true
	}, time.Minute, 5*time.Millisecond)
	return p
}

// became is another producer id or epoch: sequences start anew.
func (p *transactor) became(id int64, epoch int16) {
	p.id, p.epoch = id, epoch
	clear(p.sequence)
}

// batch is a batch of this producer that continues its sequence in the partition.
func (p *transactor) batch(t raw.Topic, partition int32, records ...raw.Record) kmsg.RecordBatch {
	b := raw.NewBatch(records...)
	b.Attributes |= 0x10
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = p.id, p.epoch, p.sequence[topicIndex{t.Name, partition}]
	return b
}

// tryProduce appends one batch in the transaction.
func (p *transactor) tryProduce(version int16, t raw.Topic, partition int32, records ...raw.Record) kmsg.ProduceResponseTopicPartition {
	p.T.Helper()
	req := raw.ProduceTo(t, partition, version, raw.Seal(p.batch(t, partition, records...)))
	req.TransactionID = &p.txn
	answer := raw.ProduceAs(p.Conn, req)
	if answer.ErrorCode == 0 {
		p.sequence[topicIndex{t.Name, partition}] += int32(len(records))
	}
	return answer
}

// produce appends one record to partition 0, with Produce v12, which adds the partition to the transaction; it returns the offset.
func (p *transactor) produce(t raw.Topic, partition int32, records ...raw.Record) int64 {
	p.T.Helper()
	var offset int64
	require.Eventually(p.T, func() bool {
		answer := p.tryProduce(12, t, partition, records...)
		if answer.ErrorCode == 51 || answer.ErrorCode == 19 { // the marker of the transaction before is on its way
			return false
		}
		raw.RequireCode(p.T, 0, answer.ErrorCode, answer.ErrorMessage)
		offset = answer.BaseOffset
		return true
	}, time.Minute, 5*time.Millisecond)
	return offset
}

func (p *transactor) addRequest(version int16, t raw.Topic, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version = version
	if version >= 4 {
		req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{TransactionalID: p.txn, ProducerID: p.id, ProducerEpoch: p.epoch,
			Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: t.Name, Partitions: partitions}}}}
		return req
	}
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.txn, p.id, p.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: t.Name, Partitions: partitions}}
	return req
}

// tryAdd adds partitions of one topic and returns the codes by partition.
func (p *transactor) tryAdd(version int16, t raw.Topic, partitions ...int32) map[int32]int16 {
	p.T.Helper()
	return addCodes(raw.Do[*kmsg.AddPartitionsToTxnResponse](p.Conn, p.addRequest(version, t, partitions...)))
}

func addCodes(resp *kmsg.AddPartitionsToTxnResponse) map[int32]int16 {
	codes := map[int32]int16{}
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			codes[rp.Partition] = rp.ErrorCode
		}
	}
	for _, tx := range resp.Transactions {
		for _, rt := range tx.Topics {
			for _, rp := range rt.Partitions {
				codes[rp.Partition] = rp.ErrorCode
			}
		}
	}
	return codes
}

// add adds a partition, and waits while an earlier transaction is being ended.
func (p *transactor) add(t raw.Topic, partitions ...int32) {
	p.T.Helper()
	require.Eventually(p.T, func() bool {
		for _, code := range p.tryAdd(3, t, partitions...) {
			if code == 51 {
				return false
			}
			require.Zero(p.T, code)
		}
		return true
	}, time.Minute, 5*time.Millisecond)
}

func (p *transactor) tryEnd(version int16, commit bool) *kmsg.EndTxnResponse {
	p.T.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = version, p.txn, p.id, p.epoch, commit
	return raw.Do[*kmsg.EndTxnResponse](p.Conn, req)
}

// end ends the transaction, with EndTxn v5, whose answer has the next epoch.
func (p *transactor) end(commit bool) {
	p.T.Helper()
	resp := p.tryEnd(5, commit)
	require.Zero(p.T, resp.ErrorCode)
	p.became(resp.ProducerID, resp.ProducerEpoch)
}

func (p *transactor) tryAddOffsets(version int16, group string) int16 {
	p.T.Helper()
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = version, p.txn, p.id, p.epoch, group
	return raw.Do[*kmsg.AddOffsetsToTxnResponse](p.Conn, req).ErrorCode
}

func (p *transactor) commitRequest(version int16, group string, t raw.Topic, partition int32, offset int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = version, p.txn, group, p.id, p.epoch
	req.Generation = -1
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset, rp.Metadata = partition, offset, kmsg.StringPtr("")
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: t.Name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{rp}}}
	return req
}

// tryCommit commits an offset in the transaction, as an application without a group would.
func (p *transactor) tryCommit(version int16, group string, t raw.Topic, partition int32, offset int64) int16 {
	p.T.Helper()
	return p.commitAs(p.commitRequest(version, group, t, partition, offset))
}

func (p *transactor) commitAs(req *kmsg.TxnOffsetCommitRequest) int16 {
	p.T.Helper()
	resp := raw.Do[*kmsg.TxnOffsetCommitResponse](p.Conn, req)
	require.Len(p.T, resp.Topics, 1)
	require.Len(p.T, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0].ErrorCode
}

// describeTxn is the transactional id as DescribeTransactions shows it.
func describeTxn(c *raw.Conn, txn string) kmsg.DescribeTransactionsResponseTransactionState {
	c.T.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{txn}
	resp := raw.Do[*kmsg.DescribeTransactionsResponse](c, req)
	require.Len(c.T, resp.TransactionStates, 1)
	return resp.TransactionStates[0]
}

// awaitState waits until the transactional id is in the state.
func awaitState(c *raw.Conn, txn, state string) kmsg.DescribeTransactionsResponseTransactionState {
	c.T.Helper()
	var d kmsg.DescribeTransactionsResponseTransactionState
	require.Eventually(c.T, func() bool {
		d = describeTxn(c, txn)
		return d.State == state
	}, time.Minute, 5*time.Millisecond, "want state %s", state)
	return d
}

// stable is what a reader of committed records gets from a partition: values, the aborted list, the last stable offset.
func stable(c *raw.Conn, t raw.Topic, partition int32, from int64) kmsg.FetchResponseTopicPartition {
	c.T.Helper()
	req := raw.FetchFrom(t, from, 12)
	req.IsolationLevel = 1
	req.Topics[0].Partitions[0].Partition = partition
	return raw.FetchAs(c, req)
}

// marker is a control record of a transaction.
type marker struct {
	offset     int64
	producerID int64
	epoch      int16
	commit     bool
}

// markers are those of a partition.
func markers(c *raw.Conn, t raw.Topic, partition int32) (list []marker) {
	c.T.Helper()
	req := raw.FetchFrom(t, 0, 12)
	req.Topics[0].Partitions[0].Partition = partition
	for _, b := range raw.BatchesOf(c, raw.FetchAs(c, req).RecordBatches) {
		if b.Attributes&0x20 == 0 {
			continue
		}
		var r kmsg.Record
		require.NoError(c.T, r.ReadFrom(b.Records))
		list = append(list, marker{b.FirstOffset, b.ProducerID, b.ProducerEpoch, r.Key[3] == 1})
	}
	return list
}

// awaitMarkers waits until a partition has so many.
func awaitMarkers(c *raw.Conn, t raw.Topic, partition int32, n int) (list []marker) {
	c.T.Helper()
	require.Eventually(c.T, func() bool {
		list = markers(c, t, partition)
		return len(list) >= n
	}, time.Minute, 5*time.Millisecond)
	return list
}
