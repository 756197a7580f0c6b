import io.lettuce.core.ClientOptions;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.sync.RedisCommands;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.stream.Collectors;

/**
 * Lettuce, each client on a connection of its own: HOST PORT CLIENTS PREFIX REPLICAS, until a line is said or stdin ends.
 * test/support/trouble/redis_ledger.py tells what is counted; the programs of the other drivers do the same.
 */
final class LettuceLedger extends Thread {
    private static final class Account {
        long tried, acknowledged, safe, unknown, aborted;
    }

    private static volatile boolean over;

    private final String name;
    private final int replicas;
    private final StatefulRedisConnection<String, String> connection;
    private final RedisCommands<String, String> redis;
    private final Map<String, Account> keys = new LinkedHashMap<>();
    private final List<String> names;
    private final List<String> errors = new ArrayList<>();
    private int interrupted, reads, readErrors;
    private double slowest;

    LettuceLedger(RedisClient client, String name, int replicas) {
        this.name = name;
        this.replicas = replicas;
        connection = client.connect();
        redis = connection.sync();
        for (int i = 0; i < 4; i++) {
            keys.put(name + ":" + i, new Account());
        }
        names = List.copyOf(keys.keySet());
    }

    private void error(String what, Object problem) {
        if (errors.size() < 50) {
            errors.add(what + ": " + problem);
        }
    }

    private static boolean says(Throwable problem, String text) {
        return String.valueOf(problem.getMessage()).contains(text);
    }

    /** An outcome for each INCR: its value, or why there is none. */
    private List<Object> increment(List<String> wanted) {
        List<Object> outcomes = new ArrayList<>();
        if (wanted.size() == 1) {
            try {
                outcomes.add(redis.incr(wanted.get(0)));
            } catch (RuntimeException problem) {
                outcomes.add(problem);
            }
        } else if (wanted.size() == 2) {
            outcomes.addAll(transaction(wanted));
        } else {
            connection.setAutoFlushCommands(false);
            List<RedisFuture<Long>> sent = wanted.stream().map(connection.async()::incr).collect(Collectors.toList());
            connection.flushCommands();
            connection.setAutoFlushCommands(true);
            for (RedisFuture<Long> future : sent) {
                try {
                    outcomes.add(future.toCompletableFuture().join());
                } catch (CompletionException problem) {
                    outcomes.add(problem.getCause());
                }
            }
        }
        return outcomes;
    }

    /** One command after the other, as this driver's synchronous users do it. */
    private List<?> transaction(List<String> wanted) {
        RuntimeException first = null;
        try {
            redis.multi();
        } catch (RuntimeException problem) {
            return Collections.nCopies(wanted.size(), problem);
        }
        try {
            wanted.forEach(redis::incr);
        } catch (RuntimeException problem) {
            first = problem;
        }
        try {
            TransactionResult result = redis.exec(); // in any case: it ends what MULTI began
            if (!result.wasDiscarded() && first == null) {
                return result.stream().collect(Collectors.toList());
            }
            return Collections.nCopies(wanted.size(), first != null ? first : new IllegalStateException("EXEC was answered nil"));
        } catch (RuntimeException problem) {
            return Collections.nCopies(wanted.size(), problem);
        }
    }

    private void write(int round, String key) {
        List<String> wanted = round % 25 == 24 ? List.of(key, key) : round % 10 == 9 ? names : List.of(key);
        wanted.forEach(one -> keys.get(one).tried++);
        List<Object> outcomes = increment(wanted);
        Map<String, Long> acknowledged = new LinkedHashMap<>();
        boolean broken = false;
        for (int i = 0; i < wanted.size(); i++) {
            Account account = keys.get(wanted.get(i));
            if (outcomes.get(i) instanceof Long) {
                long value = (Long) outcomes.get(i);
                account.acknowledged++;
                if (value <= account.safe) {
                    error("write", wanted.get(i) + " went back to " + value + " from " + account.safe);
                }
                acknowledged.put(wanted.get(i), value);
                continue;
            }
            broken = true;
            Throwable problem = (Throwable) outcomes.get(i);
            if (says(problem, "outcome unknown")) {
                account.unknown++;
            } else if (says(problem, "EXECABORT")) {
                account.aborted++;
            } else {
                error("write", problem);
            }
        }
        if (!acknowledged.isEmpty()) {
            try {
                if (replicas == 0 || redis.waitForReplication(replicas, 1000) >= replicas) {
                    acknowledged.forEach((one, value) -> keys.get(one).safe = Math.max(keys.get(one).safe, value));
                }
            } catch (RuntimeException problem) {
                broken = true;
                if (!says(problem, "outcome unknown")) {
                    error("wait", problem);
                }
            }
        }
        interrupted += broken ? 1 : 0;
    }

    @Override
    public void run() {
        for (int round = 0; !over; round++) {
            String key = names.get(round % 4);
            long began = System.nanoTime();
            int before = errors.size();
            write(round, key);
            try {
                String text = redis.get(key);
                long value = text == null ? 0 : Long.parseLong(text);
                reads++;
                if (value < keys.get(key).safe) {
                    throw new IllegalStateException(key + " went back to " + value + " from " + keys.get(key).safe);
                }
            } catch (RuntimeException problem) {
                readErrors++;
                error("read", problem);
            }
            slowest = Math.max(slowest, (System.nanoTime() - began) / 1e9);
            if (errors.size() > before) {
                try {
                    sleep(100);
                } catch (InterruptedException stop) {
                    return;
                }
            }
        }
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ") + '"';
    }

    private String told() {
        String accounts = keys.entrySet().stream().map(entry -> {
            Account a = entry.getValue();
            return String.format("%s: {\"tried\": %d, \"acknowledged\": %d, \"safe\": %d, \"unknown\": %d, \"aborted\": %d}",
                    quoted(entry.getKey()), a.tried, a.acknowledged, a.safe, a.unknown, a.aborted);
        }).collect(Collectors.joining(", "));
        return String.format(Locale.ROOT, "{\"client\": %s, \"keys\": {%s}, \"interrupted\": %d, \"reads\": %d, \"read_errors\": %d, "
                + "\"errors\": [%s], \"slowest\": %f}", quoted(name), accounts, interrupted, reads, readErrors,
                errors.stream().map(LettuceLedger::quoted).collect(Collectors.joining(", ")), slowest);
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 5) {
            System.err.println("HOST PORT CLIENTS PREFIX REPLICAS");
            System.exit(2);
        }
        RedisClient client = RedisClient.create(RedisURI.builder().withHost(args[0]).withPort(Integer.parseInt(args[1]))
                .withTimeout(Duration.ofSeconds(60)).build());
        // Nothing is sent twice by the driver itself: an INCR that is resent would make the ledger a lie.
        client.setOptions(ClientOptions.builder().autoReconnect(false)
                .disconnectedBehavior(ClientOptions.DisconnectedBehavior.REJECT_COMMANDS).build());
        List<LettuceLedger> all = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(args[2]); i++) {
            all.add(new LettuceLedger(client, args[3] + ":" + i, Integer.parseInt(args[4])));
        }
        System.out.println("ready");
        all.forEach(Thread::start);
        System.in.read();
        over = true;
        for (LettuceLedger one : all) {
            one.join();
        }
        System.out.println("{\"driver\": \"Lettuce\", \"clients\": ["
                + all.stream().map(LettuceLedger::told).collect(Collectors.joining(", ")) + "]}");
        System.exit(0);
    }
}
