// node-postgres with its cursor, query-stream and copy-streams: HOST PORT USER DB [NAME...]. One line a check, 0 when all pass.
'use strict'
const assert = require('node:assert/strict')
const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const { setTimeout: sleep } = require('node:timers/promises')
const pg = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const copy = require('pg-copy-streams')

const [host, port, user, database, ...only] = process.argv.slice(2)
if (!database) {
  console.error('HOST PORT USER DB [NAME...]')
  process.exit(2)
}
const where = { host, port: Number(port), user, database, connectionTimeoutMillis: 20000 }
const checks = []
const check = (name, run) => checks.push([name, run])

async function connected(...args) {
  const run = args.pop()
  const clients = []
  try {
    for (let i = 0; i < run.length; i++) {
      const client = new pg.Client({ ...where, ...(args[i] || {}) })
      await client.connect()
      clients.push(client)
    }
    return await run(...clients)
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}

const value = async (client, text, values) => Object.values((await client.query(text, values)).rows[0])[0]
const code = (wanted) => (error) => { assert.equal(error.code, wanted, error.message); return true }
const range = (n) => Array.from({ length: n }, (_, i) => i)

check('types, text and binary', () => connected(async (c) => {
  assert.equal(await value(c, 'select $1::int', [7]), 7)
  assert.equal(await value(c, 'select $1::text', ['tëxt 🐘 \'x\'']), 'tëxt 🐘 \'x\'')
  assert.deepEqual(await value(c, 'select $1::jsonb', [{ a: [1, null] }]), { a: [1, null] })
  assert.deepEqual(await value(c, 'select $1::int[]', [[1, 2, null]]), [1, 2, null])
  assert.deepEqual(await value(c, 'select $1::bytea', [Buffer.from([0, 1, 255])]), Buffer.from([0, 1, 255]))
  assert.deepEqual(await value(c, 'select $1::timestamptz', [new Date(1e12)]), new Date(1e12))
  assert.equal(await value(c, 'select $1::text', [null]), null)
  const binary = await c.query({ text: 'select $1::int as a, $2::text as b', values: [5, 'x'], binary: true })
  assert.deepEqual(binary.rows, [{ a: 5, b: 'x' }])
  const arrays = await c.query({ text: 'select 1 as same, 2 as same', rowMode: 'array' })
  assert.deepEqual([arrays.rows, arrays.fields.map((f) => [f.name, f.dataTypeID])], [[[1, 2]], [['same', 23], ['same', 23]]])
}))

check('named statements, over many transactions', () => connected(async (a, b) => {
  for (const n of range(40)) {
    await a.query('begin')
    assert.equal(await value(a, { name: 'shared name', text: 'select $1::int + 1', values: [n] }), n + 1)
    await a.query('commit')
    assert.equal(await value(b, { name: 'shared name', text: 'select $1::int * 2', values: [n] }), n * 2)
  }
  await assert.rejects(a.query({ name: 'broken', text: 'select nothing_of_that_name' }), code('42703'))
  assert.equal(await value(a, { name: 'broken', text: 'select 3' }), 3)
}))

check('queries queued without waiting', () => connected(async (c) => {
  const results = await Promise.allSettled(range(200).map((n) => n % 50 === 49
    ? c.query('select 1 / $1::int', [0]) : n % 2 ? c.query('select $1::int as n', [n]) : c.query(`select ${n} as n`)))
  results.forEach((result, n) => {
    if (n % 50 === 49) assert.equal(result.reason.code, '22012')
    else assert.equal(result.value.rows[0].n, n)
  })
}))

check('several statements in one simple query', () => connected(async (c) => {
  const results = await c.query('select 1 as a; create temp table multi (id int); insert into multi values (1), (2); select * from multi; drop table multi')
  assert.deepEqual(results.map((r) => [r.command, r.rowCount]), [['SELECT', 1], ['CREATE', null], ['INSERT', 2], ['SELECT', 2], ['DROP', null]])
  await assert.rejects(c.query('select 1; select 1/0; select 2'), code('22012'))
  assert.equal((await c.query('')).rows.length, 0)
  assert.equal(await value(c, 'select 4'), 4)
}))

check('cursor: portals read in pieces, closed early', () => connected(async (c) => {
  const cursor = c.query(new Cursor('select n from generate_series(1, $1::int) n', [2345]))
  let total = 0
  for (let rows = await cursor.read(100); rows.length; rows = await cursor.read(100)) total += rows.reduce((s, r) => s + r.n, 0)
  assert.equal(total, 2345 * 2346 / 2)
  await cursor.close()
  await c.query('begin')
  const early = c.query(new Cursor('select generate_series(1, 1000000)'))
  assert.equal((await early.read(10)).length, 10)
  await early.close()
  assert.equal(await value(c, 'select 5'), 5)
  await c.query('commit')
}))

check('query stream: 50,000 rows', () => connected(async (c) => {
  let rows = 0
  for await (const row of c.query(new QueryStream("select n, repeat('y', 100) as y from generate_series(1, 50000) n", [], { batchSize: 500 }))) {
    rows++
    assert.equal(row.n, rows)
  }
  assert.equal(rows, 50000)
  assert.equal((await c.query("select n, md5(n::text) from generate_series(1, 50000) n")).rows.length, 50000)
}))

check('COPY in and out by streams, and one that fails', () => connected(async (c) => {
  await c.query('drop table if exists node_copied; create table node_copied (id int, name text)')
  const lines = function * () { for (const n of range(30000)) yield `${n}\tline ${n}\n` }
  await pipeline(Readable.from(lines()), c.query(copy.from('copy node_copied from stdin')))
  assert.deepEqual((await c.query('select count(*)::int as n, sum(id)::int as s from node_copied')).rows[0], { n: 30000, s: 449985000 })
  let bytes = 0
  for await (const chunk of c.query(copy.to('copy node_copied to stdout'))) bytes += chunk.length
  assert.equal(bytes, range(30000).reduce((s, n) => s + `${n}\tline ${n}\n`.length, 0))
  await assert.rejects(pipeline(Readable.from(['not a number\tx\n']), c.query(copy.from('copy node_copied from stdin'))), code('22P02'))
  assert.equal(await value(c, 'select count(*)::int from node_copied'), 30000)
  await c.query('drop table node_copied')
}))

check('cancel', () => connected(async (c, other) => {
  for (let turn = 0; turn < 3; turn++) {
    const query = new pg.Query('select pg_sleep(20)')
    const ended = new Promise((resolve, reject) => { query.on('error', resolve); query.on('end', () => reject(new Error('not cancelled'))) })
    c.query(query)
    await sleep(200)
    // node-postgres cancels by a second client that borrows the first one's key.
    new pg.Client(where).cancel(c, query)
    code('57014')(await ended)
    for (const n of range(20)) assert.deepEqual([await value(c, 'select $1::int', [n]), await value(other, 'select 2')], [n, 2])
  }
  await assert.rejects(connected({ statement_timeout: 200 }, (timed) => timed.query('select pg_sleep(20)')), code('57014'))
}))

check('notices', () => connected(async (c) => {
  const heard = []
  c.on('notice', (notice) => heard.push(notice.message))
  await c.query("do $$ begin for i in 1..20 loop raise notice 'number %', i; end loop; end $$")
  assert.deepEqual(heard, range(20).map((n) => `number ${n + 1}`))
}))

check('LISTEN and NOTIFY', () => connected(async (a, b) => {
  const heard = []
  const enough = new Promise((resolve) => a.on('notification', (n) => { heard.push(n.payload); if (heard.length === 4) resolve() }))
  await a.query('listen node_channel')
  for (const n of range(3)) await b.query('select pg_notify($1, $2)', ['node_channel', String(n)])
  await a.query("notify node_channel, 'own'")
  await Promise.race([enough, sleep(10000).then(() => { throw new Error(`heard ${heard}`) })])
  assert.deepEqual(heard, ['0', '1', '2', 'own'])
}))

check('errors in transactions, savepoints', () => connected(async (c) => {
  await c.query('drop table if exists node_item; create table node_item (id int primary key)')
  await c.query('begin')
  await c.query('insert into node_item values ($1)', [1])
  await c.query('savepoint s')
  await assert.rejects(c.query('insert into node_item values ($1)', [1]), (e) => e.code === '23505' && e.constraint === 'node_item_pkey')
  await assert.rejects(c.query('select 1'), code('25P02'))
  await c.query('rollback to s')
  await c.query('insert into node_item values ($1)', [2])
  await c.query('commit')
  assert.equal(await value(c, 'select count(*)::int from node_item'), 2)
  await c.query('drop table node_item')
}))

check('a 5 MB parameter, a 20 MB value', () => connected(async (c) => {
  const blob = Buffer.alloc(5 << 20, 'abc\0\xff', 'latin1')
  assert.ok(blob.equals(await value(c, 'select $1::bytea', [blob])))
  assert.equal((await value(c, "select repeat('z', 20000000)")).length, 20000000)
}))

check('settings stay with their session', () => connected({ application_name: 'node a', options: '-c work_mem=5MB' }, {}, async (a, b) => {
  await a.query("set timezone to 'Asia/Tokyo'")
  await b.query("set timezone to 'UTC'")
  for (let turn = 0; turn < 10; turn++) {
    assert.deepEqual(await Promise.all([value(a, 'show timezone'), value(b, 'show timezone')]), ['Asia/Tokyo', 'UTC'])
  }
  assert.deepEqual([await value(a, 'show work_mem'), await value(a, 'show application_name')], ['5MB', 'node a'])
  assert.notEqual(await value(b, 'show work_mem'), '5MB')
  await a.query("begin; set timezone to 'Europe/Rome'; rollback")
  assert.equal(await value(a, 'show timezone'), 'Asia/Tokyo')
}))

check('a pool of 8, 200 transactions that interleave', async () => {
  const pool = new pg.Pool({ ...where, max: 8 })
  try {
    await Promise.all(range(200).map(async (n) => {
      const c = await pool.connect()
      try {
        await c.query('begin')
        await c.query(`set local application_name to 'task ${n}'`)
        assert.equal(await value(c, { name: 'double', text: 'select $1::int * 2', values: [n] }), 2 * n)
        assert.equal(await value(c, 'show application_name'), `task ${n}`)
        if (n % 9 === 0) await assert.rejects(c.query('select 1/0'), code('22012'))
        await c.query(n % 2 ? 'commit' : 'rollback')
      } finally {
        c.release()
      }
    }))
  } finally {
    await pool.end()
  }
})

async function main() {
  let failed = 0
  for (const [name, run] of checks) {
    if (only.length && !only.some((word) => name.includes(word))) continue
    const began = Date.now()
    const seconds = () => `(${((Date.now() - began) / 1000).toFixed(2)} s)`
    let timer
    const limit = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('not over after 60 s')), 60000) })
    try {
      await Promise.race([run(), limit])
      console.log(`ok   ${name} ${seconds()}`)
    } catch (error) {
      failed++
      console.log(`FAIL ${name} ${seconds()}\n       ${String(error.stack).replaceAll('\n', '\n       ')}`)
    } finally {
      clearTimeout(timer)
    }
  }
  process.exit(failed ? 1 : 0)
}
main()
