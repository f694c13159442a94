package broker

import (
	"math"
	"net"
	"strconv"
	"time"

	"github.com/keyframelog/keyframe/broker/group"
)

// staticConfigs are the settings of this process in the names of Kafka's broker configs.
func (b *Broker) staticConfigs() map[string]string {
	c, ms := b.cfg, func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	listener := "PLAINTEXT://" + b.kafkaListener.Addr().String()
	_, port, _ := net.SplitHostPort(b.kafkaListener.Addr().String())
	advertised := "PLAINTEXT://" + net.JoinHostPort("localhost", port) // as Metadata tells it
	if c.AdvertisedAddr != "" {
		advertised = "PLAINTEXT://" + c.AdvertisedAddr
	}
	perIP := c.MaxConnectionsPerIP
	if perIP == 0 {
		perIP = math.MaxInt32
	}
	all := map[string]string{
		"advertised.listeners":                advertised,
		"auto.create.topics.enable":           strconv.FormatBool(c.AutoCreateTopics),
		"broker.id":                           "1",
		"connections.max.idle.ms":             ms(c.ConnectionIdleTimeout),
		"group.initial.rebalance.delay.ms":    ms(c.Groups.InitialRebalanceDelay),
		"group.max.session.timeout.ms":        ms(c.Groups.MaxSessionTimeout),
		"group.max.size":                      strconv.Itoa(c.Groups.MaxSize),
		"group.min.session.timeout.ms":        ms(c.Groups.MinSessionTimeout),
		"listeners":                           listener,
		"log.dirs":                            c.DataDir,
		"max.connections":                     strconv.Itoa(c.MaxConnections),
		"max.connections.per.ip":              strconv.Itoa(perIP),
		"node.id":                             "1",
		"num.partitions":                      strconv.Itoa(int(c.DefaultPartitions)),
		"offset.metadata.max.bytes":           strconv.Itoa(c.Groups.MaxOffsetMetadata),
		"offsets.retention.check.interval.ms": ms(c.Groups.RetentionCheck),
		"offsets.retention.minutes":           strconv.Itoa(int(c.Groups.OffsetsRetention / time.Minute)),
		"process.roles":                       "broker,controller",
		"transaction.max.timeout.ms":          ms(c.Transactions.MaxTimeout),
		"transactional.id.expiration.ms":      ms(c.Transactions.IDExpiration),
	}
	// Kafka sets none of these in a configuration file, and tools tell what is set from what is not.
	for name, value := range map[string][2]time.Duration{
		"group.consumer.heartbeat.interval.ms": {c.Groups.ConsumerHeartbeatInterval, group.DefaultSettings().ConsumerHeartbeatInterval},
		"group.consumer.session.timeout.ms":    {c.Groups.ConsumerSessionTimeout, group.DefaultSettings().ConsumerSessionTimeout},
	} {
		if value[0] != value[1] {
			all[name] = ms(value[0])
		}
	}
	return all
}
