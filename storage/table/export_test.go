package table

// Shrink makes every bound so small that little data reaches each branch.
func (db *DB) Shrink() {
	db.sizes = sizes{windowBytes: 100, segmentRows: 7, pieceLen: 3, cleanRows: 20, smallRows: 4, settleRows: 3, expireRows: 2, expiryBytes: 900, loadBytes: 500,
		streamBytes: 300, apartBytes: 500, tableBytes: 900}
}

// LoadBytes bounds the index entries that are sorted at a time.
func (db *DB) LoadBytes(n int) { db.sizes.loadBytes = n }
