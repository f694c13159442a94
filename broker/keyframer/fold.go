package keyframer

import (
	"errors"
	"time"

	"github.com/keyframelog/keyframe/storage/table"
)

// Failed folds are tried again after retryMin, then twice that, up to retryMax.
const (
	retryMin = 200 * time.Millisecond
	retryMax = 30 * time.Second
)

var errFolding = errors.New("keyframer: a fold of the partition is under way already")

// startFold moves the open interval aside and hands it to the folder. It is called by the partition's worker, as Apply is.
func (p *Partition) startFold(a action) {
	p.mu.Lock()
	if a.cut && a.cutTimeMs == 0 && p.held {
		p.mu.Unlock()
		return // a request came in between, and its cut comes first
	}
	anew := a.cut && p.live.Position() == p.lastCut // the frame that is there is superseded, and keeps its time
	if a.cut && a.cutTimeMs == 0 {
		a.cutTimeMs = max(p.k.nowMs(), p.lastCutMs+1) // times of cuts increase, so that they can name cuts
	}
	if a.cut && !anew {
		p.lastCutMs = max(p.lastCutMs, a.cutTimeMs)
		p.cutting, p.since = p.since, interval{}
	}
	p.full = false
	p.folding = make(chan struct{})
	start := min(p.log.Bounds().LogStart, p.live.Position())
	if a.due != nil {
		start = a.due.Start
	}
	from := p.table.Start()
	p.expiring = a.cut && start > from
	expiring := p.expiring
	p.mu.Unlock()
	fold, finish, ok := table.Fold{}, (func(error))(nil), false
	if expiring {
		fold, finish, ok = p.live.StartCut(start)
	} else {
		fold, finish, ok = p.live.StartFold(a.cut)
	}
	if !ok { // p.folding says that there is none
		p.folded(fold, errFolding)
		return
	}
	fold.CutTimeMs = a.cutTimeMs
	if expiring {
		finish = p.noteStuck(from, fold.End, finish)
	}
	p.k.folder.add(job{p: p, fold: fold, finish: finish})
}

// noteStuck takes note if the table's start has not moved from where it was: a table remembers no more than so many moves before it is trimmed.
// The next delta is a new try.
func (p *Partition) noteStuck(from, end int64, finish func(error)) func(error) {
	return func(err error) {
		if err == nil && p.table.Start() == from {
			p.mu.Lock()
			p.stuck = end
			p.mu.Unlock()
		}
		finish(err)
	}
}

// folded is called by the folder.
func (p *Partition) folded(fold table.Fold, err error) {
	p.k.memory.folded(p) // before p.folding says that nothing of the partition is under way
	p.mu.Lock()
	if err == nil {
		p.foldedLocked(fold)
	} else {
		p.unfoldedLocked(fold)
	}
	close(p.folding)
	p.folding, p.expiring = nil, false
	retries, stopped := p.retries, p.stopped
	p.mu.Unlock()

	p.k.memory.release(p.k.steps)
	switch {
	case err == nil:
		if fold.Cut {
			p.logger.Debug("key frame", "cut", fold.End)
			p.topic.notify()
		}
		if fold.Cut || p.table.SettleDue() {
			p.k.upkeep.add(&p.upkeep)
		}
	case stopped != nil || errors.Is(err, ErrClosed):
		return
	case ofOneTable(err):
		p.failFor(err)
		return
	default:
		p.logger.Error("a fold failed and is tried again", "end", fold.End, "attempt", retries, "error", err)
	}
	p.k.steps.add(&p.steps)
}

func (p *Partition) foldedLocked(fold table.Fold) {
	p.retries, p.retryMs = 0, 0
	if !fold.Cut {
		return
	}
	p.lastCut = fold.End
	p.passDueLocked(fold.End)
	p.cutting = interval{}
	p.changedLocked()
	if p.request != nil && p.request.target == fold.End {
		p.answerLocked()
	}
}

func (p *Partition) unfoldedLocked(fold table.Fold) {
	if fold.Cut {
		p.since, p.cutting = p.cutting.plus(p.since), interval{}
	}
	wait := min(retryMin<<min(p.retries, 10), retryMax)
	p.retries++
	p.retryMs = p.k.nowMs() + wait.Milliseconds()
}
