package client

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

const (
	dirStateFile    = "replica.json"
	dirStateVersion = 2
)

// ErrDir is wrapped when a directory is not one that this replica may use.
var ErrDir = errors.New("not this replica's directory")

// dirState is the file replica.json of a replica's directory: whose state each table ordinal is.
type dirState struct {
	Version    int            `json:"version"`
	CRC32C     string         `json:"crc32c,omitempty"` // hex, of the file without this line; while it is written and read only
	Topic      string         `json:"topic"`
	Name       string         `json:"name"`
	Partitions []dirPartition `json:"partitions"`
	// Damaged is why nothing could be loaded beside what is damaged in the tables: who opens them next sets them aside. Empty: nothing is known of such damage.
	Damaged string `json:"damaged,omitempty"`
}

type dirPartition struct {
	Partition   int32  `json:"partition"`
	Ordinal     uint32 `json:"ordinal"`
	TopicID     string `json:"topic_id"`    // hex
	Incarnation string `json:"incarnation"` // hex
	Fold        string `json:"fold"`
	// Verified are cuts at which the state was equal to the log, newest first.
	Verified []dirPoint `json:"verified,omitempty"`
	// Distrusted is the highest offset at which nobody resumes to watch; 0: none.
	Distrusted int64 `json:"distrusted,omitempty"`
	// Halted is the offset at which the state was found to differ from the log when that ended following; 0: it was not, or is equal again.
	Halted int64 `json:"halted,omitempty"`
	// Lost: the table was damaged and set aside; there is no state.
	Lost bool `json:"lost,omitempty"`
}

type dirPoint struct {
	Offset int64  `json:"offset"`
	Count  int64  `json:"count"`
	Sum    string `json:"sum"` // hex
	Start  int64  `json:"start"`
	TimeMs int64  `json:"time_ms,omitempty"` // when that was first found; 0: not known
}

func newDirPoint(p verifiedCut) dirPoint {
	sum := p.digest.Sum.Bytes()
	return dirPoint{Offset: p.offset, Count: p.digest.Count, Sum: hex.EncodeToString(sum[:]), Start: p.start, TimeMs: p.foundMs}
}

func (p dirPoint) cut() (verifiedCut, error) {
	var sum [32]byte
	err := unhex(sum[:], p.Sum)
	if err == nil && (p.Offset < 0 || p.Count < 0 || p.Start < 0 || p.TimeMs < 0) {
		err = fmt.Errorf("offset %d, count %d, start %d, time %d", p.Offset, p.Count, p.Start, p.TimeMs)
	}
	return verifiedCut{point{p.Offset, digest.Digest{Sum: digest.SumFromBytes(sum), Count: p.Count}, p.Start}, p.TimeMs}, err
}

// cuts are the verified ones.
func (p dirPartition) cuts() ([]verifiedCut, error) {
	out := make([]verifiedCut, 0, len(p.Verified))
	for _, v := range p.Verified {
		x, err := v.cut()
		if err != nil {
			return nil, fmt.Errorf("%s, partition %d, verified cut: %w", dirStateFile, p.Partition, err)
		}
		out = append(out, x)
	}
	return out, nil
}

func newDirPartition(ordinal uint32, id table.Identity) dirPartition {
	return dirPartition{
		Partition: id.Partition, Ordinal: ordinal, TopicID: hex.EncodeToString(id.TopicID[:]),
		Incarnation: hex.EncodeToString(id.Incarnation[:]), Fold: id.Fold.String(),
	}
}

func (p dirPartition) identity() (id table.Identity, err error) {
	id.Partition = p.Partition
	id.Fold, err = fold.ParseKind(p.Fold)
	if err := errors.Join(err, unhex(id.TopicID[:], p.TopicID), unhex(id.Incarnation[:], p.Incarnation)); err != nil {
		return id, fmt.Errorf("%s, partition %d: %w", dirStateFile, p.Partition, err)
	}
	return id, nil
}

