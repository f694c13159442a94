package state_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/proto/batch"
	api "github.com/keyframelog/keyframe/proto/state"
)

// Rows, differences and histories come over plain HTTP as JSON lines: text where it is text, at points as people write them.
func TestLines(t *testing.T) {
	n := newNode(t, 2, nil)
	n.logs[0].Append(memlog.Record(0, "a", []byte("<1>"), batch.Header{Key: "h", Value: []byte("x")}, batch.Header{Key: "n"}), memlog.Put("\xff", "\xff"))
	n.logs[1].Append(memlog.Put("b", ""))
	cut := n.cut().Name
	n.clock.ms.Add(1000)
	n.logs[0].Append(memlog.Put("a", "2"), memlog.Delete("\xff"))
	n.logs[0].Append(memlog.Put("c", "1"))

	row := `{"key":"a","value":"<1>","offset":0,"timestamp":1000000,"partition":0,"headers":[{"key":"h","value":"x"},{"key":"n","value":null}]}`
	changed := `{"key":"a","partition":0,"before":{"value":"<1>","offset":0,"timestamp":1000000},"after":{"value":"2","offset":2,"timestamp":1001000}}`
	for path, want := range map[string][]string{
		"rows?prefix=a&at=" + cut: {row},
		"rows?at=0:2,1:1": {
			row,
			`{"key":"b","value":"","offset":0,"timestamp":1000000,"partition":1}`,
			`{"key_base64":"/w==","value_base64":"/w==","offset":1,"timestamp":1000000,"partition":0}`,
		},
		"rows?limit=1&after=b":                                       {`{"key":"c","value":"1","offset":4,"timestamp":1001000,"partition":0}`},
		"diff?from=" + cut + "&limit=1":                              {changed},
		"diff?from=0:0,1:0&to=0:0,1:0":                               nil,
		"diff?partition=0&from=1&to=3":                               {changed, `{"key_base64":"/w==","partition":0,"after":{"value_base64":"/w==","offset":1,"timestamp":1000000}}`},
		"diff?from=" + cut + "&prefix=%ff":                           {`{"key_base64":"/w==","partition":0,"before":{"value_base64":"/w==","offset":1,"timestamp":1000000}}`},
		"diff?from=1970-01-01T01:16:40.5%2b01:00&after=a&to=0:3,1:1": nil,
		"history?key=a": {
			`{"offset":0,"timestamp":1000000,"partition":0,"op":"put","delta":"<1>","value":"<1>"}`,
			`{"offset":2,"timestamp":1001000,"partition":0,"op":"put","delta":"2","value":"2"}`,
		},
		"history?key=%ff&partition=0&from=2": {
			`{"offset":1,"timestamp":1000000,"partition":0,"value_base64":"/w=="}`,
			`{"offset":3,"timestamp":1001000,"partition":0,"op":"delete","value":null}`,
		},
	} {
		answer, body := n.request(http.MethodGet, "/v1/topics/"+topicName+"/"+path)
		require.Equal(t, http.StatusOK, answer.StatusCode, "%s: %s", path, body)
		require.Equal(t, "application/x-ndjson", answer.Header.Get("Content-Type"))
		var got []string
		for line := range strings.Lines(string(body)) {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
		require.Equal(t, want, got, path)
	}
	for path, want := range map[string]string{
		"files/diff":                    "from is missing",
		"files/history":                 "key is missing",
		"files/diff?form=1":             `did you mean \"from\"`,
		"files/diff?from=yesterday":     "from=yesterday: write an offset",
		"files/rows?limit=many":         "limit=many: write a number",
		"files/rows?at=":                "at=: write an offset",
		"files/rows?limit=":             "limit=: write a number",
		"files/rows?at=0:2,1:1&at=0:3":  "at is given 2 times",
		"files/diff?from=0:0,1:0&to=":   "to=: write an offset",
		"files/history?key=a&key=b":     "key is given 2 times",
		"files/rows?partition=-1":       "partition=-1",
		"files/rows?at=1":               "REASON_AMBIGUOUS_POINT",
		"files/history?key=a&from=0:99": "REASON_AMBIGUOUS_POINT",
		"plain/rows":                    "REASON_NOT_KEY_FRAMED",
		"none/diff?from=1":              "REASON_UNKNOWN_TOPIC",
	} {
		answer, body := n.request(http.MethodGet, "/v1/topics/"+path)
		require.GreaterOrEqual(t, answer.StatusCode, 400, path)
		require.Contains(t, string(body), want, path)
	}
}

// A response that breaks off says why in its last line, and nobody takes it for whole.
func TestLinesThatBreakOff(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) { c.Scans = 1 })
	for i := range 3000 {
		n.logs[0].Append(memlog.Put("a", fmt.Sprint(i)))
	}
	_, err := n.get(&api.GetRequest{Key: []byte("a")}) // the keyframer has read them all then
	require.NoError(t, err)
	n.logs[0].FailFrom(2500, errors.New("the disk is on fire"))
	answer, err := n.http.Get(n.url + "/v1/topics/" + topicName + "/history?key=a")
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	body, err := io.ReadAll(answer.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	all := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	require.Len(t, all, 2048+1, "what was sent before, and the error")
	require.Contains(t, all[len(all)-1], `{"error":{"code":"internal","message":`)
	require.Contains(t, all[len(all)-1], "the disk is on fire")
	n.logs[0].FailFrom(0, nil)
	_, _, _, err = n.scan(&api.ScanRequest{})
	require.NoError(t, err, "its place is free again")
}

func TestParsePoint(t *testing.T) {
	for text, want := range map[string]*api.At{
		"0":                             at(0),
		"0:1,1:20":                      offsets(1, 20),
		"2026-01-02T15:04:05.5Z":        atTime(1767366245500),
		"2026-01-02T16:04:05.500+01:00": atTime(1767366245500),
	} {
		got, err := state.ParsePoint(text)
		require.NoError(t, err, text)
		require.Equal(t, want.String(), got.String(), text)
	}
	for text, want := range map[string]string{"": "write an offset", "-1": "begin at 0", "0:-1": "write", "0:1,": "write", "2026-01-02": "write", "cut": "write"} {
		_, err := state.ParsePoint(text)
		require.ErrorContains(t, err, want, text)
	}
}
