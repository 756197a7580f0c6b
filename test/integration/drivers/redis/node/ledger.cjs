// ioredis, each client on a connection of its own: HOST PORT CLIENTS PREFIX REPLICAS, until a line is said or stdin ends.
// test/support/trouble/redis_ledger.py tells what is counted; the programs of the other drivers do the same.
'use strict'
const { setTimeout: sleep } = require('node:timers/promises')
const Redis = require('ioredis')

const [host, port, clients, prefix, replicas] = process.argv.slice(2)
if (!replicas) {
  console.error('HOST PORT CLIENTS PREFIX REPLICAS')
  process.exit(2)
}
let over = false
process.stdin.on('data', () => { over = true }).on('end', () => { over = true })

class Client {
  constructor (name) {
    this.told = { client: name, keys: {}, interrupted: 0, reads: 0, read_errors: 0, errors: [], slowest: 0 }
    for (let i = 0; i < 4; i++) this.told.keys[`${name}:${i}`] = { tried: 0, acknowledged: 0, safe: 0, unknown: 0, aborted: 0 }
    // Nothing is sent twice by the driver itself: an INCR that is resent would make the ledger a lie.
    this.redis = new Redis({
      host, port: Number(port), lazyConnect: true, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false, retryStrategy: () => 50, connectTimeout: 60000
    })
    this.redis.on('error', (problem) => this.error('connection', problem))
    this.redis.on('close', () => over || this.error('connection', 'closed'))
  }

  error (what, problem) {
    if (this.told.errors.length < 50) this.told.errors.push(`${what}: ${problem}`)
  }

  // `outcomes` are [key, value or Error], one for each INCR.
  async settle (outcomes) {
    const acknowledged = []
    let interrupted = false
    for (const [name, outcome] of outcomes) {
      const key = this.told.keys[name]
      if (!(outcome instanceof Error)) {
        key.acknowledged++
        if (outcome <= key.safe) this.error('write', `${name} went back to ${outcome} from ${key.safe}`)
        acknowledged.push([key, outcome])
        continue
      }
      interrupted = true
      if (/outcome unknown/.test(outcome)) key.unknown++
      else if (/EXECABORT/.test(outcome)) key.aborted++
      else this.error('write', outcome)
    }
    if (acknowledged.length) {
      try {
        const safe = replicas === '0' || await this.redis.wait(Number(replicas), 1000) >= Number(replicas)
        if (safe) acknowledged.forEach(([key, value]) => { key.safe = Math.max(key.safe, value) })
      } catch (problem) {
        interrupted = true
        if (!/outcome unknown/.test(problem)) this.error('wait', problem)
      }
    }
    if (interrupted) this.told.interrupted++
  }

  async write (round, name) {
    const names = Object.keys(this.told.keys)
    const incremented = round % 25 === 24 ? [name, name] : round % 10 === 9 ? names : [name]
    incremented.forEach((one) => this.told.keys[one].tried++)
    const failed = (problem) => incremented.map((one) => [one, problem])
    if (incremented.length === 1) {
      return this.redis.incr(name).then((value) => [[name, value]], failed)
    }
    const batch = incremented === names ? this.redis.pipeline() : this.redis.multi()
    incremented.forEach((one) => batch.incr(one))
    return batch.exec().then((replies) => replies.map(([problem, value], i) => [incremented[i], problem || value]), failed)
  }

  async run () {
    for (let round = 0; !over; round++) {
      const name = Object.keys(this.told.keys)[round % 4]
      const began = Date.now()
      const before = this.told.errors.length
      await this.settle(await this.write(round, name))
      try {
        const value = Number(await this.redis.get(name))
        this.told.reads++
        if (value < this.told.keys[name].safe) throw new Error(`${name} went back to ${value} from ${this.told.keys[name].safe}`)
      } catch (problem) {
        this.told.read_errors++
        this.error('read', problem)
      }
      this.told.slowest = Math.max(this.told.slowest, (Date.now() - began) / 1000)
      if (this.told.errors.length > before) await sleep(100)
    }
    this.redis.disconnect()
    return this.told
  }
}

async function main () {
  const all = Array.from({ length: Number(clients) }, (_, i) => new Client(`${prefix}:${i}`))
  await Promise.all(all.map((client) => client.redis.connect()))
  console.log('ready')
  console.log(JSON.stringify({ driver: 'ioredis', clients: await Promise.all(all.map((client) => client.run())) }))
  process.exit(0)
}

main().catch((problem) => {
  console.error(problem)
  process.exit(1)
})
