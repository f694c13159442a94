package kafka

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
)

func TestErrorTable(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int16
	}{
		{nil, 0},
		{errors.New("anything"), -1},
		{&log.SequenceError{Kind: log.OutOfOrder}, 45},
		{&log.SequenceError{Kind: log.DuplicateTooOld}, 46},
		{&log.SequenceError{Kind: log.StaleEpoch}, 47},
		{&log.SequenceError{Kind: log.UnknownProducer}, 59},
		{&log.SequenceError{Kind: log.InTransaction}, 48},
		{&log.SequenceError{Kind: log.StaleCoordinator}, 52},
		{&log.OffsetRangeError{}, 1},
		{&log.CorruptError{Err: batch.ErrCRC}, 56}, // our disk's checksum is not the client's mistake
		{&engine.DiskFullError{}, 56},
		{log.ErrTrimmed, 1},
		{log.ErrFailed, 56},
		{log.ErrClosed, 3},
		{keyframer.ErrStaleFetch, 1},
		{topics.ErrExists, 36},
		{topics.ErrNotFound, 3},
		{&topics.NameError{}, 17},
		{&topics.ConfigError{}, 40},
		{&topics.PartitionsError{}, 37},
	} {
		require.Equal(t, test.code, codeOf(test.err), "%v", test.err)
		if test.err != nil {
			require.Equal(t, test.code, codeOf(fmt.Errorf("wrapped: %w", test.err)), "%v", test.err)
		}
	}
}
