package damage

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	require.NoError(t, Of(nil))
	require.Equal(t, io.EOF, Of(io.EOF))
	fs := vfs.NewMem()
	options := &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation}
	db, err := pebble.Open("db", options)
	require.NoError(t, err)
	require.NoError(t, db.Set([]byte("key"), []byte("value"), pebble.Sync))
	require.NoError(t, db.Flush())
	require.NoError(t, db.Close())
	names, err := fs.List("db")
	require.NoError(t, err)
	for _, name := range names {
		if fs.PathBase(name)[len(name)-4:] != ".sst" {
			continue
		}
		f, err := fs.OpenReadWrite("db/"+name, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{0x5a, 0x5a}, 4)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	options.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
	db, err = pebble.Open("db", options)
	require.NoError(t, err)
	_, _, err = db.Get([]byte("key"))
	require.Error(t, err)
	require.NoError(t, db.Close())

	err = Of(fmt.Errorf("read it: %w", errors.Join(err, err)))
	var damaged *Error
	require.ErrorAs(t, err, &damaged)
	require.Regexp(t, `^db/\d+\.sst is damaged: block \d+/\d+: crc32c checksum mismatch \w+ != \w+$`, err.Error())
	require.True(t, pebble.IsCorruptionError(err))
	require.Equal(t, err, Of(err))
	require.Equal(t, err, Join(err, damaged.Err))
	require.Equal(t, "EOF", Join(nil, io.EOF).Error())
	require.Equal(t, "log/MANIFEST-000009 is damaged at byte 39: why", (&Error{Path: "log/MANIFEST-000009", Offset: 39, Why: "why"}).Error())
}
