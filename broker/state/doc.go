// Package state serves the state plane: one HTTP server (HTTP/1.1 and h2c) with
//
//	/keyframe.state.v1.StateService/*                    the Connect service of proto/state
//	/v1/topics/{topic}/partitions/{p}/frames/{N|latest}  key frames as resources
//	/v1/topics/{topic}/{rows|diff|history}               Scan, Diff and History as JSON, one object a line
//	/metrics, /livez, /readyz
//
// # Key frames
//
// GET streams the frame in the format of proto/frame. ETag is the frame's pub in hex; If-None-Match answers 304. The bytes
// of a frame are a function of its content, so that a range of one response continues another: Range (one range, bytes)
// answers 206, as If-Range allows. Without a range zstd and gzip are negotiated; such a response has the weak form of the
// ETag, since its bytes are others. "latest" names its frame in Content-Location. Keyframe-Cut is the frame's cut.
//
// A frame is one of a cut and a log start, and pub is a hash over both. Where rows expire and no delta comes, the newest frame is superseded by one
// of the same cut (see package keyframer): the same path has another resource then, with another ETag, and a Range with If-Range of the
// former one is answered with the whole of it. Frames announces it as a frame of its own.
//
// If-Match with the ETag that somebody holds a lease of is answered 412 then, and Resume tells what there is instead.
//
// Where rows turn out to be damaged on disk before anything was sent, the answer is REASON_BROKER_CORRUPT; else the connection breaks off, and who asks for
// the rest gets that answer. The keyframer is told, and mends what it can (see its doc); Resume offers no frame that was found damaged.
//
// # What changed since
//
// frames/{N}?since={c} is the consolidated delta: the rows and the tombstones whose last delta lies in [c, N), in the same format, with c in the
// header. Applied to the state at c, together with the frame's start, they make the frame; the footer has the digest to check that by, and is the end
// mark also where nothing has changed. It is a resource of its own, as immutable as the frame: ETag is pub, a dot, and c. c below the tombstone
// horizon is refused (REASON_BELOW_HORIZON), since deletions would be missing.
//
// # Resuming
//
// Resume says how a replica goes on: follow the log (CONTINUE), load what changed since its position (DELTA) or the newest frame (FRAME), find out what
// differs (REPAIR), or begin anew for a reason (RESET). It compares the newest of the replica's points that is known here without a fold: a
// retained frame's, or that of the table where it is folded to. Whatever names a frame comes with a lease (package lease), granted
// in the moment in which the frame is looked up, and durable before the answer. RenewLease looks each time whether what the lease names is there.
//
// What changed is also the answer where the log does reach back to the position, but has at least four deltas for each row of it, beyond the first 8,192: a
// replica that slept through many updates of few keys reads these keys and not the updates. The number of rows is bounded before (Table.RowsSince: one count
// for a frame, whoever asks). Where all leases are out, or the rows cannot be counted, the log is followed.
//
// A repair wants a frame at or above the position: it is the one thing that Resume cuts for, one frame for all who ask.
//
// # Reads
//
// Get and Scan are linearizable by default: they wait, for Config.WaitTimeout at most, until everything that was committed
// when they came is applied. folded and min_offsets ask for less, at for the past.
//
// The past reaches from the delta start offset to the last stable offset, and below where a key frame has just the cut that is asked for. Diff
// compares two points of it, and History tells what each delta did to a key; both are admitted as a scan is.
//
// # Repairs
//
// Sketch, Resolve and Tags are about a retained frame, which is found by its cut. What they answer is of the frame as it is then; the frame that an
// answer comes with tells which one that is, since another may have superseded it (see Key frames). Whatever comes of it is compared with the frame's
// digest at the end. Before the first answer the whole frame is read back and hashed (package repair).
//
// # Watches
//
// Watch tells of rows as they change, and goes on behind any as_of that it has told. It reads on from where it is, at its client's pace: from the
// log what is not folded yet, and from the table what is, so that a key which changed a hundred times meanwhile comes once. Between two
// messages it holds neither log nor tables. Who applies all changes in order has the state at as_of as soon as no row at or above as_of came
// with it; such a row is newer and comes again. A row comes in with linearizable reads: who is caught up knows what was committed when
// the request came.
//
// # Streams without an end
//
// Frames with follow, and Watch, send an empty message where there was nothing to tell for Config.Alive, and say in their first message how long that is.
// Something in between may keep a connection and pass nothing more; a client that hears nothing for three times as long knows, and calls again.
// With 1,000 replicas that is 100 messages a second, for 0.3 % of a core, half of it the clients'.
//
// A key is told as expired if the log start has passed the last row that it had, and as deleted if a delete took that away, at the offset of the one or
// the other and once: who was told of the delete is not told of what it deleted. Of a key that came, and went, above the newest as_of nothing may be
// told but that.
//
// Below the tombstone horizon, and where rows that the log start has passed are not stored any more, a partition begins anew: all rows, then
// caught_up. Such rows are stored until the table is trimmed to a frame at or above the cut at which they left (package table), which is not before the
// log start, or what keyframe.delta.retention.ms and .bytes keep, comes behind that frame.
//
// # JSON lines
//
// What streams is awkward to call by hand in Connect's framing; so GET answers the same as JSON lines, in the form that the command line prints:
//
//	rows?at=POINT&prefix=P&after=KEY&limit=N
//	diff?from=POINT&to=POINT&prefix=P&after=KEY&limit=N
//	history?key=KEY&from=POINT&to=POINT
//
// all with partition=N as well. POINT is what ParsePoint reads. Keys and values are text, or base64 in a member NAME_base64 where they are not UTF-8. An
// error comes with its status, code, reason and message; behind the first line it is the last line, {"error": ...}, and the response
// is cut off, so that nobody takes it for whole.
//
// # Who may ask
//
// There is no authentication yet, so the server is for loopback. A web page elsewhere could still reach it through the
// user's browser; therefore a request is refused unless its Host is a name of this server (or the very address that it
// came in on), and its Origin, if it has one, is that host (DNS rebinding).
package state
