package broker

import (
	"net"
	"net/netip"
)

// advertised is what clients are told to connect to; port 0 is the one that they connected to. Unless it is configured, it is the host that the
// broker listens on, and localhost where that is every address of the machine, which only programs on it get through to.
func (c *Config) advertised() (host string, port int32) {
	if c.AdvertisedAddr != "" {
		host, port, _ = splitAddr(c.AdvertisedAddr) // Validate has seen it
		return host, port
	}
	host, _, _ = splitAddr(c.KafkaAddr)
	ip, err := netip.ParseAddr(host)
	if host == "" || err == nil && (ip.IsUnspecified() || ip == netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
		return "localhost", 0
	}
	return host, 0
}

// listensEverywhere tells whether other machines may connect, and are told to connect to localhost.
func (c *Config) listensEverywhere() bool {
	host, _, _ := splitAddr(c.KafkaAddr)
	ip := net.ParseIP(host)
	return c.AdvertisedAddr == "" && (host == "" || ip != nil && ip.IsUnspecified())
}
