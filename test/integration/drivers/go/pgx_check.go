// What pgx is known for: the statement cache, batches, pipelines, binary COPY, cancel by context.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

func asServerError(err error) (*pgconn.PgError, bool) {
	var problem *pgconn.PgError
	return problem, errors.As(err, &problem)
}

var modes = []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol}

var checks = []check{
	{"types, in every way to execute", types},
	{"own types: composite, enum", ownTypes},
	{"the statement cache, over many transactions and connections", cached},
	{"a statement cache that overflows", cacheOverflow},
	{"a cached statement after its table changed", ddl},
	{"batch: one pipeline", batch},
	{"batch: an error", batchError},
	{"pipeline by hand: several syncs and a flush", pipeline},
	{"COPY in by the binary protocol, out, and one that fails", copying},
	{"cancel by context", cancelling},
	{"notices", notices},
	{"LISTEN and NOTIFY", listen},
	{"transactions, nested ones, errors", transactions},
	{"cursors: DECLARE and FETCH, rows closed early", cursors},
	{"50,000 rows and a 5 MB parameter", big},
	{"several statements in one simple query", multi},
	{"large objects", largeObjects},
	{"settings stay with their session", settings},
	{"a pool of 8, 200 transactions that interleave", pool},
}

func types(ctx context.Context) {
	now := time.Date(2024, 2, 29, 23, 59, 58, 123456000, time.UTC)
	for _, mode := range modes {
		c := connect(ctx, func(config *pgx.ConnConfig) { config.DefaultQueryExecMode = mode })
		same(value[int32](ctx, c, "select $1::int", 7), int32(7))
		same(value[int64](ctx, c, "select $1::bigint", int64(-1)<<40), int64(-1)<<40)
		same(value[float64](ctx, c, "select $1::float8", 1.5), 1.5)
		same(value[string](ctx, c, "select $1::text", "tëxt 🐘 'x'"), "tëxt 🐘 'x'")
		same(value[[]byte](ctx, c, "select $1::bytea", []byte{0, 1, 255}), []byte{0, 1, 255})
		same(value[time.Time](ctx, c, "select $1::timestamptz", now).Equal(now), true)
		same(value[[]int32](ctx, c, "select $1::int[]", []int32{1, 2, 3}), []int32{1, 2, 3})
		same(value[map[string]any](ctx, c, "select $1::jsonb", `{"a": "b"}`), map[string]any{"a": "b"})
		same(value[*string](ctx, c, "select $1::text", nil), (*string)(nil))
		same(value[pgtype.Numeric](ctx, c, "select 123.5::numeric").Exp, int32(-1))
		must(c.Close(ctx))
	}
}

func ownTypes(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	_, err := c.Exec(ctx, `drop schema if exists pgx_types cascade; create schema pgx_types;
		create type pgx_types.pair as (a int, b text); create type pgx_types.mood as enum ('sad', 'ok')`)
	must(err)
	for _, name := range []string{"pgx_types.pair", "pgx_types.mood"} {
		loaded, err := c.LoadType(ctx, name)
		must(err)
		c.TypeMap().RegisterType(loaded)
	}
	type pair struct {
		A int32
		B string
	}
	same(value[pair](ctx, c, "select $1::pgx_types.pair", pair{1, "x"}), pair{1, "x"})
	same(value[string](ctx, c, "select $1::pgx_types.mood", "ok"), "ok")
	_, err = c.Exec(ctx, "drop schema pgx_types cascade")
	must(err)
}

func cached(ctx context.Context) {
	a, b := connect(ctx), connect(ctx)
	defer a.Close(ctx)
	defer b.Close(ctx)
	_, err := a.Prepare(ctx, "named", "select $1::int + 1")
	must(err)
	_, err = b.Prepare(ctx, "named", "select $1::int * 2")
	must(err)
	for n := int32(0); n < 60; n++ {
		tx, err := a.Begin(ctx)
		must(err)
		same(value[int32](ctx, tx, "named", n), n+1)
		same(value[int32](ctx, tx, "select $1::int + $2::int", n, 5), n+5)
		must(tx.Commit(ctx))
		same(value[int32](ctx, b, "named", n), n*2)
		same(value[int32](ctx, b, "select $1::int + $2::int", n, 6), n+6)
	}
	must(a.Deallocate(ctx, "named"))
	same(value[int32](ctx, b, "named", 4), int32(8))
	_, err = a.PgConn().ExecPrepared(ctx, "named", [][]byte{[]byte("1")}, nil, nil).Close()
	wants(err, "26000")
	same(value[int32](ctx, a, "select 1"), int32(1))
	must(a.DeallocateAll(ctx))
	same(value[int32](ctx, a, "select $1::int + $2::int", 1, 5), int32(6))
	same(value[int32](ctx, b, "named", 5), int32(10))
}

