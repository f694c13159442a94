package guard

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// All arrays of a request count, whatever their elements are and however they are nested: a Metadata of 42 MB with six million names took 3 GB.
func TestElementsAreBounded(t *testing.T) {
	name := "name"
	metadata := func(n int) kmsg.Request {
		return &kmsg.MetadataRequest{Version: 8, Topics: slices.Repeat([]kmsg.MetadataRequestTopic{{Topic: &name}}, n)}
	}
	offsets := func(n int) kmsg.Request { // two topics, of which each has half of what is left
		t := kmsg.OffsetFetchRequestTopic{Topic: name, Partitions: make([]int32, (n-2)/2)}
		return &kmsg.OffsetFetchRequest{Version: 7, Topics: []kmsg.OffsetFetchRequestTopic{t, t}}
	}
	for _, request := range []func(int) kmsg.Request{metadata, offsets} {
		most, more := request(ElementsMax), request(ElementsMax+2)
		require.NoError(t, Scan(most.Key(), most.GetVersion(), most.AppendTo(nil)))
		require.ErrorIs(t, Scan(more.Key(), more.GetVersion(), more.AppendTo(nil)), ErrTooMany)
	}
}
