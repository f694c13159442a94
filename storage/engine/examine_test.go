package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/damage"
)

// written has a log database with tables, a blob file and records in its last WAL, one sync each.
func written(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	for run := range 3 {
		d, err := OpenDir(Config{Dir: "/d", FS: fs})
		require.NoError(t, err)
		db, err := d.OpenLogDB()
		require.NoError(t, err)
		_, _, err = d.OpenTableDB()
		require.NoError(t, err)
		for i := range 40 {
			if i == 20 {
				require.NoError(t, db.Flush())
			}
			key := fmt.Appendf(nil, "%d-%02d", run, i)
			require.NoError(t, db.Set(key, bytes.Repeat(key, 300), pebble.Sync))
		}
		if run == 2 { // as kill -9 leaves it
			fs = fs.CrashClone(vfs.CrashCloneCfg{})
		}
		require.NoError(t, d.Close())
	}
	return fs
}

// openFlipped opens a copy in which bytes of one file are flipped.
func openFlipped(t *testing.T, clean *vfs.MemFS, path, text string, at, n int) error {
	t.Helper()
	fs := vfs.NewMem()
	_, err := vfs.Clone(clean, fs, "/d", "/d")
	require.NoError(t, err)
	b := []byte(text)
	for i := at; i < min(at+n, len(b)); i++ {
		b[i] ^= 0x5a
	}
	put(t, fs, path, string(b))
	before := contents(t, fs, "/d/log")
	d, err := OpenDir(Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	_, err = d.OpenLogDB()
	if err != nil {
		require.Equal(t, before, contents(t, fs, "/d/log"), "something was changed")
	}
	require.NoError(t, d.Close())
	return err
}

func lastFile(files map[string]string, part string) (path string) {
	for name := range files {
		if strings.Contains(name, part) && name > path {
			path = name
		}
	}
	return path
}

// Pebble takes damage in a MANIFEST for its end, and then deletes every file that is not named before it.
func TestDamagedManifestIsRefused(t *testing.T) {
	clean := written(t)
	files := contents(t, clean, "/d/log")
	path := lastFile(files, "/MANIFEST-")
	text := files[path]
	for _, n := range []int{1, 4} {
		for at := range len(text) {
			err := openFlipped(t, clean, path, text, at, n)
			var damaged *damage.Error
			require.ErrorAs(t, err, &damaged, "%d bytes at %d of %d", n, at, len(text))
			require.Equal(t, path, damaged.Path)
			require.LessOrEqual(t, damaged.Offset, int64(at))
			require.ErrorContains(t, err, "no data was changed")
		}
	}
	require.NoError(t, openFlipped(t, clean, path, text, 0, 0))
}

// A file that is missing is told as damage is, whichever it is.
func TestMissingFilesAreNamed(t *testing.T) {
	for _, part := range []string{"/marker.manifest", "/marker.format-version", "/MANIFEST-"} {
		fs := vfs.NewMem()
		_, err := vfs.Clone(written(t), fs, "/d", "/d")
		require.NoError(t, err)
		for path := range contents(t, fs, "/d/log") {
			if strings.Contains(path, part) {
				require.NoError(t, fs.Remove(path))
			}
		}
		d, err := OpenDir(Config{Dir: "/d", FS: fs})
		require.NoError(t, err)
		_, err = d.OpenLogDB()
		var damaged *damage.Error
		require.ErrorAs(t, err, &damaged, part)
		require.ErrorContains(t, err, "missing", part)
		require.ErrorContains(t, err, "no data was changed", part)
		require.NoError(t, d.Close())
	}
}

// A crash cuts off the MANIFEST's last record at a sector, or leaves sectors of it unwritten.
func TestTornManifestIsOpened(t *testing.T) {
	clean := written(t)
	files := contents(t, clean, "/d/log")
	path := lastFile(files, "/MANIFEST-")
	whole := int64(len(files[path]))
	check := func(text string) error {
		fs := vfs.NewMem()
		put(t, fs, "/m", text)
		return checkManifest(fs, "/m")
	}
	record := bytes.Repeat([]byte("edit"), 4000)
	f := format{header: editHeader, typeMin: typeFull, typeMax: typeLast}
	torn := files[path] + string(sealed(f, typeFull, 0, record))
	require.NoError(t, check(torn))
	for sector := (whole/sectorBytes + 1) * sectorBytes; sector < int64(len(torn)); sector += sectorBytes {
		require.NoError(t, check(torn[:sector]), "ends at %d", sector)
		end := min(sector+sectorBytes, int64(len(torn)))
		require.NoError(t, check(torn[:sector]+strings.Repeat("\x00", int(end-sector))+torn[end:]), "a gap at %d", sector)
	}
	require.NoError(t, check(torn[:whole]+strings.Repeat("\x00", len(torn)-int(whole))))
	// The same gap with a record behind it is damage: that record was written after this one had been synced.
	gap := torn[:whole] + strings.Repeat("\x00", len(torn)-int(whole)) + string(sealed(f, typeFull, 0, record))
	require.Error(t, check(gap))
}

// Wherever the record begins, what a crash has not written of it are sectors.
func TestTornManifestIsOpenedWhereverItsLastRecordBegins(t *testing.T) {
	f := format{header: editHeader, typeMin: typeFull, typeMax: typeLast}
	for first := 480; first < 520; first++ {
		whole := string(sealed(f, typeFull, 0, bytes.Repeat([]byte("e"), first-editHeader)))
		for _, size := range []int{40, 600, 1300} {
			text := whole + string(sealed(f, typeFull, 0, bytes.Repeat([]byte("edit"), size/4)))
			sectors := (len(text) + sectorBytes - 1) / sectorBytes
			for lost := range 1 << sectors {
				b := []byte(text)
				for i := first; i < len(b); i++ {
					if lost>>(i/sectorBytes)&1 != 0 {
						b[i] = 0
					}
				}
				fs := vfs.NewMem()
				put(t, fs, "/m", string(b))
				require.NoError(t, checkManifest(fs, "/m"), "record of %d at %d, without the sectors %b", size, first, lost)
			}
		}
	}
}

// Zeros to the end of the file are damage, but where a crash may have left them: they begin at a record (in its header, for what that tells), or in the last one.
func TestZeroTailOfManifestIsRefused(t *testing.T) {
	f := format{header: editHeader, typeMin: typeFull, typeMax: typeLast}
	var text string
	var begins []int
	for size := range 12 {
		begins = append(begins, len(text))
		text += string(sealed(f, typeFull, 0, bytes.Repeat([]byte{1}, 50+10*size)))
	}
	last := begins[len(begins)-1]
	told := 0
	for at := range len(text) {
		fs := vfs.NewMem()
		put(t, fs, "/m", text[:at]+strings.Repeat("\x00", len(text)-at))
		err := checkManifest(fs, "/m")
		begin := at - begins[max(0, sort.SearchInts(begins, at+1)-1)] // in its record
		if at > last || at > 0 && begin < editHeader {
			continue
		}
		var damaged *damage.Error
		require.ErrorAs(t, err, &damaged, "from %d of %d", at, len(text))
		require.Equal(t, int64(at-begin), damaged.Offset)
		told++
	}
	require.Greater(t, told, len(text)*3/4)

	clean := written(t)
	path := lastFile(contents(t, clean, "/d/log"), "/MANIFEST-")
	fs := vfs.NewMem()
	_, err := vfs.Clone(clean, fs, "/d", "/d")
	require.NoError(t, err)
	put(t, fs, path, "")
	d, err := OpenDir(Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	before := contents(t, fs, "/d/log")
	_, err = d.OpenLogDB()
	require.EqualError(t, err, "open log database: "+path+" is damaged at byte 0: it is empty: no data was changed")
	require.Equal(t, before, contents(t, fs, "/d/log"))
	require.NoError(t, d.Close())
}

// sealed is a chunk.
func sealed(f format, typ byte, synced uint64, payload []byte) []byte {
	b := make([]byte, f.header, f.header+len(payload))
	b[4], b[5], b[6] = byte(len(payload)), byte(len(payload)>>8), typ
	if f.header == walHeader {
		copy(b[7:], []byte{byte(f.logNumber), byte(f.logNumber >> 8), 0, 0})
		copy(b[11:], []byte{byte(synced), byte(synced >> 8), 0, 0, 0, 0, 0, 0})
	}
	b = append(b, payload...)
	sum := checksum(b[6:])
	copy(b, []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	return b
}

// Damage in the last WAL is told from its end by the syncs that came later.
func TestDamagedWALIsRefused(t *testing.T) {
	clean := written(t)
	files := contents(t, clean, "/d/log")
	path := lastFile(files, ".log")
	text := strings.TrimRight(files[path], "\x00")
	require.NoError(t, openFlipped(t, clean, path, files[path], 0, 0))
	for at := 0; at < len(text)*3/4; at += 97 {
		err := openFlipped(t, clean, path, files[path], at, 4)
		var damaged *damage.Error
		require.ErrorAs(t, err, &damaged, "at %d of %d", at, len(text))
		require.Equal(t, path, damaged.Path)
	}
}

// Chunks that were not synced may be on disk without one before them.
func TestTornWALIsOpened(t *testing.T) {
	f := format{header: walHeader, typeMin: typeWALFull, typeMax: typeWALLast, logNumber: 7}
	check := func(synced ...uint64) error {
		var b []byte
		for i, s := range synced {
			c := sealed(f, typeWALFull, s, bytes.Repeat([]byte{byte(i)}, 3000))
			if i == 1 {
				c[100] ^= 1
			}
			b = append(b, c...)
		}
		fs := vfs.NewMem()
		put(t, fs, "/000007.log", string(b))
		_, err := checkWAL(fs, "/000007.log", 7)
		return err
	}
	require.NoError(t, check(0, 10, 10, 10))
	require.NoError(t, check(0, 10, 10, 20, 20)) // that sync may have begun before the chunks were written
	require.Error(t, check(0, 10, 10, 20, 30))
	require.Error(t, check(0, 10, 5000)) // it says so itself
}

// The first WAL of a new directory holds what the others hold, or damage in it could not be told from its end.
func TestFirstWALRecordsSyncs(t *testing.T) {
	fs := vfs.NewMem()
	d, err := OpenDir(Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	db, err := d.OpenLogDB()
	require.NoError(t, err)
	for i := range 10 {
		require.NoError(t, db.Set([]byte{byte(i)}, bytes.Repeat([]byte{1}, 100), pebble.Sync))
	}
	names, err := fs.List("/d/log") // files come and go, the newest WAL stays
	require.NoError(t, err)
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
	b, err := readFile(fs, fs.PathJoin("/d/log", names[len(names)-1]))
	require.NoError(t, err)
	require.True(t, slices.Contains([]byte{typeWALFull, typeWALFull + 1}, b[6]), "type %d", b[6])
	require.NoError(t, d.Close())
}

// Pebble itself finds damage in a WAL that is not the last: each of them was closed, so none ends early.
func TestDamagedEarlierWALIsNamed(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var hold atomic.Bool
	released := make(chan struct{})
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hold.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			<-released // no flush ends before the crash
		}
		return nil
	}))
	d, err := OpenDir(Config{Dir: "/d", FS: fs, MemTableBytes: 64 << 10})
	require.NoError(t, err)
	db, err := d.OpenLogDB()
	require.NoError(t, err)
	hold.Store(true)
	for i := range 100 {
		require.NoError(t, db.Set([]byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, 1000), pebble.Sync))
	}
	image := mem.CrashClone(vfs.CrashCloneCfg{})
	close(released)
	require.NoError(t, d.Close())
	var wals []string
	files := contents(t, image, "/d/log")
	for path, text := range files {
		if strings.HasSuffix(path, ".log") && len(strings.TrimRight(text, "\x00")) > 1000 {
			wals = append(wals, path)
		}
	}
	require.GreaterOrEqual(t, len(wals), 2)
	slices.Sort(wals)
	require.NoError(t, openFlipped(t, image, wals[0], files[wals[0]], 0, 0))
	err = openFlipped(t, image, wals[0], files[wals[0]], 20_000, 4)
	require.EqualError(t, err, "open log database: "+wals[0]+" is damaged: a record is not as it was written: no data was changed")
}

