package main

import (
	"encoding/hex"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// verdictFact is a verdict in JSON: the digests whole, where they are known.
func verdictFact(v client.Verdict) (columns []string, values []any) {
	compared := v.Outcome == client.Equal || v.Outcome == client.Drifted
	rows, sum := digestFact(v.Ours, compared || v.Ours != digest.Digest{})
	logRows, logSum := digestFact(v.Logs, compared)
	return []string{"partition", "offset", "verdict", "rows", "digest", "log_rows", "log_digest", "reason", "error"},
		[]any{v.Partition, v.At, v.Outcome.String(), rows, sum, logRows, logSum, given(v.Reason), givenError(v.Err)}
}

func digestFact(d digest.Digest, known bool) (rows, sum any) {
	if !known {
		return absent{}, absent{}
	}
	b := d.Sum.Bytes()
	return d.Count, hex.EncodeToString(b[:])
}

// given leaves out what is empty.
func given(text string) any {
	if text == "" {
		return absent{}
	}
	return text
}

func givenError(err error) any {
	if err == nil {
		return absent{}
	}
	return err.Error()
}

// eventFact is an event in JSON.
func eventFact(e client.Event) (columns []string, values []any) {
	repair, rows := any(absent{}), any(absent{})
	if r := e.Repair; r != nil {
		repair = object{[]string{"cause", "keys", "method", "bytes", "round_trips", "took_ms"},
			[]any{r.Cause.String(), r.Keys, string(r.Method), r.Bytes, r.RoundTrips, float64(r.Duration.Microseconds()) / 1000}}
	} else if e.Rows > 0 {
		rows = e.Rows
	}
	return []string{"partition", "offset", "event", "rows", "repair", "error"},
		[]any{e.Partition, e.Offset, e.Kind.String(), rows, repair, givenError(e.Err)}
}
