package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/engine"
)

func readFrame(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	r, err := frame.NewReader(file, 0)
	require.NoError(t, err)
	rows := map[string]string{}
	for {
		block, err := r.Next(nil)
		if footer, ok := r.Footer(); ok {
			require.EqualValues(t, len(rows), footer.Rows)
			return rows
		}
		require.NoError(t, err)
		for row, err := range block.Rows() {
			require.NoError(t, err)
			rows[string(row.Key)] = string(row.Value)
		}
	}
}

// A broker that was restarted leaves a directory without problems, and neither check nor dump makes one where there is none.
func TestCheckAfterARestart(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "d", "--cleanup-policy", "compact")
	for i := range 2 {
		if i > 0 {
			n = startNodeIn(t, n.dir)
		}
		n.run(t, "k\tv\n", "produce", "d")
		require.NoError(t, n.Close())
	}
	out, err := command(t, "", "check", "--data-dir", n.dir)
	require.NoError(t, err, out)
	require.Contains(t, out, "no problem found")

	for _, tool := range []string{"check", "dump"} {
		empty := t.TempDir()
		_, err := command(t, "", tool, "--data-dir", empty)
		require.ErrorIs(t, err, engine.ErrNotADataDir)
		entries, err := os.ReadDir(empty)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

// A damaged record on disk is found by check, never served, and named.
func TestCheckFindsDamage(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "d", "--cleanup-policy", "compact")
	n.run(t, "key-one\tneedle-in-the-log\nkey-two\tother\n", "produce", "d")
	n.run(t, "", "frames", "cut", "d")
	n.run(t, "key-three\tthree\n", "produce", "d")
	require.NoError(t, n.Close())

	out, err := command(t, "", "check", "--data-dir", n.dir)
	require.NoError(t, err, out)
	require.Contains(t, out, "no problem found")
	require.Contains(t, out, "3 deltas folded again, 1 digests compared")
	out, err = command(t, "", "dump", "--data-dir", n.dir, "--format", "jsonl")
	require.NoError(t, err)
	rows := lines(t, out)
	require.Len(t, rows, 2, "the partition and its frame")
	require.EqualValues(t, 3, rows[0]["log_end"])
	require.EqualValues(t, 2, rows[1]["frame_cut"])

	out, err = command(t, "", "check", "--data-dir", n.dir, "--format", "jsonl")
	require.NoError(t, err)
	report := lines(t, out)[0]
	require.EqualValues(t, 3, report["records"])
	require.Empty(t, report["problems"])
	out, err = command(t, "", "check", "--data-dir", n.dir, "--format", "json")
	require.NoError(t, err)
	help, err := command(t, "", "check", "--help")
	require.NoError(t, err)
	requireListOfOne(t, out[strings.Index(out, "["):], help)

	damaged := damageFiles(t, n.dir, []byte("needle-in-the-log"))
	require.Positive(t, damaged)
	out, err = command(t, "", "check", "--data-dir", n.dir)
	require.Error(t, err, "%d file(s) damaged and nothing found:\n%s", damaged, out)
}

// damageFiles flips a bit in every occurrence of what was stored, in files of every kind.
func damageFiles(t *testing.T, dir string, needle []byte) (files int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(data, needle) {
			return err
		}
		files++
		flipped := bytes.Clone(needle)
		flipped[3] ^= 1
		return os.WriteFile(path, bytes.ReplaceAll(data, needle, flipped), 0o644)
	}))
	return files
}