// table opens the partition's table. One that ends before a cut at which it was equal to the log has lost what it had, though all that is left can be read:
// so it does where the database's manifest ends too early, with zeros, which are the end to who reads it.
func (p dirPartition) table(db *table.DB) (*table.Table, error) {
	id, err := p.identity()
	if err != nil {
		return nil, err
	}
	t, err := db.Table(p.Ordinal, id)
	if err != nil {
		return nil, err
	}
	for _, v := range p.Verified {
		if at := t.Position(); at < v.Offset {
			return nil, &table.CorruptError{Ordinal: p.Ordinal, What: "table", Offset: at, Why: fmt.Sprintf("it ends there, and was equal to the log at %d", v.Offset)}
		}
	}
	return t, nil
}

// unhex decodes what must fill dst.
func unhex(dst []byte, text string) error {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != len(dst) {
		err = fmt.Errorf("field of %d bytes, expected %d", len(b), len(dst))
	}
	copy(dst, b)
	return err
}

// find returns where the entry of a partition is; -1: there is none.
func (s dirState) find(partition int32) int {
	return slices.IndexFunc(s.Partitions, func(p dirPartition) bool { return p.Partition == partition })
}

// with returns a copy in which p replaces what was there of its partition.
func (s dirState) with(p dirPartition) dirState {
	s.Partitions = slices.DeleteFunc(slices.Clone(s.Partitions), func(x dirPartition) bool { return x.Partition == p.Partition })
	s.Partitions = append(s.Partitions, p)
	return s
}

// readDirState reads the file; a directory without one has no state yet.
func readDirState(fs vfs.FS, dir, topic string) (dirState, error) {
	fresh := dirState{Version: dirStateVersion, Topic: topic}
	f, err := fs.Open(fs.PathJoin(dir, dirStateFile))
	if errors.Is(err, os.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<20))
	if err != nil {
		return fresh, err
	}
	s, err := decodeDirState(b)
	if errors.Is(err, ErrDir) {
		return fresh, err
	}
	if err != nil {
		return fresh, &damage.Error{Path: fs.PathJoin(dir, dirStateFile), Offset: -1, Why: strings.TrimPrefix(err.Error(), dirStateFile+": "), Err: err}
	}
	if s.Topic != topic {
		return fresh, fmt.Errorf("%w: it holds topic %q, not %q: use a directory for each topic", ErrDir, s.Topic, topic)
	}
	return s, nil
}

func (s dirState) encode() ([]byte, error) {
	s.CRC32C = ""
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	s.CRC32C = checksum(append(b, '\n'))
	b, err = json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

var checksumLine = regexp.MustCompile(`(?m)^  "crc32c": "[^"]*",\n`)

func checksum(b []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func decodeDirState(b []byte) (s dirState, err error) {
	var is struct{ Version int }
	if err := json.Unmarshal(b, &is); err != nil {
		return s, fmt.Errorf("%s: %w", dirStateFile, err)
	}
	if is.Version != dirStateVersion && is.Version != 1 {
		return s, fmt.Errorf("%w: %s has version %d, this program knows 1 and %d: use the version that wrote it", ErrDir, dirStateFile, is.Version, dirStateVersion)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", dirStateFile, err)
	}
	if is, want := checksum(checksumLine.ReplaceAll(b, nil)), s.CRC32C; want != "" && is != want {
		return s, fmt.Errorf("%s: its checksum is %s, but the file says %s", dirStateFile, is, want)
	}
	s.CRC32C = ""
	if len(s.Name) > nameBytesMax {
		return s, fmt.Errorf("%s: a name of %d bytes", dirStateFile, len(s.Name))
	}
	for _, p := range s.Partitions {
		_, err := p.identity()
		if _, err2 := p.cuts(); err != nil || err2 != nil {
			return s, errors.Join(err, err2)
		}
		if p.Distrusted < 0 || p.Halted < 0 {
			return s, fmt.Errorf("%s, partition %d: distrusted up to %d, halted at %d", dirStateFile, p.Partition, p.Distrusted, p.Halted)
		}
	}
	s.Version = dirStateVersion // version 1 has no name and no verified cuts
	return s, nil
}

// writeDirState replaces the file, durably: a crash leaves the former one or the new one, whole.
func writeDirState(fs vfs.FS, dir string, s dirState) error {
	b, err := s.encode()
	if err != nil {
		return err
	}
	tmp := fs.PathJoin(dir, dirStateFile+".tmp")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(tmp, fs.PathJoin(dir, dirStateFile)); err != nil {
		return err
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
