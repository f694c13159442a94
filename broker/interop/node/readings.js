// Readings of topics that others wrote; ../capabilities.txt has the form of their files.
import { readFileSync } from 'node:fs'
import { check, EARLIEST, OutOfRange, take, Unsupported } from './records.js'

const lines = path => readFileSync(path, 'utf8').trimEnd().split('\n')

export async function readings (r, variable) {
  const path = process.env[variable]
  if (!path) throw new Unsupported('not of this broker')
  for (const line of lines(path)) {
    const [kind, topic, offset, want] = line.split('\t')
    check(Object.hasOwn(kinds, kind), `no kind of reading is ${kind}`)
    try {
      await kinds[kind](r, topic, offset === 'earliest' ? EARLIEST : Number(offset), want)
    } catch (e) { throw new Error(`${kind} ${topic} ${offset}: ${e.message}`) }
  }
}

const kinds = {
  async earliest (r, topic, offset) {
    const is = await (await r.admin()).offsetFor(topic, 0, EARLIEST)
    check(is === offset, `the earliest offset is ${is}`)
  },

  read: (r, topic, offset, want) => read(r, topic, offset, lines(want)),

  async 'out-of-range' (r, topic, offset, want) {
    const without = await outcome(read(r, topic, offset, lines(want), 'none'))
    check(without, 'is served, and is out of range')
    if (!(without instanceof OutOfRange || without instanceof Unsupported)) throw new Error(`without a reset policy: ${without.message}`)
    const reset = await outcome(read(r, topic, offset, lines(want), 'earliest'))
    const unsupported = [without, reset].filter(e => e instanceof Unsupported)
    if (reset && (unsupported.length === 2 || !(reset instanceof Unsupported))) throw new Error(`with auto.offset.reset=earliest: ${reset.message}`)
    for (const { message } of unsupported) if (!r.notes.includes(message)) r.notes.push(message)
  }
}

// outcome is the error, if there is one.
const outcome = promise => promise.then(() => undefined, e => e)

// read to the end and compare.
async function read (r, topic, offset, want, reset) {
  const c = await r.consumer({ assign: [{ topic, partition: 0, offset }], reset })
  try {
    while (want.length) for (const g of await take(c, 1)) want = without(want, shown(g))
  } finally { await r.close(c) }
}

// without drops what was wanted up to a line that came.
function without (want, line) {
  const i = want.findIndex(w => w[0] === '=' || w.slice(1) === line)
  check(i >= 0, `${line.slice(0, 120)} came behind the end`)
  check(want[i].slice(1) === line, `${line.slice(0, 120)} came, not ${want[i].slice(1, 121)}`)
  return want.slice(i + 1)
}

// shown is the line of a record, as the files have it.
function shown (g) {
  const headers = g.headers.map(h => `${h.key}=${h.value}`).join(',')
  const gone = g.value === null || g.value === undefined
  return [g.offset, g.timestamp, gone ? -1 : g.value.length, headers, gone ? '' : g.value, g.key].join('\t')
}
