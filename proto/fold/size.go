package fold

import (
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

// RowBytesMax is how many bytes key, value and headers of a row have together at most. It is the same for every server and replica:
// one with another limit would fold to another state. What stores, sends and loads rows derives its own limits from it.
const RowBytesMax = 16 << 20

// opHeaderBytes is what keyframe.op adds at most to headers that lack it. A row that is read as a record names its operation, and must
// not be larger for the next fold than it was for this one: so the room for it counts from the beginning.
const opHeaderBytes = 3 + len(delta.HeaderOp) + len("delete")

// rowBytes is the size that is held against the limit. Headers count as they are encoded, which is the same for everybody
// (batch.Headers.Validate).
func rowBytes(key []byte, valueLen int, headers batch.Headers) int {
	n := len(key) + valueLen + len(headers)
	if _, named := headers.Get(delta.HeaderOp); !named {
		n += opHeaderBytes
	}
	return n
}

// tooLarge compares lengths and looks at the headers only where these do not decide.
func tooLarge(key []byte, valueLen int, headers batch.Headers, limit int) bool {
	return len(key)+valueLen+len(headers)+opHeaderBytes > limit && rowBytes(key, valueLen, headers) > limit
}

// surelyFits is the size up to which nothing that a delta alone decides makes its row too large.
const surelyFits = (RowBytesMax - opHeaderBytes) / numberGrowthMax

// checkSize refuses a delta that is too large as it is, or makes a row too large whatever the state: a document that is put has its
// canonical bytes there. What a merge makes of a state, only the fold sees.
func (k Kind) checkSize(op delta.Op, key, value []byte, headers batch.Headers) error {
	valueLen := len(value)
	if (k == JSONMergePatch || k == Debezium) && op == delta.Put && !tooLarge(key, valueLen, headers, RowBytesMax) {
		n, err := canonicalLen(value)
		if err != nil {
			return err
		}
		valueLen = max(valueLen, n)
	}
	if tooLarge(key, valueLen, headers, RowBytesMax) {
		return delta.Refuse("the row would have %d bytes: key, value and headers, %s among them, have at most %d together",
			rowBytes(key, valueLen, headers), delta.HeaderOp, RowBytesMax)
	}
	return nil
}
