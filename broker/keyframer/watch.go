package keyframer

// watcher is told that something has changed, not what: it looks.
type watcher struct{ fn func() }

// Watch calls fn whenever something has been applied, a key frame was cut (rows may have expired in it), or the partition has failed or is
// gone. fn must not block, and must not call the partition.
func (p *Partition) Watch(fn func()) (cancel func()) {
	w := &watcher{fn}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers == nil {
		p.watchers = map[*watcher]struct{}{}
	}
	p.watchers[w] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watchers, w)
	}
}

func (p *Partition) changedLocked() {
	for w := range p.watchers {
		w.fn()
	}
}
