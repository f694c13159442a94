package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Clients are told an address that leads back to the broker, wherever it listens.
func TestAdvertised(t *testing.T) {
	for _, test := range []struct {
		listen, advertise, host string
		port                    int32
		everywhere              bool
	}{
		{"127.0.0.1:9092", "", "localhost", 0, false},
		{"localhost:0", "", "localhost", 0, false},
		{"[::1]:9092", "", "::1", 0, false},
		{"127.0.0.5:9092", "", "127.0.0.5", 0, false},
		{"10.1.2.3:9092", "", "10.1.2.3", 0, false},
		{"db.example:9092", "", "db.example", 0, false},
		{"0.0.0.0:9092", "", "localhost", 0, true},
		{"[::]:9092", "", "localhost", 0, true},
		{":9092", "", "localhost", 0, true},
		{"0.0.0.0:9092", "db.example:19092", "db.example", 19092, false},
	} {
		c := Config{KafkaAddr: test.listen, AdvertisedAddr: test.advertise}
		host, port := c.advertised()
		require.Equal(t, test.host, host, test.listen)
		require.Equal(t, test.port, port, test.listen)
		require.Equal(t, test.everywhere, c.listensEverywhere(), test.listen)
	}
}

func TestAnAdvertisedHostHasNoSpaces(t *testing.T) {
	c := DefaultConfig()
	c.DataDir = t.TempDir()
	c.AdvertisedAddr = "a b:1"
	require.ErrorContains(t, c.Validate(), `advertised address "a b:1"`)
}
