// What the capabilities send, take and compare.
import { setTimeout as sleep } from 'node:timers/promises'

// What the client cannot do.
export class Unsupported extends Error {}

// What a consumer without a reset policy is told.
export class OutOfRange extends Error {}

// Offsets that an assignment may begin at.
export const EARLIEST = -2
export const LATEST = -1

export const check = (ok, message) => { if (!ok) throw new Error(message) }
export const buffer = text => text === null ? null : Buffer.from(text)
export const now = () => Date.now()

export async function until (what, ready, limit = 20_000) {
  let error
  for (const end = now() + limit; now() < end; await sleep(50)) {
    try {
      if (await ready()) return
      error = undefined
    } catch (e) {
      if (e instanceof Unsupported) throw e
      error = e
    }
  }
  throw new Error(`never: ${what}` + (error ? `: ${error.message}` : ''))
}

export const numbered = (topic, n, partitions, from) => Array.from({ length: n }, (_, i) =>
  ({ topic, partition: i % partitions, key: buffer(`key-${i}`), value: buffer(`value-${i}`), timestamp: from + i, headers: [] }))
export const text = (topic, value, partition = 0) => ({ topic, partition, key: buffer('k'), value: buffer(value), timestamp: now(), headers: [] })
export const starts = (topic, partitions, offset) => Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset }))
export const values = records => records.map(r => String(r.value)).join(', ')

// These clients read in groups even where the driver assigns: a group reads on from its last commit when it moves, so an offset may come again.
export async function take (consumer, n) {
  const all = []
  const had = consumer.had ??= new Set()
  for (const end = now() + 30_000; all.length < n;) {
    check(now() < end, `${all.length} of ${n} records came within 30 s (${values(all.slice(0, 12))})`)
    for (const g of await consumer.poll()) {
      if (!had.has(`${g.partition}-${g.offset}`)) all.push(g)
      had.add(`${g.partition}-${g.offset}`)
    }
  }
  return all
}

export async function nothing (consumer, ms) {
  for (const end = now() + ms; now() < end;) {
    const got = await consumer.poll()
    check(got.length === 0, `${values(got)} came, where nothing should`)
  }
}

export async function expect (consumer, ...want) {
  const got = await take(consumer, want.length)
  check(values(got) === want.join(', '), `${values(got)} came, not ${want.join(', ')}`)
}

export function inOrder (sent, got) {
  const want = new Map()
  for (const s of sent) want.set(s.partition, [...want.get(s.partition) ?? [], s])
  check(sent.length === got.length, `${got.length} came, ${sent.length} were sent`)
  for (const g of got) {
    const s = want.get(g.partition).shift()
    check(s && s.value.equals(g.value) && s.key.equals(g.key), `partition ${g.partition} offset ${g.offset}: ${g.value} came, ${s?.value} was sent`)
  }
}

// Queue between a client that pushes and a driver that polls.
export class Queue {
  records = []
  push (...all) { this.records.push(...all) }
  async poll () {
    for (let i = 0; i < 10 && !this.records.length && !this.error; i++) await sleep(20)
    if (this.error) throw this.error
    return this.records.splice(0)
  }
}