func cacheOverflow(ctx context.Context) {
	c := connect(ctx, func(config *pgx.ConnConfig) { config.StatementCacheCapacity = 4 })
	defer c.Close(ctx)
	for round := 0; round < 3; round++ {
		for n := int32(0); n < 12; n++ {
			same(value[int32](ctx, c, fmt.Sprintf("select %d + $1::int", n), n), 2*n)
		}
	}
}

func ddl(ctx context.Context) {
	c, other := connect(ctx), connect(ctx)
	defer c.Close(ctx)
	defer other.Close(ctx)
	_, err := other.Exec(ctx, "drop table if exists pgx_wide; create table pgx_wide (id int); insert into pgx_wide values (1)")
	must(err)
	for n := 0; n < 3; n++ {
		same(value[int32](ctx, c, "select id from pgx_wide"), int32(1))
	}
	_, err = other.Exec(ctx, "alter table pgx_wide add column more int default 5, alter column id type bigint")
	must(err)
	// The server refuses the stale plan once (0A000) and pgx forgets it; a proxy may also hide that from us.
	var id int64
	if err := c.QueryRow(ctx, "select id from pgx_wide").Scan(&id); err != nil {
		wants(err, "0A000")
		must(c.QueryRow(ctx, "select id from pgx_wide").Scan(&id))
	}
	same(id, int64(1))
	_, err = other.Exec(ctx, "drop table pgx_wide")
	must(err)
}

func batch(ctx context.Context) {
	for _, mode := range modes {
		c := connect(ctx, func(config *pgx.ConnConfig) { config.DefaultQueryExecMode = mode })
		_, err := c.Exec(ctx, "drop table if exists pgx_batch; create table pgx_batch (id int primary key)")
		must(err)
		queue := &pgx.Batch{}
		for n := int32(0); n < 100; n++ {
			queue.Queue("insert into pgx_batch values ($1)", n)
			queue.Queue("select $1::int + count(*)::int from pgx_batch", n)
		}
		results := c.SendBatch(ctx, queue)
		for n := int32(0); n < 100; n++ {
			_, err := results.Exec()
			must(err)
			same(value[int32](ctx, rowOf{results}, ""), 2*n+1)
		}
		must(results.Close())
		same(value[int](ctx, c, "select count(*) from pgx_batch"), 100)
		must(c.Close(ctx))
	}
}

type rowOf struct{ results pgx.BatchResults }

func (r rowOf) QueryRow(context.Context, string, ...any) pgx.Row { return r.results.QueryRow() }

func batchError(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	queue := &pgx.Batch{}
	queue.Queue("insert into pgx_batch values (1000)")
	queue.Queue("insert into pgx_batch values ($1)", 1)
	queue.Queue("insert into pgx_batch values (1001)")
	results := c.SendBatch(ctx, queue)
	_, err := results.Exec()
	must(err)
	_, err = results.Exec()
	wants(err, "23505")
	results.Close()
	same(value[int](ctx, c, "select count(*) from pgx_batch"), 100) // one implicit transaction
	_, err = c.Exec(ctx, "drop table pgx_batch")
	must(err)
}

