// Package fold holds the pure functions that turn the state of a key and a delta into the next state of the key. Server, replica and
// every tool use these and no others.
//
//	d, err := fold.Counter.Delta(record.Key, record.Value, record.Headers) // what the delta alone shows; *delta.Refusal
//	f := fold.NewFolder(fold.Counter, fold.RowBytesMax)
//	next, rejected := f.Apply(state, d)                                     // total: what only the state shows
//
// # The folds, version 1
//
//	fold               ops                   without keyframe.op    state
//	last-value         put, delete           put                    the last value
//	json-merge-patch   put, delete, merge    merge                  a JSON document, canonical
//	counter            put, delete, add      add                    ASCII decimal int64
//	debezium           put, delete           the event's            a JSON document, canonical
//
// A null value without an operation is a delete. A put needs a value, a delete has none. Adding to an absent key starts at 0, merging into
// one starts from nothing (RFC 7396).
//
// # Change events of Debezium
//
// Without keyframe.op the value of a debezium record is a change event as Kafka Connect's JsonConverter writes it, with schemas.enable true
// or false:
//
//	{"before": ..., "after": {"id": 7, "name": "a"}, "source": {...}, "op": "u", "ts_ms": ...}
//	{"schema": {...}, "payload": {"before": ..., "after": ..., "op": "u", ...}}
//
//	op         row
//	c, u, r    after, which must be there
//	d          none: deleted, whatever after says; so does a null value, and a null payload
//	t, m       refused, as any other: neither is a change of one key
//
// The row is the after-image in canonical JSON, not byte for byte: connectors and their versions spell one row in different ways, and a
// replica that was filled from another snapshot of the same table should have the same digest. Numbers stay exact. before, source and
// schema are read as JSON and dropped. With the header keyframe.op=put, which rows carry, the value is the row itself.
//
// # Size
//
// Key, value and headers of a row have at most RowBytesMax bytes together, a keyframe.op among the headers included whether it is there
// yet or not. A delta that exceeds that alone is refused; one that would make a row exceed it is skipped by the fold, a delete too: its
// tombstone is a row.
//
// # Canonical JSON
//
// The fold emits canonical bytes, so that equal documents hash equal: no white space, members sorted by UTF-16 code units and strings
// escaped as in RFC 8785. Numbers keep their exact decimal value, which RFC 8785 does not: 9007199254740993 stays what it is. Equal
// numbers have one spelling (1.0, 1e0, 10e-1 and 1 become 1; -0 and 0.0 become 0): all digits but leading and trailing zeros, laid out
// as ECMAScript lays out numbers, with an exponent from 1e+21 on and below 1e-6.
//
// Refused are duplicate members, bad UTF-8, lone surrogates, nesting beyond 256 levels, and numbers that overflow an IEEE 754 double to
// infinity or underflow it to zero: most readers could not read the row.
//
// A merge into a canonical row walks both documents once, in order, and builds no maps.
package fold
