// Checks a JavaScript client against a broker. What a capability means, and what a driver is given and prints, stands in
// ../capabilities.txt. The client is behind an object with producer(), consumer() and admin(); see kafkajs.js.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { readings } from './readings.js'
import { buffer, check, EARLIEST, expect, inOrder, LATEST, nothing, now, numbered, starts, take, text, Unsupported, until } from './records.js'

const env = process.env
export const addr = env.INTEROP_ADDR

// One capability of one client. What it opened is closed at its end.
class Run {
  constructor (client, name) {
    Object.assign(this, { client, prefix: `${env.INTEROP_PREFIX}-${name}`, made: 0, notes: [], open: [] })
  }

  name (what) { return `${this.prefix}-${what}` }
  id () { return `${this.prefix}-${++this.made}` }
  async keep (promise) { const made = await promise; this.open.push(made); return made }
  producer (config = {}) { return this.keep(this.client.producer(this.id(), config)) }
  consumer (config) { return this.keep(this.client.consumer(this.id(), config)) }
  async admin () { return this.adminOnce ??= await this.keep(this.client.admin(this.id())) }
  async close (one) { this.open = this.open.filter(o => o !== one); await one.close() }
  async closeAll () { for (const one of this.open.reverse()) await Promise.race([one.close(), sleep(5000)]).catch(() => {}) }

  async topic (name, partitions, configs = {}) {
    const admin = await this.admin()
    await admin.createTopic(name, partitions, configs)
    await until('the topic is listed', async () => await admin.partitions(name) === partitions)
    // A client whose partitions are not all led yet sends all of them again, also those that were accepted.
    for (let p = 0; p < partitions; p++) await until(`partition ${p} has a leader`, async () => await admin.offsetFor(name, p, LATEST) === 0)
  }

  async send (records, config) {
    const p = await this.producer(config)
    await p.send(records)
    await this.close(p)
  }
}

