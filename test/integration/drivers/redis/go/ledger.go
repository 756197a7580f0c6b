// go-redis, each client on a connection of its own: HOST PORT CLIENTS PREFIX REPLICAS, until a line is said or stdin ends.
// test/support/trouble/redis_ledger.py tells what is counted; the programs of the other drivers do the same.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

type account struct {
	Tried        int64 `json:"tried"`
	Acknowledged int64 `json:"acknowledged"`
	Safe         int64 `json:"safe"`
	Unknown      int64 `json:"unknown"`
	Aborted      int64 `json:"aborted"`
}

type told struct {
	Client      string              `json:"client"`
	Keys        map[string]*account `json:"keys"`
	Interrupted int                 `json:"interrupted"`
	Reads       int                 `json:"reads"`
	ReadErrors  int                 `json:"read_errors"`
	Errors      []string            `json:"errors"`
	Slowest     float64             `json:"slowest"`
}

type client struct {
	told
	names    []string
	replicas int
	redis    *redis.Client
}

var ctx = context.Background()

func newClient(address, name string, replicas int) *client {
	c := &client{told: told{Client: name, Keys: map[string]*account{}, Errors: []string{}}, replicas: replicas}
	for i := 0; i < 4; i++ {
		c.names = append(c.names, fmt.Sprintf("%s:%d", name, i))
		c.Keys[c.names[i]] = &account{}
	}
	// Nothing is sent twice by the driver itself: an INCR that is resent would make the ledger a lie.
	// One connection, because WAIT is about what was written on it.
	c.redis = redis.NewClient(&redis.Options{
		Addr: address, MaxRetries: -1, PoolSize: 1, DialTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	})
	return c
}

func (c *client) failed(what string, problem interface{}) {
	if len(c.Errors) < 50 {
		c.Errors = append(c.Errors, fmt.Sprintf("%s: %v", what, problem))
	}
}

// settle is told of one IntCmd for each INCR.
func (c *client) settle(names []string, replies []*redis.IntCmd) {
	interrupted := false
	acknowledged := map[string]int64{}
	for i, reply := range replies {
		key := c.Keys[names[i]]
		switch value, err := reply.Result(); {
		case err == nil:
			key.Acknowledged++
			if value <= key.Safe {
				c.failed("write", fmt.Sprintf("%s went back to %d from %d", names[i], value, key.Safe))
			}
			acknowledged[names[i]] = value
		case strings.Contains(err.Error(), "outcome unknown"):
			key.Unknown++
			interrupted = true
		case strings.Contains(err.Error(), "EXECABORT"):
			key.Aborted++
			interrupted = true
		default:
			c.failed("write", err)
			interrupted = true
		}
	}
	if len(acknowledged) > 0 {
		confirmed, err := int64(0), error(nil)
		if c.replicas > 0 {
			confirmed, err = c.redis.Wait(ctx, c.replicas, time.Second).Result()
		}
		switch {
		case err == nil && confirmed >= int64(c.replicas):
			for name, value := range acknowledged {
				if value > c.Keys[name].Safe {
					c.Keys[name].Safe = value
				}
			}
		case err != nil:
			interrupted = true
			if !strings.Contains(err.Error(), "outcome unknown") {
				c.failed("wait", err)
			}
		}
	}
	if interrupted {
		c.Interrupted++
	}
}

func (c *client) write(round int, name string) {
	names := []string{name}
	if round%25 == 24 {
		names = []string{name, name}
	} else if round%10 == 9 {
		names = c.names
	}
	for _, one := range names {
		c.Keys[one].Tried++
	}
	var replies []*redis.IntCmd
	batch := func(p redis.Pipeliner) error {
		for _, one := range names {
			replies = append(replies, p.Incr(ctx, one))
		}
		return nil
	}
	var err error
	switch len(names) {
	case 1:
		replies = append(replies, c.redis.Incr(ctx, name))
	case 2:
		// When the transaction fails as a whole its commands need not know.
		if _, err = c.redis.TxPipelined(ctx, batch); err != nil {
			for _, reply := range replies {
				reply.SetErr(err)
			}
		}
	default:
		_, _ = c.redis.Pipelined(ctx, batch) // each reply has its own error
	}
	c.settle(names, replies)
}

func (c *client) run(over *atomic.Bool) {
	for round := 0; !over.Load(); round++ {
		name, began, before := c.names[round%4], time.Now(), len(c.Errors)
		c.write(round, name)
		value, err := c.redis.Get(ctx, name).Int64()
		switch {
		case err == redis.Nil && c.Keys[name].Safe == 0: // it was never written
			c.Reads++
		case err != nil:
			c.ReadErrors++
			c.failed("read", err)
		case value < c.Keys[name].Safe:
			c.ReadErrors++
			c.failed("read", fmt.Sprintf("%s went back to %d from %d", name, value, c.Keys[name].Safe))
		default:
			c.Reads++
		}
		if took := time.Since(began).Seconds(); took > c.Slowest {
			c.Slowest = took
		}
		if len(c.Errors) > before {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "HOST PORT CLIENTS PREFIX REPLICAS")
		os.Exit(2)
	}
	count, _ := strconv.Atoi(os.Args[3])
	replicas, _ := strconv.Atoi(os.Args[5])
	var over atomic.Bool
	var running sync.WaitGroup
	clients := make([]*client, count)
	for i := range clients {
		clients[i] = newClient(os.Args[1]+":"+os.Args[2], fmt.Sprintf("%s:%d", os.Args[4], i), replicas)
		if err := clients[i].redis.Ping(ctx).Err(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println("ready")
	for _, c := range clients {
		running.Add(1)
		go func(c *client) {
			defer running.Done()
			c.run(&over)
		}(c)
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	over.Store(true)
	running.Wait()
	all := []told{}
	for _, c := range clients {
		all = append(all, c.told)
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"driver": "go-redis", "clients": all})
}
