package catalog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

func named(s string) QuotaName { return QuotaName{Kind: QuotaNamed, Name: s} }

func goldenQuotas() Quotas {
	return Quotas{QuotaEntity{User: QuotaName{Kind: QuotaDefault}, ClientID: named("app")},
		[]Quota{{"consumer_byte_rate", 1 << 20}, {"request_percentage", 12.5}}}
}

func TestQuotasSurviveACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c, db := open(t, fs)
	defer func() { require.NoError(t, db.Close()) }()
	want := goldenQuotas()
	ip := Quotas{QuotaEntity{IP: named("10.0.0.1")}, []Quota{{"connection_creation_rate", 10}}}
	require.NoError(t, c.PutQuotas([]Quotas{want, ip}))
	got, err := afterCrash(t, fs).Quotas()
	require.NoError(t, err)
	require.ElementsMatch(t, []Quotas{want, ip}, got)

	want.Values = want.Values[:1]
	ip.Values = nil
	require.NoError(t, c.PutQuotas([]Quotas{want, ip}))
	got, err = afterCrash(t, fs).Quotas()
	require.NoError(t, err)
	require.Equal(t, []Quotas{want}, got)
}

func TestQuotaEntitiesThatCannotBe(t *testing.T) {
	c, db := open(t, vfs.NewMem())
	defer func() { require.NoError(t, db.Close()) }()
	for _, e := range []QuotaEntity{{}, {User: QuotaName{Kind: QuotaNamed}}, {User: QuotaName{Kind: 7}}, {IP: QuotaName{Kind: QuotaDefault, Name: "x"}}} {
		require.ErrorIs(t, c.PutQuotas([]Quotas{{Entity: e}}), ErrInvalid)
	}
}

func FuzzDecodeQuotas(f *testing.F) {
	key, err := quotaKey(goldenQuotas().Entity)
	require.NoError(f, err)
	f.Add(key, encodeQuotas(goldenQuotas().Values))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(key) > 0 && key[0] == keys.SpaceQuota {
			if e, err := decodeQuotaKey(key); err == nil {
				again, err := quotaKey(e)
				if err == nil {
					back, err := decodeQuotaKey(again)
					require.NoError(t, err)
					require.Equal(t, e, back)
				}
			}
		}
		if values, err := decodeQuotas(value); err == nil {
			require.NotEmpty(t, values)
		}
	})
}
