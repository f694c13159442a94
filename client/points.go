package client

import (
	"cmp"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
)

// pointsMax is how many points of a state the log is asked about, its position included.
const pointsMax = 16

// point is the digest of the state at one offset, with the log start that it respects.
type point struct {
	offset int64
	digest digest.Digest
	start  int64
}

// verifiedCut is a cut at which the state was equal to the log, and when that was first found, in ms since the epoch; 0: not known.
type verifiedCut struct {
	point
	foundMs int64
}

// verifiedLocked notes that the state was equal to the log at a cut. run stores it.
func (p *partition) verifiedLocked(at point) {
	i, found := slices.BinarySearchFunc(p.verified, at.offset, func(x verifiedCut, offset int64) int { return cmp.Compare(offset, x.offset) })
	if found {
		if x := p.verified[i]; x.point == at && x.foundMs != 0 {
			return // found again: not worth a write
		}
		p.verified = slices.Delete(p.verified, i, i+1)
	}
	p.verified = slices.Insert(p.verified, i, verifiedCut{at, p.r.cfg.Now().UnixMilli()})
	p.verified = p.verified[:min(len(p.verified), pointsMax-1)]
	select {
	case p.keep <- struct{}{}:
	default:
	}
}

// lastVerified is the newest verified cut of the state that is there; false: there is none.
func (p *partition) lastVerified() (verifiedCut, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.verified) == 0 {
		return verifiedCut{}, false
	}
	return p.verified[0], true
}

// verifiedHere notes that s was equal to the log at its own position, if that is a cut: others the log cannot be asked about later.
func (p *partition) verifiedHere(s rows, at point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	isCut := slices.ContainsFunc(p.known, func(f plane.Frame) bool { return f.Cut == at.offset && f.Start == at.start })
	if isCut && p.rows() == s {
		p.verifiedLocked(at)
	}
}

// keepVerified stores what verifiedLocked noted. The state does not depend on it: what is not stored is not asked about after a restart. Of a stored state that
// was never shown nothing was noted, and what is stored stays.
func (p *partition) keepVerified() {
	if p.rows() == nil {
		return
	}
	p.mu.Lock()
	points := slices.Clone(p.verified)
	p.mu.Unlock()
	if err := p.r.stores.keepVerified(p.no, points); err != nil {
		p.log.Warn("replica: the verified cuts are not stored", "err", err)
	}
}
