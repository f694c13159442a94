// Package plane is the state plane of one topic as clients ask it: what is known of partitions and their key frames, how a state becomes current,
// the bytes of frames, and what differs from one. Answers are checked for what they must hold as soon as they come: a frame's pub is the hash over what
// else is said of it, an answer is about what was asked.
//
//	p := plane.New(http.DefaultClient, "http://127.0.0.1:9094", "files")
//	err := p.Frames(ctx, nil, false, func(parts []plane.Partition, frames []plane.Frame) error { ... })
//	body, err := p.Download(ctx, plane.Whole(0, cut), etag, pause)
//
// A call of which nothing comes for a minute is broken off (ErrSilent). A stream without an end may have nothing to tell for long; the broker promises how
// often it says so (every 10 s), and three times as long is waited for. A call is made once; who asks again, and how often, is the caller's business, with
// what CodeOf, ReasonOf, Passing and ClassifyRepair tell of an error.
package plane
