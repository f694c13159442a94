package broker

import (
	"math"
	"net"
	"strconv"
	"time"
)

// staticConfigs are the settings of this process in the names of Kafka's broker configs.
func (b *Broker) staticConfigs() map[string]string {
	c, ms := b.cfg, func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	listener := "PLAINTEXT://" + b.kafkaListener.Addr().String()
	_, port, _ := net.SplitHostPort(b.kafkaListener.Addr().String())
	host, fixed := c.advertised()
	if fixed != 0 {
		port = strconv.Itoa(int(fixed))
	}
	advertised := "PLAINTEXT://" + net.JoinHostPort(host, port) // as Metadata tells it
	perIP := c.MaxConnectionsPerIP
	if perIP == 0 {
		perIP = math.MaxInt32
	}
	return map[string]string{
		"advertised.listeners":                 advertised,
		"auto.create.topics.enable":            strconv.FormatBool(c.AutoCreateTopics),
		"broker.id":                            "1",
		"connections.max.idle.ms":              ms(c.ConnectionIdleTimeout),
		"group.consumer.heartbeat.interval.ms": ms(c.Groups.ConsumerHeartbeatInterval),
		"group.consumer.session.timeout.ms":    ms(c.Groups.ConsumerSessionTimeout),
		"group.initial.rebalance.delay.ms":     ms(c.Groups.InitialRebalanceDelay),
		"group.max.session.timeout.ms":         ms(c.Groups.MaxSessionTimeout),
		"group.max.size":                       strconv.Itoa(c.Groups.MaxSize),
		"group.min.session.timeout.ms":         ms(c.Groups.MinSessionTimeout),
		"listeners":                            listener,
		"log.dirs":                             c.DataDir,
		"max.connections":                      strconv.Itoa(c.MaxConnections),
		"max.connections.per.ip":               strconv.Itoa(perIP),
		"node.id":                              "1",
		"num.partitions":                       strconv.Itoa(int(c.DefaultPartitions)),
		"offset.metadata.max.bytes":            strconv.Itoa(c.Groups.MaxOffsetMetadata),
		"offsets.retention.check.interval.ms":  ms(c.Groups.RetentionCheck),
		"offsets.retention.minutes":            strconv.Itoa(int(c.Groups.OffsetsRetention / time.Minute)),
		"process.roles":                        "broker,controller",
		"transaction.max.timeout.ms":           ms(c.Transactions.MaxTimeout),
		"transactional.id.expiration.ms":       ms(c.Transactions.IDExpiration),
	}
}
