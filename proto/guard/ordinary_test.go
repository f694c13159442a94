package guard

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ordinary fills a request as a large client would: names of at least eight bytes, and n elements in each outermost array.
func ordinary(v reflect.Value, n, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Version" && f.Name != "UnknownTags" {
				ordinary(v.Field(i), n, depth)
			}
		}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.New(v.Type().Elem()))
			ordinary(v.Elem(), n, depth)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(make([]byte, 70)) // records, metadata
			return
		}
		if depth > 0 {
			n = 1 // one partition a topic is the worst relation of structures to bytes
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			ordinary(v.Index(i), n, depth+1)
		}
	case reflect.String:
		v.SetString("orders-1")
	}
}

// The bound on memory must not refuse what honest clients send: tens of thousands of topics, in every version.
func TestOrdinaryRequestsPass(t *testing.T) {
	for _, r := range schemas() {
		for version := r.min; version <= r.max; version++ {
			t.Run(fmt.Sprintf("%s v%d", r.name, version), func(t *testing.T) {
				req := kmsg.RequestForKey(r.key)
				ordinary(reflect.ValueOf(req).Elem(), 20_000, 0)
				req.SetVersion(version)
				body := req.AppendTo(nil)
				require.NoError(t, Scan(r.key, version, body), "%d bytes", len(body))
			})
		}
	}
}
