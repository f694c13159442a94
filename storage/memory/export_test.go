package memory

// Stored returns the bytes of a row as they lie in memory, for tests that damage them.
func (t *Table) Stored(key []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, id, ok := t.findLocked(t.hash(key), key)
	if !ok {
		return nil
	}
	r := t.rows[id]
	_, size, _ := t.chunks.get(r)
	if ch := &t.chunks.list[r.chunk()]; ch.arena != nil {
		return ch.arena[r.pos() : r.pos()+size]
	}
	return t.chunks.list[r.chunk()].block.Bytes()[r.pos() : r.pos()+size]
}
