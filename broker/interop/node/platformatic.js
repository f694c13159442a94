// Drives @platformatic/kafka.
import { Admin as Administration, Consumer, FetchIsolationLevels, Producer as Sender } from '@platformatic/kafka'
import zlib from 'node:zlib'
import { EARLIEST, LATEST, OutOfRange, Queue, Unsupported } from './records.js'
import { addr, main } from './suite.js'

const base = id => ({ clientId: id, bootstrapBrokers: [addr], retries: 5, retryDelay: 200, metadataMaxAge: 1000 })
const TOPIC = 2 // resource type
const SET = 0 // incremental alter

class Producer {
  constructor (p, options) { Object.assign(this, { p, via: p, options }) }

  async send (records) {
    const messages = records.map(({ topic, partition, key, value, timestamp, headers }) => ({ topic, partition, key: key ?? undefined, value: value ?? undefined,
      timestamp: BigInt(timestamp), headers: new Map(headers.map(h => [Buffer.from(h.key), h.value])) }))
    const { offsets } = await this.via.send({ messages, ...this.options })
    if (records.length === 1) records[0].offset = Number(offsets?.[0].offset)
  }

  async begin () { this.via = await this.p.beginTransaction(this.options) }
  async sendOffsets (consumer, _, { original }) {
    await this.via.addConsumer(consumer.c)
    await this.via.addOffset(original)
  }

  async end (commit) {
    const transaction = this.via
    this.via = this.p
    await (commit ? transaction.commit() : transaction.abort())
  }

  close () { return this.p.close(true) }
}

async function consumer (id, { assign, group, topic, instanceId, newProtocol, autoCommit, readCommitted, reset }) {
  if (instanceId) throw new Unsupported('sends an instance id, and leaves the group all the same')
  if (reset === 'earliest') throw new Unsupported('an offset that is out of range is never reset')
  const queue = new Queue()
  const [last, wanted] = [new Map(), assign && new Set(assign.map(a => a.partition))]
  const options = newProtocol
    ? { groupProtocol: 'consumer' }
    : { sessionTimeout: 8000, heartbeatInterval: 300, rebalanceTimeout: 8000 }
  const c = new Consumer({ ...base(id), groupId: group ?? id, ...options })
  const how = { topics: [topic ?? assign[0].topic], mode: 'committed', fallbackMode: 'earliest' }
  if (assign) { // every partition of the topic, since the client reads in groups
    const a = await admin(`${id}-admin`)
    how.mode = 'manual'
    how.offsets = []
    for (let partition = 0; partition < await a.partitions(assign[0].topic); partition++) {
      const offset = assign.find(one => one.partition === partition)?.offset ?? LATEST
      how.offsets.push({ topic: assign[0].topic, partition, offset: BigInt(offset < 0 ? await a.offsetFor(assign[0].topic, partition, offset) : offset) })
    }
    await a.close()
  }
  const stream = await c.consume({ ...how, autocommit: autoCommit ? 500 : false, maxWaitTime: 100, minBytes: 1, maxBytes: 1 << 20,
    isolationLevel: readCommitted ? FetchIsolationLevels.READ_COMMITTED : FetchIsolationLevels.READ_UNCOMMITTED })
  stream.on('error', e => { queue.error = e.findBy?.('apiId', 'OFFSET_OUT_OF_RANGE') ? new OutOfRange(e.message) : e })
  stream.on('data', m => {
    if (wanted && !wanted.has(m.partition)) return
    const headers = [...m.headers].map(([key, value]) => ({ key: String(key), value }))
    last.set(m.partition, m)
    queue.push({ topic: m.topic, partition: m.partition, offset: Number(m.offset), key: m.key ?? null, value: m.value ?? null, timestamp: Number(m.timestamp), headers, original: m })
  })
  return {
    c,
    poll: () => queue.poll(),
    commit: () => c.commit({ offsets: [...last.values()].map(m => ({ topic: m.topic, partition: m.partition, offset: m.offset + 1n, leaderEpoch: -1 })) }),
    close: () => c.close(true)
  }
}

class Admin {
  constructor (a) { this.a = a }
  createTopic (topic, partitions, configs) {
    return this.a.createTopics({ topics: [topic], partitions, replicas: 1, configs: Object.entries(configs).map(([name, value]) => ({ name, value })) })
  }

  deleteTopic (topic) { return this.a.deleteTopics({ topics: [topic] }) }
  topics () { return this.a.listTopics() }
  async partitions (topic) { return (await this.a.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)?.partitionsCount }
  async config (resourceName, name) {
    const [r] = await this.a.describeConfigs({ resources: [{ resourceType: TOPIC, resourceName }] })
    return r.configs.find(c => c.name === name)?.value
  }

  setConfig (resourceName, name, value) {
    return this.a.incrementalAlterConfigs({ resources: [{ resourceType: TOPIC, resourceName, configs: [{ name, value, configOperation: SET }] }] })
  }

  setPartitions (name, count) { return this.a.createPartitions({ topics: [{ name, count, assignments: null }] }) }
  async offsetFor (name, partitionIndex, timestamp) {
    const [t] = await this.a.listOffsets({ topics: [{ name, partitions: [{ partitionIndex, timestamp: BigInt(timestamp) }] }] })
    return Number(t.partitions[0].offset)
  }

  deleteRecords (name, partition, before) { return this.a.deleteRecords({ topics: [{ name, partitions: [{ partition, offset: BigInt(before) }] }] }) }
  async groups () { return [...(await this.a.listGroups()).keys()] }
  async groupState (group) { return (await this.a.describeGroups({ groups: [group] })).get(group).state }
  async groupOffset (group, topic, partition) {
    const [g] = await this.a.listConsumerGroupOffsets({ groups: [group] })
    return Number(g.topics.find(t => t.name === topic)?.partitions.find(p => p.partitionIndex === partition)?.committedOffset ?? -1)
  }

  deleteGroup (group) { return this.a.deleteGroups({ groups: [group] }) }
  close () { return this.a.close() }
}

async function admin (id) { return new Admin(new Administration(base(id))) }

await main({
  codecs: ['none', 'gzip', 'snappy', 'lz4', ...zlib.zstdCompressSync ? ['zstd'] : []], // zstd is Node's
  oneAbort: 'of several by one producer in one answer the client hides only one',
  nullHeaders: true,
  async producer (id, { codec, idempotent, transactionalId }) {
    const options = { acks: -1, compression: codec ?? 'none', idempotent: Boolean(idempotent || transactionalId) }
    return new Producer(new Sender({ ...base(id), transactionalId, ...options }), options)
  },
  consumer,
  admin
}, '@platformatic/kafka')
