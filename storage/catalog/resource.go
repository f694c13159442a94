package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Resource is something beside a topic that has configs: a broker, all brokers, a group. What the types mean is the broker's.
type Resource struct {
	Type uint8
	Name string // may be empty
}

// nameConfigs starts the names of the values of C that hold the configs of resources.
const nameConfigs = "configs/"

func resourceKey(r Resource) []byte {
	return keys.Broker(nameConfigs + strconv.Itoa(int(r.Type)) + "/" + r.Name)
}

// SetResourceConfigs replaces what is set on a resource; without configs nothing is kept of it. admit says that clients make up the names of
// such resources, and without end, so that the reserve is asked. Errors: ErrInvalid, the reserve's.
func (c *Catalog) SetResourceConfigs(r Resource, configs []Config, admit bool) error {
	if len(r.Name) > maxNameLen {
		return fmt.Errorf("configs of resource %d %.40q: %w: name", r.Type, r.Name, ErrInvalid)
	}
	configs, err := checkConfigs(configs)
	if err != nil {
		return fmt.Errorf("configs of resource %d %q: %w", r.Type, r.Name, err)
	}
	pb := c.db.NewBatch()
	defer pb.Close()
	if len(configs) == 0 {
		must(pb.Delete(resourceKey(r), nil))
	} else {
		must(pb.Set(resourceKey(r), keys.Versioned(appendConfigs(nil, configs)), nil))
		if admit {
			err = c.admit(pb)
		}
	}
	if err == nil {
		c.writing <- struct{}{}
		defer func() { <-c.writing }()
		err = c.db.Apply(pb, pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("configs of resource %d %q: %w", r.Type, r.Name, err)
	}
	return nil
}

// ResourceConfigs returns what is set on every resource. Errors: keys.ErrVersion, keys.ErrCorrupt, and the database's.
func (c *Catalog) ResourceConfigs() (map[Resource][]Config, error) {
	start := keys.Broker(nameConfigs)
	end := append(start[:len(start)-1:len(start)-1], start[len(start)-1]+1)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, fmt.Errorf("configs of resources: %w", err)
	}
	all := map[Resource][]Config{}
	for ok := it.First(); ok; ok = it.Next() {
		r, err := parseResource(string(it.Key()[len(start):]))
		if err == nil {
			all[r], err = decodeConfigs(it.Value())
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("configs of resource %q: %w", it.Key()[len(start):], err), it.Close())
		}
	}
	if err := damage.Of(errors.Join(it.Error(), it.Close())); err != nil {
		return nil, fmt.Errorf("configs of resources: %w", err)
	}
	return all, nil
}

func parseResource(name string) (Resource, error) {
	number, name, ok := strings.Cut(name, "/")
	kind, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil {
		return Resource{}, keys.ErrCorrupt
	}
	return Resource{uint8(kind), name}, nil
}

func appendConfigs(b []byte, configs []Config) []byte {
	b = binary.AppendUvarint(b, uint64(len(configs)))
	for _, c := range configs {
		b = appendText(appendText(b, c.Name), c.Value)
	}
	return b
}

func decodeConfigs(value []byte) ([]Config, error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return nil, err
	}
	d := decoder{b: b}
	configs := d.configs()
	if d.bad || len(d.b) > 0 {
		return nil, keys.ErrCorrupt
	}
	return configs, nil
}

func (d *decoder) configs() (configs []Config) {
	if n := d.count(2); n > 0 {
		configs = make([]Config, n)
	}
	for i := range configs {
		configs[i] = Config{Name: string(d.take(d.count(1))), Value: string(d.take(d.count(1)))}
	}
	return configs
}
