// Drives kafkajs.
import kafkajs from 'kafkajs'
import { EARLIEST, LATEST, Queue, Unsupported } from './records.js'
import { addr, main } from './suite.js'

const { CompressionTypes, Kafka, logLevel, PartitionAssigners } = kafkajs
const kafka = id => new Kafka({ clientId: id, brokers: [addr], logLevel: logLevel.ERROR, retry: { initialRetryTime: 100, retries: 8 } })

class Producer {
  constructor (p, codec) { Object.assign(this, { p, via: p, codec }) }

  async send (records) {
    const topics = new Map()
    for (const { topic, partition, key, value, timestamp, headers } of records) {
      const named = {}
      for (const h of headers) named[h.key] = h.key in named ? [named[h.key], h.value].flat() : h.value
      topics.set(topic, [...topics.get(topic) ?? [], { partition, key, value, timestamp: String(timestamp), headers: named }])
    }
    const answers = await this.via.sendBatch({ acks: -1, compression: this.codec, topicMessages: [...topics].map(([topic, messages]) => ({ topic, messages })) })
    if (records.length === 1) records[0].offset = Number(answers[0].baseOffset)
  }

  async begin () { this.via = await this.p.transaction() }
  async sendOffsets (_, group, { topic, partition, offset }) {
    await this.via.sendOffsets({ consumerGroupId: group, topics: [{ topic, partitions: [{ partition, offset: String(offset + 1) }] }] })
  }

  async end (commit) {
    const transaction = this.via
    this.via = this.p
    await (commit ? transaction.commit() : transaction.abort())
  }

  close () { return this.p.disconnect() }
}

// kafkajs reads in groups only: an assignment is a group of its own whose offsets were set before.
async function consumer (id, { assign, group, topic, instanceId, newProtocol, autoCommit, readCommitted, reset }) {
  if (instanceId) throw new Unsupported('no static members')
  if (newProtocol) throw new Unsupported('no KIP-848')
  if (reset === 'none') throw new Unsupported('an offset that is out of range is always reset')
  const wanted = assign && new Set(assign.map(a => a.partition))
  if (assign) {
    [group, topic] = [id, assign[0].topic]
    const a = kafka(id).admin()
    await a.connect()
    const at = new Map((await a.fetchTopicOffsets(topic)).map(o => [o.partition, o]))
    await a.setOffsets({ groupId: group, topic, partitions: assign.map(({ partition, offset }) => ({ partition,
      offset: offset === EARLIEST ? at.get(partition).low : offset === LATEST ? at.get(partition).high : String(offset) })) })
    await a.disconnect()
  }
  const c = kafka(id).consumer({ groupId: group, sessionTimeout: 8000, heartbeatInterval: 300, maxWaitTimeInMs: 100, readUncommitted: !readCommitted,
    partitionAssigners: [PartitionAssigners.roundRobin], retry: { initialRetryTime: 100, retries: 8 } })
  const queue = new Queue()
  const next = new Map()
  c.on(c.events.CRASH, ({ payload }) => { if (!payload.restart) queue.error = payload.error })
  await c.connect()
  await c.subscribe({ topics: [topic], fromBeginning: true })
  await c.run({
    autoCommit: Boolean(autoCommit),
    autoCommitInterval: 500,
    eachMessage: async ({ topic, partition, message: m }) => {
      if (wanted && !wanted.has(partition)) return
      const headers = Object.entries(m.headers ?? {}).flatMap(([key, value]) => [value].flat().map(v => ({ key, value: v })))
      next.set(partition, { topic, partition, offset: String(Number(m.offset) + 1) })
      queue.push({ topic, partition, offset: Number(m.offset), key: m.key, value: m.value, timestamp: Number(m.timestamp), headers })
    }
  })
  return { poll: () => queue.poll(), commit: () => c.commitOffsets([...next.values()]), close: () => c.disconnect() }
}

class Admin {
  constructor (a) { this.a = a }
  createTopic (topic, numPartitions, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    return this.a.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }], waitForLeaders: true })
  }

  deleteTopic (topic) { return this.a.deleteTopics({ topics: [topic] }) }
  topics () { return this.a.listTopics() }
  async partitions (topic) { return (await this.a.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length }
  async config (topic, name) {
    const { resources } = await this.a.describeConfigs({ resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }], includeSynonyms: false })
    return resources[0].configEntries.find(e => e.configName === name)?.configValue
  }

  setConfig (topic, name, value) { // the one that replaces all of them
    return this.a.alterConfigs({ validateOnly: false, resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name, value }] }] })
  }

  setPartitions (topic, count) { return this.a.createPartitions({ topicPartitions: [{ topic, count }] }) }
  async offsetFor (topic, partition, timestamp) {
    const all = timestamp < 0 ? await this.a.fetchTopicOffsets(topic) : await this.a.fetchTopicOffsetsByTimestamp(topic, timestamp)
    const one = all.find(o => o.partition === partition)
    return Number(timestamp === EARLIEST ? one.low : timestamp === LATEST ? one.high : one.offset)
  }

  deleteRecords (topic, partition, before) { return this.a.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] }) }
  async groups () { return (await this.a.listGroups()).groups.map(g => g.groupId) }
  async groupState (group) { return (await this.a.describeGroups([group])).groups[0].state }
  async groupOffset (groupId, topic, partition) {
    const [of] = await this.a.fetchOffsets({ groupId, topics: [topic] })
    return Number(of.partitions.find(p => p.partition === partition).offset)
  }

  deleteGroup (group) { return this.a.deleteGroups([group]) }
  close () { return this.a.disconnect() }
}

await main({
  codecs: ['none', 'gzip'],
  nullHeaders: false,
  async producer (id, { codec, idempotent, transactionalId }) {
    const p = kafka(id).producer({ createPartitioner: () => ({ message }) => message.partition, idempotent: Boolean(idempotent || transactionalId),
      transactionalId, maxInFlightRequests: transactionalId ? 1 : undefined })
    await p.connect()
    return new Producer(p, codec === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None)
  },
  consumer,
  async admin (id) {
    const a = kafka(id).admin()
    await a.connect()
    return new Admin(a)
  }
}, 'kafkajs')
