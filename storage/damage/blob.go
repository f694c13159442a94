package damage

import "github.com/cockroachdb/pebble/v2"

// SomeBlob is the Path of damage of which nobody says the file.
const SomeBlob = "a blob file"

// Value fetches the value under an iterator; it is valid until the iterator moves. A blob file that was missing when the database
// was opened, or has a damaged footer, makes Pebble 2.1.7 panic while it reports the damage (reportCorruption does not know blob
// files); for a reader that is damage like any other, and the iterator can go on. The error is an *Error then, of SomeBlob.
func Value(it *pebble.Iterator) (value []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, &Error{Path: SomeBlob, Offset: -1, Why: "it is missing, or its end is not as it was written", Err: pebble.ErrCorruption}
		}
	}()
	return it.ValueAndErr()
}