const capabilities = {
  async produce (r) {
    const topic = r.name('t')
    await r.topic(topic, 3)
    const records = numbered(topic, 300, 3, now())
    await r.send(records)
    const admin = await r.admin()
    for (let p = 0; p < 3; p++) await until(`partition ${p} ends at 100`, async () => await admin.offsetFor(topic, p, LATEST) === 100)
    const p = await r.producer()
    const one = text(topic, 'one', 2)
    await p.send([one])
    if (one.offset === undefined) r.notes.push('the client does not tell offsets')
    else check(one.offset === 100, `record 100 was acknowledged with offset ${one.offset}`)
  },

  async consume (r) {
    const topic = r.name('t')
    const from = now() - 3_600_000
    await r.topic(topic, 2)
    const sent = numbered(topic, 400, 2, from)
    await r.send(sent)
    let c = await r.consumer({ assign: starts(topic, 2, EARLIEST) })
    const got = await take(c, 400)
    inOrder(sent, got)
    for (const g of got) check(g.timestamp === from + g.offset * 2 + g.partition, `offset ${g.offset} has timestamp ${g.timestamp}`)
    await r.close(c)
    c = await r.consumer({ assign: [{ topic, partition: 0, offset: 150 }] })
    const tail = (await take(c, 50)).filter(g => g.partition === 0)
    check(tail[0].offset === 150, `the first is ${tail[0].offset}, not 150`)
    await r.close(c)
    c = await r.consumer({ assign: [{ topic, partition: 1, offset: LATEST }] })
    await nothing(c, 1500)
    await r.send([text(topic, 'late', 1)])
    await expect(c, 'late')
    const admin = await r.admin()
    for (const [timestamp, offset] of [[EARLIEST, 0], [LATEST, 200], [from, 0], [from + 200, 100], [from + 199, 100]]) {
      const is = await admin.offsetFor(topic, 0, timestamp)
      check(is === offset, `offset for ${timestamp} is ${is}, not ${offset}`)
    }
  },

  async codecs (r) {
    const topic = r.name('t')
    await r.topic(topic, 1)
    const sent = []
    for (const codec of r.client.codecs) {
      const records = numbered(topic, 50, 1, now())
      records.forEach((record, i) => { record.value = buffer(`${codec} ${i} `.repeat(100)) })
      await r.send(records, { codec })
      sent.push(...records)
    }
    inOrder(sent, await take(await r.consumer({ assign: starts(topic, 1, EARLIEST) }), sent.length))
    r.notes.push(r.client.codecs.join(' '))
  },

  async headers (r) {
    const topic = r.name('t')
    await r.topic(topic, 1)
    const h = (...pairs) => pairs.map(([key, value]) => ({ key, value: value === null ? null : Buffer.from(value) }))
    const sent = [
      { key: buffer('k'), value: buffer('v'), headers: h(['a', '1'], ['b', [0, 255]], ['a', '2']) },
      { key: buffer('k'), value: buffer('v'), headers: r.client.nullHeaders ? h(['empty', ''], ['null', null]) : h(['empty', '']) },
      { key: null, value: buffer('no key'), headers: [] },
      { key: buffer('no value'), value: null, headers: [] },
      { key: buffer(''), value: buffer(''), headers: [] }
    ].map(record => ({ topic, partition: 0, timestamp: now(), ...record }))
    if (!r.client.nullHeaders) r.notes.push('the client cannot send a header without a value')
    await r.send(sent)
    const got = await take(await r.consumer({ assign: starts(topic, 1, EARLIEST) }), sent.length)
    const shown = b => b === null || b === undefined ? 'null' : `"${b.toString('latin1')}"`
    const show = headers => headers.map(one => `${one.key}=${shown(one.value)}`).sort().join(' ')
    got.forEach((g, i) => {
      check(show(g.headers) === show(sent[i].headers), `record ${i}: headers ${show(g.headers)} came, ${show(sent[i].headers)} were sent`)
      for (const part of ['key', 'value']) check(shown(g[part]) === shown(sent[i][part]), `record ${i}: ${part} ${shown(g[part])}, ${shown(sent[i][part])} was sent`)
    })
  },

  groups: r => groups(r, 't', false),
  rebalance: r => rebalance(r, 't', false),
  async groups848 (r) {
    await groups(r, 't', true)
    await rebalance(r, 'r', true)
  },

  async static (r) {
    const b = new Board(r, 't', false)
    await b.start()
    await b.join('a', 'instance-a')
    await b.join('b', 'instance-b')
    let previous // one round may fall into a move
    const before = await b.converge('both have some, twice the same', who => {
      const same = String(previous) === String(who)
      previous = who
      return same && who.includes('a') && who.includes('b') && !who.includes('')
    })
    await b.leave('a')
    const away = await b.round()
    const who = await b.who(away, 2000)
    who.forEach((name, p) => check(before[p] !== 'a' || !name, `partition ${p} went to ${name} while its static member was away`))
    await b.join('a', 'instance-a')
    const after = await b.who(away, 20_000)
    check(String(after) === String(before), `partitions were with ${before}, and are with ${after} after a came back`)
    await b.complete()
  },

  async idempotence (r) {
    const topic = r.name('t')
    await r.topic(topic, 3)
    const sent = numbered(topic, 3000, 3, now())
    const p = await r.producer({ idempotent: true })
    for (let i = 0; i < sent.length; i += 100) await p.send(sent.slice(i, i + 100))
    inOrder(sent, await take(await r.consumer({ assign: starts(topic, 3, EARLIEST) }), sent.length))
  },

  async transactions (r) {
    const [topic, input, group] = [r.name('t'), r.name('input'), r.name('group')]
    await r.topic(topic, 1)
    await r.topic(input, 1)
    await r.send(numbered(input, 10, 1, now()))
    const p = await r.producer({ transactionalId: r.name('id') })
    const reader = await r.consumer({ group, topic: input })
    const read = await take(reader, 10)
    const again = r.client.oneAbort ? [] : ['aborted too', 'aborted too']
    if (r.client.oneAbort) r.notes.push(`one aborted transaction, and no fencing, which aborts another: ${r.client.oneAbort}`)
    for (const [value, commit, offset] of [['committed', true, 4], ['aborted', false, 9], ['committed too', true, 7], ['aborted too', false, 0]]) {
      if (!again.length && value === 'aborted too') continue
      await p.begin()
      await p.send([text(topic, value), text(topic, value)])
      if (offset) await p.sendOffsets(reader, group, read[offset - 1])
      await p.end(commit)
    }
    const committed = await r.consumer({ assign: starts(topic, 1, EARLIEST), readCommitted: true })
    await expect(committed, 'committed', 'committed', 'committed too', 'committed too')
    await p.begin()
    await p.send([text(topic, 'open')])
    await r.send([text(topic, 'behind it')])
    await nothing(committed, 1500)
    await p.end(true)
    await expect(committed, 'open', 'behind it')
    const all = await r.consumer({ assign: starts(topic, 1, EARLIEST) })
    await expect(all, 'committed', 'committed', 'aborted', 'aborted', 'committed too', 'committed too', ...again, 'open', 'behind it')
    const offset = await (await r.admin()).groupOffset(group, input, 0)
    check(offset === 7, `the group's offset is ${offset}, the last committed transaction says 7`)
    if (r.client.oneAbort) return // fencing aborts a second one
    await p.begin()
    await p.send([text(topic, 'of the old one')])
    const second = await r.producer({ transactionalId: r.name('id') })
    await second.begin()
    await second.send([text(topic, 'of the new one')])
    await second.end(true)
    let fenced = false
    try { await Promise.race([p.end(true), sleep(15_000).then(() => { throw new Error('no answer') })]) } catch { fenced = true }
    check(fenced, 'the fenced producer committed')
    const last = await r.consumer({ assign: starts(topic, 1, EARLIEST), readCommitted: true })
    await expect(last, 'committed', 'committed', 'committed too', 'committed too', 'open', 'behind it', 'of the new one')
  },

  async admin (r) {
    const admin = await r.admin()
    const [topic, group, without] = [r.name('t'), r.name('group'), []]
    const attempt = async (what, f) => {
      try { await f() } catch (e) {
        if (!(e instanceof Unsupported)) throw new Error(`${what}: ${e.message}`)
        without.push(what)
      }
    }
    const isSet = value => until(`retention.ms is ${value}`, async () => await admin.config(topic, 'retention.ms') === value)
    await attempt('create topic', () => r.topic(topic, 2, { 'retention.ms': '3600000' }))
    await attempt('describe configs', () => isSet('3600000'))
    await attempt('alter configs', async () => { await admin.setConfig(topic, 'retention.ms', '7200000'); await isSet('7200000') })
    await attempt('create partitions', async () => {
      await admin.setPartitions(topic, 3)
      await until('three partitions are told', async () => await admin.partitions(topic) === 3)
    })
    await attempt('use of the new partition', () => r.send(numbered(topic, 60, 3, now())))
    await attempt('delete records', async () => {
      await admin.deleteRecords(topic, 1, 5)
      const is = await admin.offsetFor(topic, 1, EARLIEST)
      check(is === 5, `earliest offset is ${is}, not 5`)
    })
    await attempt('use of a group', async () => {
      const c = await r.consumer({ group, topic })
      await take(c, 30)
      await c.commit()
      await r.close(c)
    })
    await attempt('list groups', async () => check((await admin.groups()).includes(group), 'the group is not listed'))
    await attempt('describe group', () => until('the group is Empty', async () => /^empty$/i.test(await admin.groupState(group))))
    await attempt('delete group', async () => {
      await admin.deleteGroup(group)
      check(!(await admin.groups()).includes(group), 'the group is still listed')
    })
    await attempt('delete topic', async () => {
      await admin.deleteTopic(topic)
      await until('the topic is gone', async () => !(await admin.topics()).includes(topic))
    })
    if (without.length) r.notes.push(`without ${without.join(', ')}: the client has no such call`)
  },

  async bootstrap (r) {
    const topic = env.INTEROP_BOOTSTRAP
    check(topic, 'the runner made no compacted topic')
    let fewest = 2501
    for (const [from, readCommitted] of [[0, false], [0, true], [1, true], [1500, true], [1500, false]]) {
      try { fewest = Math.min(fewest, await readCompacted(r, topic, from, readCommitted)) } catch (e) {
        throw new Error(`from offset ${from}, read_committed ${readCommitted}: ${e.message}`)
      }
    }
    r.notes.push(`${fewest} of 2501 records were left`)
  },

  'log-start': r => readings(r, 'INTEROP_LOG_START'),
  folds: r => readings(r, 'INTEROP_FOLDS'),
  stale: r => readings(r, 'INTEROP_STALE')
}

