// The frame of the pgx script: HOST PORT USER DB [NAME...]. One line a check, exit status 0 when all pass.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type check struct {
	name string
	run  func(ctx context.Context)
}

type failure struct{ text string }

var dsn string

func fail(format string, values ...any) {
	panic(failure{fmt.Sprintf(format, values...)})
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func same(found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		fail("found %.300v, wanted %.300v", found, wanted)
	}
}

// wants an error of the server with this SQLSTATE.
func wants(err error, state string) *pgconn.PgError {
	problem, ok := asServerError(err)
	if !ok || problem.Code != state {
		fail("%v, wanted SQLSTATE %s", err, state)
	}
	return problem
}

func connect(ctx context.Context, change ...func(*pgx.ConnConfig)) *pgx.Conn {
	config, err := pgx.ParseConfig(dsn)
	must(err)
	for _, f := range change {
		f(config)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	must(err)
	return conn
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func value[T any](ctx context.Context, q querier, sql string, args ...any) (found T) {
	must(q.QueryRow(ctx, sql, args...).Scan(&found))
	return found
}

func guarded(run func(ctx context.Context)) (problem string) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	defer func() {
		switch caught := recover().(type) {
		case nil:
		case failure:
			problem = caught.text + "\n" + callers()
		default:
			problem = fmt.Sprint(caught) + "\n" + string(debug.Stack())
		}
	}()
	run(ctx)
	return ""
}

// callers names the lines of the checks that led to a failure.
func callers() string {
	var lines []string
	for _, line := range strings.Split(string(debug.Stack()), "\n") {
		if strings.Contains(line, "_check.go:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "HOST PORT USER DB [NAME...]")
		os.Exit(2)
	}
	dsn = fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable connect_timeout=20", os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	failed := false
	for _, c := range checks {
		wanted := len(os.Args) == 5
		for _, word := range os.Args[5:] {
			wanted = wanted || strings.Contains(c.name, word)
		}
		if !wanted {
			continue
		}
		began := time.Now()
		problem := guarded(c.run)
		if problem == "" {
			fmt.Printf("ok   %s (%.2f s)\n", c.name, time.Since(began).Seconds())
		} else {
			failed = true
			fmt.Printf("FAIL %s (%.2f s)\n       %s\n", c.name, time.Since(began).Seconds(), strings.ReplaceAll(problem, "\n", "\n       "))
		}
	}
	if failed {
		os.Exit(1)
	}
}
