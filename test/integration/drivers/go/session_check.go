// pgx: what belongs to a session: LISTEN, transactions, cursors, settings, pools.
package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func listen(ctx context.Context) {
	a, b := connect(ctx), connect(ctx)
	defer a.Close(ctx)
	defer b.Close(ctx)
	_, err := a.Exec(ctx, "listen pgx_channel")
	must(err)
	for n := 0; n < 3; n++ {
		_, err = b.Exec(ctx, "select pg_notify('pgx_channel', $1)", fmt.Sprint(n))
		must(err)
	}
	for n := 0; n < 3; n++ {
		heard, err := a.WaitForNotification(ctx)
		must(err)
		same(heard.Payload, fmt.Sprint(n))
	}
	_, err = a.Exec(ctx, "unlisten *")
	must(err)
	_, err = b.Exec(ctx, "notify pgx_channel")
	must(err)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if heard, err := a.WaitForNotification(short); err == nil {
		fail("heard %v", heard)
	}
	same(value[int](ctx, b, "select 1"), 1)
}

func transactions(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	_, err := c.Exec(ctx, "drop table if exists pgx_item; create table pgx_item (id int primary key)")
	must(err)
	must(pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		same(value[string](ctx, tx, "show transaction_isolation"), "serializable")
		_, err := tx.Exec(ctx, "insert into pgx_item values (1)")
		must(err)
		nested := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "insert into pgx_item values ($1)", 1)
			same(wants(err, "23505").ConstraintName, "pgx_item_pkey")
			_, err = inner.Exec(ctx, "select 1")
			wants(err, "25P02")
			return err
		})
		wants(nested, "25P02")
		_, err = tx.Exec(ctx, "insert into pgx_item values (2)")
		return err
	}))
	same(value[int](ctx, c, "select count(*) from pgx_item"), 2)
	tx, err := c.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	must(err)
	_, err = tx.Exec(ctx, "delete from pgx_item")
	wants(err, "25006")
	if err := tx.Commit(ctx); err != pgx.ErrTxCommitRollback {
		fail("commit of a failed transaction: %v", err)
	}
	_, err = c.Exec(ctx, "drop table pgx_item")
	must(err)
}

func cursors(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	tx, err := c.Begin(ctx)
	must(err)
	_, err = tx.Exec(ctx, "declare walker cursor for select generate_series(1, 2345)")
	must(err)
	total := 0
	for {
		rows, err := tx.Query(ctx, "fetch 100 from walker")
		must(err)
		found, err := pgx.CollectRows(rows, pgx.RowTo[int])
		must(err)
		if len(found) == 0 {
			break
		}
		for _, n := range found {
			total += n
		}
	}
	same(total, 2345*2346/2)
	must(tx.Commit(ctx))
	for turn := 0; turn < 3; turn++ {
		rows, err := c.Query(ctx, "select generate_series(1, 100000)")
		must(err)
		same(rows.Next(), true)
		rows.Close()
		same(value[int](ctx, c, "select 1"), 1)
	}
}

func big(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	rows, err := c.Query(ctx, "select n, md5(n::text), repeat('y', 100) from generate_series(1, 50000) n")
	must(err)
	count := int32(0)
	for rows.Next() {
		var n int32
		var hash, filler string
		must(rows.Scan(&n, &hash, &filler))
		count++
		same(n, count)
	}
	must(rows.Err())
	same(count, int32(50000))
	blob := make([]byte, 5<<20)
	for i := range blob {
		blob[i] = byte(i * 7)
	}
	same(value[[]byte](ctx, c, "select $1::bytea", blob), blob)
	same(len(value[string](ctx, c, "select repeat('z', 20000000)")), 20000000)
}

func multi(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	results, err := c.PgConn().Exec(ctx, "select 1; create temp table multi (a int); insert into multi values (1), (2); select * from multi; drop table multi").ReadAll()
	must(err)
	var tags []string
	for _, result := range results {
		tags = append(tags, result.CommandTag.String())
	}
	same(tags, []string{"SELECT 1", "CREATE TABLE", "INSERT 0 2", "SELECT 2", "DROP TABLE"})
	_, err = c.PgConn().Exec(ctx, "select 1; select 1/0; select 2").ReadAll()
	wants(err, "22012")
	must(c.PgConn().Exec(ctx, "").Close())
	must(c.PgConn().Exec(ctx, "begin; select 1").Close())
	same(string(c.PgConn().TxStatus()), "T")
	must(c.PgConn().Exec(ctx, "rollback").Close())
	same(string(c.PgConn().TxStatus()), "I")
}

func largeObjects(ctx context.Context) {
	c := connect(ctx)
	defer c.Close(ctx)
	must(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		objects := tx.LargeObjects()
		id, err := objects.Create(ctx, 0)
		must(err)
		object, err := objects.Open(ctx, id, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
		must(err)
		_, err = object.Write(make([]byte, 100000))
		must(err)
		_, err = object.Seek(0, io.SeekStart)
		must(err)
		found, err := io.ReadAll(object)
		must(err)
		same(len(found), 100000)
		return objects.Unlink(ctx, id)
	}))
}

func settings(ctx context.Context) {
	a := connect(ctx, func(config *pgx.ConnConfig) {
		config.RuntimeParams = map[string]string{"application_name": "pgx a", "work_mem": "5MB"}
	})
	b := connect(ctx)
	defer a.Close(ctx)
	defer b.Close(ctx)
	_, err := a.Exec(ctx, "set timezone to 'Asia/Tokyo'")
	must(err)
	_, err = b.Exec(ctx, "set timezone to 'UTC'")
	must(err)
	for n := 0; n < 10; n++ {
		same(value[string](ctx, a, "show timezone"), "Asia/Tokyo")
		same(value[string](ctx, b, "show timezone"), "UTC")
		same(value[string](ctx, a, "show work_mem"), "5MB")
		same(value[string](ctx, b, "show work_mem") != "5MB", true)
	}
	same(a.PgConn().ParameterStatus("TimeZone"), "Asia/Tokyo")
	same(value[string](ctx, a, "show application_name"), "pgx a")
	_, err = a.Exec(ctx, "begin; set timezone to 'Europe/Rome'; rollback")
	must(err)
	same(value[string](ctx, a, "show timezone"), "Asia/Tokyo")
	same(a.PgConn().ParameterStatus("TimeZone"), "Asia/Tokyo")
}

func pool(ctx context.Context) {
	config, err := pgxpool.ParseConfig(dsn)
	must(err)
	config.MaxConns = 8
	made, err := pgxpool.NewWithConfig(ctx, config)
	must(err)
	defer made.Close()
	var wait sync.WaitGroup
	problems := make(chan string, 200)
	for n := 0; n < 200; n++ {
		wait.Add(1)
		go func(n int) {
			defer wait.Done()
			problem := guarded(func(ctx context.Context) {
				tx, err := made.Begin(ctx)
				must(err)
				defer tx.Rollback(ctx)
				name := fmt.Sprintf("task %d", n)
				_, err = tx.Exec(ctx, "set local application_name to '"+name+"'")
				must(err)
				same(value[int](ctx, tx, "select $1::int * 2", n), 2*n)
				same(value[string](ctx, tx, "show application_name"), name)
				if n%9 == 0 {
					_, err := tx.Exec(ctx, "select 1/0")
					wants(err, "22012")
				} else {
					must(tx.Commit(ctx))
				}
			})
			if problem != "" {
				problems <- fmt.Sprintf("task %d: %s", n, problem)
			}
		}(n)
	}
	wait.Wait()
	select {
	case problem := <-problems:
		fail("%s", problem)
	default:
	}
}
