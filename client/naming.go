package client

import (
	"context"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
)

func (p *partition) name(cut int64, keys []Difference) int64 {
	n := namer{p: p}
	for _, d := range keys {
		n.name(d)
	}
	return n.end(cut)
}

// nameDifferences tells which keys differ from the frame at whose cut the state stands, and changes nothing.
func (p *partition) nameDifferences(ctx context.Context, f plane.Frame) {
	c := p.comparison(p.rows(), f)
	if err := c.rehash(); err != nil {
		p.unnamed(ctx, f.Cut, err)
		return
	}
	p.nameAll(ctx, c)
}

// named is a frame and the rows that differed from it.
type named struct {
	pub  [32]byte
	rows digest.Digest
}

// nameAll is nameDifferences of rows that were hashed; false: they could not be found out.
func (p *partition) nameAll(ctx context.Context, c *comparison) bool {
	f := c.plane.Of
	c.plane.Naming, c.always = true, true
	d, _, err := c.mend(ctx, func(*comparison, findings) error { return nil })
	if err != nil {
		p.unnamed(ctx, f.Cut, err)
		return false
	}
	p.log.Error("what differs", "cut", f.Cut, "cause", c.cause().String(), "keys", len(d.keys))
	p.name(f.Cut, d.keys)
	return true
}

func (p *partition) unnamed(ctx context.Context, cut int64, err error) {
	if ctx.Err() == nil {
		p.log.Error("which keys differ could not be found out", "cut", cut, "err", err)
	}
}

// nameHere is nameDifferences where the state stands, with no frame at its position, as a directory is compared.
func (p *partition) nameHere(ctx context.Context) {
	s := p.rows()
	c := &dirCopy{rows: s, no: p.no, at: s.position(), start: p.start.Load()}
	v := &dirVerifier{cfg: p.r.cfg, plane: p.r.plane, name: p.r.name}
	var err error
	var logs map[int32]logInfo
	d := DirVerdict{Verdict: Verdict{Topic: p.r.cfg.Topic, Partition: p.no, At: c.at}}
	if c.kept, _, err = s.entries(func(_ []byte, e digest.Entry) { c.stored.Add(e) }); err == nil {
		logs, err = v.logs(ctx, &p.no)
	}
	if err == nil {
		d, err = v.compare(ctx, d, c, logs[p.no])
	}
	if err == nil {
		err = d.Unnamed
	}
	if err != nil {
		p.unnamed(ctx, c.at, err)
		return
	}
	p.log.Error("what differs", "cut", d.At, "cause", d.Cause.String(), "keys", len(d.Differs))
	p.name(d.At, d.Differs)
}