async function groups (r, what, newProtocol) {
  const [topic, group] = [r.name(what), r.name(`${what}-group`)]
  await r.topic(topic, 4)
  for (const n of [400, 80]) {
    const records = numbered(topic, n, 4, now())
    await r.send(records)
    const c = await r.consumer({ group, topic, newProtocol })
    inOrder(records, await take(c, n))
    await c.commit()
    await r.close(c)
  }
  const admin = await r.admin()
  for (let p = 0; p < 4; p++) {
    const offset = await admin.groupOffset(group, topic, p)
    check(offset === 120, `committed offset of partition ${p} is ${offset}, not 120`)
  }
}

async function rebalance (r, what, newProtocol) {
  const b = new Board(r, what, newProtocol)
  const allOfA = who => String(who) === 'a,a,a,a'
  await b.start()
  await b.join('a')
  await b.converge('a has all', allOfA)
  await b.join('b')
  await b.converge('both have some', who => who.includes('a') && who.includes('b'))
  await b.leave('b')
  await b.converge('a has all again', allOfA)
  await b.complete()
}

// Keeps who consumed what: members of one group over four partitions.
class Board {
  constructor (r, what, newProtocol) {
    Object.assign(this, { r, topic: r.name(what), group: r.name(`${what}-group`), newProtocol, rounds: 0, seen: new Map(), times: new Map(), members: new Map() })
  }

