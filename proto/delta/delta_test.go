package delta_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/delta"
)

func TestOps(t *testing.T) {
	for number, name := range map[delta.Op]string{1: "put", 2: "delete", 3: "merge", 4: "add"} {
		op, err := delta.ParseOp(name)
		require.NoError(t, err)
		require.Equal(t, number, op, "the numbers are stored")
		require.Equal(t, name, op.String())
	}
	require.Equal(t, "op 0", delta.Op(0).String())
	require.Equal(t, "op 5", delta.Op(5).String())
}

func TestUnknownOps(t *testing.T) {
	for _, name := range []string{"", "Put", "put ", "upsert", "op 5", strings.Repeat("x", 1<<20)} {
		_, err := delta.ParseOp(name)
		var refusal *delta.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, refusal.Reason, err.Error())
		require.Less(t, len(refusal.Reason), 200, "a reason is short, whatever the record holds")
	}
}