func pipeline(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	p := c.PgConn().StartPipeline(ctx)
	p.SendPrepare("pgx_plan", "select $1::int + 1", nil)
	p.SendQueryPrepared("pgx_plan", [][]byte{[]byte("1")}, nil, nil)
	c.PgConn().Frontend().Send(&pgproto3.Flush{})
	must(p.Flush())
	must(p.Sync())
	p.SendQueryParams("select 1 / $1::int", [][]byte{[]byte("0")}, nil, nil, nil)
	p.SendQueryParams("select 'skipped'", nil, nil, nil, nil)
	must(p.Sync())
	p.SendQueryPrepared("pgx_plan", [][]byte{[]byte("2")}, nil, nil)
	p.SendDeallocate("pgx_plan")
	must(p.Sync())
	var seen []string
	for {
		found, err := p.GetResults()
		if problem, ok := asServerError(err); ok {
			seen = append(seen, problem.Code)
			continue
		}
		must(err)
		if found == nil {
			break
		}
		switch result := found.(type) {
		case *pgconn.StatementDescription:
			seen = append(seen, "prepared")
		case *pgconn.ResultReader:
			seen = append(seen, string(result.Read().Rows[0][0]))
		case *pgconn.PipelineSync:
			seen = append(seen, "sync")
		case *pgconn.CloseComplete:
			seen = append(seen, "closed")
		}
		if len(seen) >= 8 {
			break
		}
	}
	same(seen, []string{"prepared", "2", "sync", "22012", "sync", "3", "closed", "sync"})
	must(p.Close())
	same(value[int32](ctx, c, "select 1"), int32(1))
}

func copying(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	_, err := c.Exec(ctx, "drop table if exists pgx_copied; create table pgx_copied (id int, name text)")
	must(err)
	next := int32(0)
	count, err := c.CopyFrom(ctx, pgx.Identifier{"pgx_copied"}, []string{"id", "name"}, pgx.CopyFromFunc(func() ([]any, error) {
		if next == 30000 {
			return nil, nil
		}
		next++
		return []any{next, fmt.Sprintf("line %d", next)}, nil
	}))
	must(err)
	same(count, int64(30000))
	var out bytes.Buffer
	tag, err := c.PgConn().CopyTo(ctx, &out, "copy pgx_copied to stdout")
	must(err)
	same(tag.String(), "COPY 30000")
	tag, err = c.PgConn().CopyFrom(ctx, &out, "copy pgx_copied from stdin")
	must(err)
	same(tag.String(), "COPY 30000")
	_, err = c.PgConn().CopyFrom(ctx, bytes.NewReader(bytes.Repeat([]byte("not a number\tx\n"), 200000)), "copy pgx_copied from stdin")
	wants(err, "22P02")
	_, err = c.CopyFrom(ctx, pgx.Identifier{"pgx_copied"}, []string{"id"}, pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("mine") }))
	if err == nil {
		fail("the source's error was lost")
	}
	same(value[int](ctx, c, "select count(*) from pgx_copied"), 60000)
	_, err = c.Exec(ctx, "drop table pgx_copied")
	must(err)
}

func cancelling(ctx context.Context) {
	c, other := connect(ctx), connect(ctx)
	defer other.Close(ctx)
	for turn := 0; turn < 3; turn++ {
		timer := time.AfterFunc(200*time.Millisecond, func() { c.PgConn().CancelRequest(ctx) })
		_, err := c.Exec(ctx, "select pg_sleep(20)")
		wants(err, "57014")
		timer.Stop()
		for n := 0; n < 20; n++ {
			same(value[int](ctx, c, "select 1"), 1)
			same(value[int](ctx, other, "select 2"), 2)
		}
	}
	// pgx closes a connection whose context ran out; the server's work must end with it.
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(short, "select pg_sleep(20) /* pgx left */"); err == nil {
		fail("no error")
	}
	end := time.Now().Add(10 * time.Second)
	for value[int](ctx, other, "select count(*) from pg_stat_activity where query like '%/* pgx left */' and state = 'active' and pid <> pg_backend_pid()") > 0 {
		if time.Now().After(end) {
			fail("the query of a client that left still runs")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func notices(ctx context.Context) {
	var heard []string
	c := connect(ctx, func(config *pgx.ConnConfig) {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { heard = append(heard, n.Message) }
	})
	defer c.Close(ctx)
	_, err := c.Exec(ctx, "do $$ begin for i in 1..20 loop raise notice 'number %', i; end loop; end $$")
	must(err)
	same(len(heard), 20)
	same(heard[19], "number 20")
}
