package engine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// asideDir is where the files of a table database are that its owner has given up.
const asideDir = tableDir + ".damaged"

// SetTableAside renames the files of the table database, which is closed if it is open, so that OpenTableDB creates a new one. What was set aside before
// is removed, with a line in the log. It returns where they are; "": there were no sstables. For a copy: its owner can have all of it anew.
func (d *Dir) SetTableAside() (path string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.readOnly {
		return "", fmt.Errorf("data directory %s: table database set aside after Close, or of a directory that is open for reading only", d.cfg.Dir)
	}
	if d.tabDB != nil {
		if err := d.tabDB.Close(); err != nil {
			d.cfg.Logger.Warn("closing a damaged database", "db", tableDir, "err", err)
		}
		d.tabDB = nil
	}
	fs := d.cfg.FS
	from, to := fs.PathJoin(d.cfg.Dir, tableDir), fs.PathJoin(d.cfg.Dir, asideDir)
	names, err := fs.List(from)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("data directory %s: %w", d.cfg.Dir, err)
	case !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, ".sst") }):
		err = fs.RemoveAll(from) // it may be what Pebble makes before it finds that there is none
	default:
		path, err = to, d.replaceAside(fs, from, to)
	}
	if err != nil {
		return "", fmt.Errorf("set %s aside: %w", from, err)
	}
	// The database is one that was created until its files are elsewhere, for good: whoever finds it half done does it again.
	if err := fs.Remove(fs.PathJoin(d.cfg.Dir, tableDir+createdSuffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("data directory %s: %w", d.cfg.Dir, err)
	}
	return path, syncDir(fs, d.cfg.Dir)
}

func (d *Dir) replaceAside(fs vfs.FS, from, to string) error {
	if _, err := fs.Stat(to); err == nil {
		d.cfg.Logger.Warn("removing what was set aside before", "path", to)
		if err := fs.RemoveAll(to); err != nil {
			return err
		}
	}
	if err := fs.Rename(from, to); err != nil {
		return err
	}
	return syncDir(fs, d.cfg.Dir)
}

// TablePath is where the files of the table database are.
func (d *Dir) TablePath() string { return d.cfg.FS.PathJoin(d.cfg.Dir, tableDir) }

// OpenAside opens what SetTableAside has set aside, for reading only, as far as it can be opened. The caller closes it.
func (d *Dir) OpenAside() (*pebble.DB, *pebble.Options, error) {
	opts := d.tableOptions()
	opts.FS, opts.ReadOnly, opts.ErrorIfNotExists = readFS{readOnlyFS{d.cfg.FS}}, true, true
	path := d.cfg.FS.PathJoin(d.cfg.Dir, asideDir)
	_, err := examine(d.cfg.FS, path)
	if err != nil {
		return nil, nil, refused(asideDir, path, err)
	}
	db, err := openBounded(path, opts)
	if err != nil {
		return nil, nil, refused(asideDir, path, err)
	}
	return db, opts, nil
}