// Behind the end of a WAL is nothing, the mark that it was closed, or what an earlier WAL left in its file. All else is noticed.
func TestUnfinishedRecordIsNoticed(t *testing.T) {
	fs := vfs.NewCrashableMem()
	d, err := OpenDir(Config{Dir: "/d", FS: fs, MemTableBytes: 64 << 10})
	require.NoError(t, err)
	db, err := d.OpenLogDB()
	require.NoError(t, err)
	recycled := 0
	for i := range 60 { // each larger than a block, so that some blocks of a file have no chunk's begin but at their own
		value := bytes.Repeat([]byte{byte(i), 1}, 10_000+i*100)
		require.NoError(t, db.Set(fmt.Appendf(nil, "%02d", i), value, pebble.Sync))
		image := fs.CrashClone(vfs.CrashCloneCfg{})
		torn, err := examine(image, "/d/log")
		require.NoError(t, err)
		require.Empty(t, torn)
		files := contents(t, image, "/d/log")
		path := lastFile(files, ".log")
		number, err := strconv.ParseUint(strings.TrimSuffix(image.PathBase(path), ".log"), 10, 64)
		require.NoError(t, err)
		r := reading{format: format{header: walHeader, typeMin: typeWALFull, typeMax: typeWALLast, logNumber: uint32(number)}}
		r.evidence = func(int64, chunk) bool { return false }
		_, err = r.read(image, path)
		require.NoError(t, err)
		if r.earlier {
			recycled++
		}
	}
	require.NoError(t, d.Close())
	require.Positive(t, recycled)

	clean := written(t)
	files := contents(t, clean, "/d/log")
	path := lastFile(files, ".log")
	text := strings.TrimRight(files[path], "\x00")
	number, err := strconv.ParseUint(strings.TrimSuffix(clean.PathBase(path), ".log"), 10, 64)
	require.NoError(t, err)
	from := len(text) - 400 // within the last record
	for at := from; at < len(text); at++ {
		b := []byte(files[path])
		b[at] ^= 0x5a
		fs := vfs.NewMem()
		put(t, fs, "/w", string(b))
		torn, err := checkWAL(fs, "/w", number)
		require.NoError(t, err)
		require.NotEmpty(t, torn, "at %d of %d", at, len(text))
	}

	b := []byte(files[path])
	b[from] ^= 0x5a
	put(t, clean, path, string(b))
	var out bytes.Buffer
	d, err = OpenDir(Config{Dir: "/d", FS: clean, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	require.NoError(t, err)
	_, err = d.OpenLogDB()
	require.NoError(t, err)
	require.Len(t, d.Notices(), 1)
	require.Contains(t, out.String(), "level=WARN msg=\""+d.Notices()[0])
	require.NoError(t, d.Close())
}
