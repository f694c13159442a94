package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/damage"
)

// Damage at the end of a blob file ends no process, whoever meets it, a compaction too; and it names the file.
func TestDamagedBlobFooterIsAnError(t *testing.T) {
	for _, remove := range []bool{false, true} {
		fs := written(t)
		d, err := OpenReadOnly(Config{Dir: "/d", FS: fs}) // no compaction takes a file away
		require.NoError(t, err)
		db, err := d.OpenLogDB()
		require.NoError(t, err)
		files := contents(t, fs, "/d/log")
		var blobs []string
		for path, text := range files {
			if !strings.HasSuffix(path, ".blob") {
				continue
			}
			blobs = append(blobs, path)
			b := []byte(text)
			b[len(b)-20] ^= 0x5a
			if put(t, fs, path, string(b)); remove {
				require.NoError(t, fs.Remove(path))
			}
		}
		require.NotEmpty(t, blobs)
		it, err := db.NewIter(nil)
		require.NoError(t, err)
		met := 0
		for ok := it.First(); ok; ok = it.Next() {
			_, err := it.ValueAndErr()
			var damaged *damage.Error
			if errors.As(err, &damaged) {
				require.Contains(t, blobs, damaged.Path)
				met++
			}
		}
		require.Positive(t, met)
		_ = it.Close()
		require.Positive(t, d.Metrics().Log.Corruptions)
		require.NoError(t, d.Close())
	}
}