  async start () {
    await this.r.topic(this.topic, 4)
    this.producer = await this.r.producer()
  }

  async join (name, instanceId) {
    const c = await this.r.consumer({ group: this.group, topic: this.topic, instanceId, newProtocol: this.newProtocol, autoCommit: true })
    const member = { c, active: true }
    this.members.set(name, member)
    member.done = (async () => {
      while (member.active) {
        for (const g of await c.poll()) {
          const value = String(g.value)
          this.times.set(value, (this.times.get(value) ?? 0) + 1)
          if (!this.seen.has(value)) this.seen.set(value, name)
        }
      }
    })().catch(e => { this.failed ??= e })
  }

  async leave (name) {
    const member = this.members.get(name)
    member.active = false
    await member.done
    await this.r.close(member.c)
  }

  async round () {
    this.rounds++
    await this.producer.send([0, 1, 2, 3].map(p => text(this.topic, `${this.rounds}-${p}`, p)))
    return this.rounds
  }

  async who (round, ms) {
    for (const end = now() + ms; ; await sleep(20)) {
      const who = [0, 1, 2, 3].map(p => this.seen.get(`${round}-${p}`) ?? '')
      if (this.failed) throw this.failed
      if (!who.includes('') || now() > end) return who
    }
  }

  async converge (what, right) {
    let last
    try {
      await until(what, async () => right(last = await this.who(await this.round(), 5000)), 40_000)
    } catch (e) { throw new Error(`${e.message}; the last round went to [${last}]`) }
    return last
  }

  async complete () {
    for (let n = 1; n <= this.rounds; n++) {
      const who = await this.who(n, 10_000)
      check(!who.includes(''), `round ${n} of ${this.rounds} was not all consumed: [${who}]`)
    }
    const twice = [...this.times.values()].filter(n => n > 1).length
    if (twice) this.r.notes.push(`${twice} of ${4 * this.rounds} records came again after a move`)
    for (const member of this.members.values()) member.active = false
  }
}

async function readCompacted (r, topic, from, readCommitted) {
  const c = await r.consumer({ assign: [{ topic, partition: 0, offset: from }], readCommitted })
  const state = new Map()
  const header = (g, key) => String(g.headers.find(h => h.key === key)?.value)
  let n = 0
  for (let next = from; next < 2501;) {
    for (const g of await take(c, 1)) {
      check(g.offset >= next, `offset ${g.offset} came after ${next - 1}`)
      check(header(g, 'time') === String(g.timestamp), `offset ${g.offset} has timestamp ${g.timestamp}, and ${header(g, 'time')} in its header`)
      next = g.offset + 1
      n++
      state.set(String(g.key), g)
    }
  }
  for (let i = 0; i < 600; i++) {
    const g = state.get(`key-${String(i).padStart(4, '0')}`)
    check(g, `nothing of key ${i} came`)
    const round = i < 20 ? '4' : i % 10 === 3 ? 'deleted' : '3'
    check(header(g, 'round') === round, `key ${i} ends with round ${header(g, 'round')}, not ${round} (offset ${g.offset})`)
    if (round === 'deleted') check(g.value === null || g.value === undefined, `key ${i} ends with a value, and was deleted`)
    else check(String(g.value) === `value-${i}-${round}-${'x'.repeat(2000)}`, `key ${i} has another value`)
  }
  await r.close(c)
  return n
}

// packageVersion is that of an installed package.
function packageVersion (name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version
}

export async function main (client, name) {
  console.log(`interop\tversion\tinfo\t0\t${packageVersion(name)}`)
  const only = env.INTEROP_ONLY ? env.INTEROP_ONLY.split(',') : Object.keys(capabilities)
  // A client's own background work may fail after its owner closed it.
  process.on('unhandledRejection', e => console.error('unhandled:', e))
  for (const [capability, f] of Object.entries(capabilities)) {
    if (!only.includes(capability)) continue
    const r = new Run(client, capability)
    const began = now()
    let [result, reason] = ['pass', '']
    const timer = new AbortController()
    try {
      await Promise.race([f(r), sleep(100_000, undefined, { signal: timer.signal }).then(() => { throw new Error('hangs: no end after 100 s') })])
      reason = r.notes.join('; ')
    } catch (e) {
      [result, reason] = [e instanceof Unsupported ? 'skip' : 'fail', e.message + (e.cause ? `: ${e.cause.message}` : '')]
      if (result === 'fail') console.error(e)
    }
    timer.abort()
    await r.closeAll()
    console.log(`interop\t${capability}\t${result}\t${now() - began}\t${reason.replace(/\s+/g, ' ')}`)
  }
  process.exit(0)
}
