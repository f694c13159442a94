package kafka

import (
	"context"
	"errors"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Kafka's error codes, by Kafka's names.
const (
	none                         int16 = 0
	unknownServerError           int16 = -1
	offsetOutOfRange             int16 = 1
	corruptMessage               int16 = 2
	unknownTopicOrPartition      int16 = 3
	requestTimedOut              int16 = 7
	messageTooLarge              int16 = 10
	invalidTopic                 int16 = 17
	notEnoughReplicas            int16 = 19
	invalidRequiredAcks          int16 = 21
	invalidTimestamp             int16 = 32
	unsupportedVersion           int16 = 35
	topicAlreadyExists           int16 = 36
	invalidPartitions            int16 = 37
	invalidReplicationFactor     int16 = 38
	invalidReplicaAssignment     int16 = 39
	invalidConfig                int16 = 40
	invalidRequest               int16 = 42
	policyViolation              int16 = 44
	outOfOrderSequence           int16 = 45
	duplicateSequence            int16 = 46
	invalidProducerEpoch         int16 = 47
	invalidTxnState              int16 = 48
	transactionCoordinatorFenced int16 = 52
	transactionalIDAuthorization int16 = 53
	operationNotAttempted        int16 = 55
	securityDisabled             int16 = 54
	kafkaStorageError            int16 = 56
	unknownProducerID            int16 = 59
	fetchSessionIDNotFound       int16 = 70
	invalidFetchSessionEpoch     int16 = 71
	fencedLeaderEpoch            int16 = 74
	unknownLeaderEpoch           int16 = 75
	unsupportedCompressionType   int16 = 76
	electionNotNeeded            int16 = 84
	noReassignmentInProgress     int16 = 85
	invalidRecord                int16 = 87
	unstableOffsetCommit         int16 = 88
	throttlingQuotaExceeded      int16 = 89
	featureUpdateFailed          int16 = 95
	unknownTopicID               int16 = 100
	inconsistentTopicID          int16 = 103
	fetchSessionTopicID          int16 = 106
	mismatchedEndpointType       int16 = 114
	unsupportedEndpointType      int16 = 115
	transactionAbortable         int16 = 120
)

// codeOf is the one table from what the broker's parts report to Kafka's codes. Typed errors first, then sentinels;
// unknownServerError is an error nobody has thought of yet.
func codeOf(err error) int16 {
	var (
		sequence   *log.SequenceError
		outOfRange *log.OffsetRangeError
		corrupt    *log.CorruptError
		name       *topics.NameError
		config     *topics.ConfigError
		request    *configs.RequestError
		partitions *topics.PartitionsError
	)
	switch {
	case err == nil:
		return none
	case errors.As(err, &sequence):
		return sequenceCode(sequence.Kind)
	case errors.As(err, &outOfRange):
		return offsetOutOfRange
	case errors.As(err, &corrupt):
		return kafkaStorageError
	case errors.As(err, &name):
		return invalidTopic
	case errors.As(err, &config):
		return invalidConfig
	case errors.As(err, &request):
		return invalidRequest
	case errors.As(err, &partitions):
		return invalidPartitions
	}
	for _, e := range sentinels {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	return unknownServerError
}

// sentinels of codeOf, first match wins.
var sentinels = []struct {
	err  error
	code int16
}{
	{engine.ErrDiskFull, kafkaStorageError}, // retriable in all clients: the disk may get room again
	{log.ErrFailed, kafkaStorageError},
	{log.ErrClosed, unknownTopicOrPartition}, // dropped between lookup and use, or shutting down: look it up again
	{log.ErrTrimmed, offsetOutOfRange},
	{keyframer.ErrStaleFetch, offsetOutOfRange},
	{keyframer.ErrUnknownTopic, unknownTopicOrPartition}, // deleted in between
	{keyframer.ErrUnknownPartition, unknownTopicOrPartition},
	{keyframer.ErrNotKeyFramed, kafkaStorageError},
	{keyframer.ErrReopening, kafkaStorageError},
	{keyframer.ErrFailed, kafkaStorageError},
	{keyframer.ErrClosed, kafkaStorageError},
	{table.ErrCorrupt, kafkaStorageError},
	{table.ErrDigest, kafkaStorageError},
	{table.ErrClosed, kafkaStorageError},
	{topics.ErrExists, topicAlreadyExists},
	{topics.ErrNotFound, unknownTopicOrPartition},
	{topics.ErrClosed, kafkaStorageError},
	{topics.ErrPolicy, policyViolation},
	{catalog.ErrTopicExists, topicAlreadyExists},
	{catalog.ErrTopicNotFound, unknownTopicOrPartition},
	{context.DeadlineExceeded, requestTimedOut},
	{context.Canceled, requestTimedOut},
	{batch.ErrCRC, corruptMessage},
}

func sequenceCode(k log.SequenceKind) int16 {
	switch k {
	case log.OutOfOrder:
		return outOfOrderSequence
	case log.DuplicateTooOld:
		return duplicateSequence
	case log.StaleEpoch:
		return invalidProducerEpoch
	case log.UnknownProducer:
		return unknownProducerID
	case log.InTransaction:
		return invalidTxnState
	case log.StaleCoordinator:
		return transactionCoordinatorFenced
	}
	return unknownServerError
}
