package kafka

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every API of the dispatch table has its error codes counted, wherever in the answer they stand.
func TestErrorCodesOfEveryAPIAreSeen(t *testing.T) {
	for key := range handlers() {
		answer := kmsg.ResponseForKey(key)
		places := failed(reflect.ValueOf(answer))
		require.Positive(t, places, kmsg.NameForKey(key))
		seen := map[int16]int{}
		errorCodes(answer, func(code int16) { seen[code]++ })
		require.Positive(t, seen[41], "%s has %d error codes, none is counted", kmsg.NameForKey(key), places)
	}
}

// failed sets every error code in v, and in one element of each list, to 41, and returns how many there are.
func failed(v reflect.Value) (places int) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			places = failed(v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		places = failed(v.Index(0))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			return 0
		}
		for i := range v.NumField() {
			if f := v.Field(i); v.Type().Field(i).Name == "ErrorCode" {
				f.SetInt(41)
				places++
			} else {
				places += failed(f)
			}
		}
	}
	return places
}
