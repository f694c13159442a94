package quota

import (
	"fmt"
	"math"
)

// Kind is what a quota bounds.
type Kind uint8

const (
	Produce    Kind = iota // bytes of produce requests a second
	Fetch                  // bytes of fetch responses a second
	Request                // time of the broker in percent of one thread
	Mutation               // partitions created and deleted a second
	Connection             // connections from one address a second
	kinds
)

// Key is the kind's name in client quotas.
func (k Kind) Key() string {
	return [kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}[k]
}

// requestWaitMax bounds a wait for the broker's time: Kafka's is one window.
const requestWaitMax = windowMs

// whole says that the kind takes whole numbers only.
func (k Kind) whole() bool { return k == Produce || k == Fetch || k == Connection }

// kindOf finds the kind by its key, among those that an entity can have.
func kindOf(key string, ip bool) (Kind, bool) {
	for k := range kinds {
		if k.Key() == key && (k == Connection) == ip {
			return k, true
		}
	}
	return 0, false
}

// check says what is wrong with a value.
func (k Kind) check(value float64) error {
	const whole = 1e-6 // clients send what they computed
	switch rounded := math.Round(value); {
	case !(value > 0): // not a number, too
		return refuse("Quota %s must be greater than 0", k.Key())
	case k.whole() && value > math.MaxInt64:
		return refuse("Proposed value for %s is too large for a LONG.", k.Key())
	case k.whole() && math.Abs(value-rounded) > whole:
		return refuse("%s cannot be a fractional value.", k.Key())
	}
	return nil
}

// Refusal is why a request cannot be: Kafka's INVALID_REQUEST, or UNSUPPORTED_VERSION for what a later version may have.
type Refusal struct {
	Text        string
	Unsupported bool
}

func (r *Refusal) Error() string { return r.Text }

func refuse(format string, args ...any) error { return &Refusal{Text: fmt.Sprintf(format, args...)} }
