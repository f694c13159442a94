package engine

import "github.com/keyframelog/keyframe/storage/blobfile"

// OpenBlob opens a blob file of the log's database for reading beside Pebble. An iterator over what is in it keeps it there until it is open.
func (d *Dir) OpenBlob(number uint64) (*blobfile.File, error) {
	fs := d.cfg.FS
	return blobfile.Open(fs, fs.PathJoin(d.cfg.Dir, logDir, blobfile.Name(number)))
}
