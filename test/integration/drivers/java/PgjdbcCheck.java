import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** pgjdbc: server-side prepare after a threshold, fetch size, batches, binary transfer. The frame is in Checks.java. */
public final class PgjdbcCheck extends Checks {
    public static void main(String[] arguments) {
        new PgjdbcCheck().run(arguments);
    }

    @Override
    void all() {
        check("types, text and binary", this::types);
        check("server-side prepared after a threshold, over many transactions", this::prepared);
        check("more statements than the cache holds", this::evicted);
        check("a prepared statement outlives a change of its table", this::ddl);
        check("every query mode", this::queryModes);
        check("fetch size: portals in a transaction", this::fetchSize);
        check("batches, rewritten ones, and one that fails", this::batches);
        check("generated keys, callable statements, returning", this::generatedKeys);
        check("COPY in and out, and one that fails", this::copying);
        check("cancel and query time-out", this::cancelling);
        check("warnings are notices", this::notices);
        check("LISTEN and NOTIFY", this::listen);
        check("transactions, savepoints, autosave", this::transactions);
        check("isolation and read only stay with their session", this::readOnly);
        check("large objects through FunctionCall", this::largeObjects);
        check("50,000 rows and a 5 MB parameter", this::big);
        check("several statements in one string", this::multi);
        check("metadata", this::metadata);
        check("settings stay with their session", this::settings);
        check("ten threads that interleave", this::interleaved);
    }

    private void types() throws Exception {
        var now = OffsetDateTime.of(2024, 2, 29, 23, 59, 58, 123456000, ZoneOffset.UTC);
        try (Connection c = connect("prepareThreshold=-1"); var query = c.prepareStatement(
                "select ?::int, ?::bigint, ?::float8, ?::numeric, ?::text, ?::bytea, ?::bool, ?::timestamptz, ?::uuid, ?::int[], ?::text")) {
            for (int turn = 0; turn < 3; turn++) {
                query.setInt(1, 7);
                query.setLong(2, -(1L << 40));
                query.setDouble(3, 1.5);
                query.setBigDecimal(4, new BigDecimal("123456789012345.678"));
                query.setString(5, "tëxt 'x'");
                query.setBytes(6, new byte[] {0, 1, -1});
                query.setBoolean(7, true);
                query.setObject(8, now);
                query.setObject(9, new UUID(0, 5));
                query.setArray(10, c.createArrayOf("int4", new Integer[] {1, 2, null}));
                query.setNull(11, Types.VARCHAR);
                try (ResultSet row = query.executeQuery()) {
                    row.next();
                    same(row.getInt(1), 7);
                    same(row.getLong(2), -(1L << 40));
                    same(row.getDouble(3), 1.5);
                    same(row.getBigDecimal(4), new BigDecimal("123456789012345.678"));
                    same(row.getString(5), "tëxt 'x'");
                    same(Arrays.toString(row.getBytes(6)), "[0, 1, -1]");
                    same(row.getBoolean(7), true);
                    same(row.getObject(8, OffsetDateTime.class), now);
                    same(row.getObject(9), new UUID(0, 5));
                    Array array = row.getArray(10);
                    same(Arrays.toString((Integer[]) array.getArray()), "[1, 2, null]");
                    same(row.getString(11), null);
                }
            }
        }
    }

    private void prepared() throws Exception {
        try (Connection a = connect("prepareThreshold=3"); Connection b = connect("prepareThreshold=1")) {
            a.setAutoCommit(false);
            try (var plus = a.prepareStatement("select ?::int + 1"); var times = b.prepareStatement("select ?::int * 2")) {
                for (int n = 0; n < 60; n++) {
                    plus.setInt(1, n);
                    times.setInt(1, n);
                    same(number(plus), n + 1L);
                    a.commit();
                    same(number(times), n * 2L);
                }
            }
        }
    }

    private void evicted() throws Exception {
        try (Connection c = connect("prepareThreshold=1", "preparedStatementCacheQueries=4")) {
            for (int turn = 0; turn < 4; turn++) {
                for (int n = 0; n < 12; n++) {
                    try (var query = c.prepareStatement("select " + n + " + ?::int")) {
                        query.setInt(1, n);
                        same(number(query), 2L * n);
                    }
                }
            }
        }
    }

    private void ddl() throws Exception {
        try (Connection c = connect("prepareThreshold=1"); Connection other = connect()) {
            execute(other, "drop table if exists jdbc_wide; create table jdbc_wide (id int); insert into jdbc_wide values (1)");
            try (var query = c.prepareStatement("select * from jdbc_wide")) {
                for (int n = 0; n < 4; n++) {
                    same(number(query), 1L);
                }
                execute(other, "alter table jdbc_wide add column more int default 5");
                same(number(query), 1L);
                same(query.executeQuery().getMetaData().getColumnCount(), 2);
            }
            execute(other, "drop table jdbc_wide");
        }
    }

    private void queryModes() throws Exception {
        for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
            try (Connection c = connect("preferQueryMode=" + mode); var query = c.prepareStatement("select ?::int")) {
                for (int n = 0; n < 10; n++) {
                    query.setInt(1, n);
                    same(number(query), (long) n);
                    same(value(c, "select 'x'"), "x");
                }
            }
        }
    }

    private void fetchSize() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            try (Statement statement = c.createStatement()) {
                statement.setFetchSize(100);
                long total = 0;
                try (ResultSet rows = statement.executeQuery("select generate_series(1, 2345)")) {
                    while (rows.next()) {
                        total += rows.getLong(1);
                        if (rows.getRow() % 500 == 0) {
                            same(value(c, "select 'between'"), "between"); // another statement between two pieces of a portal
                        }
                    }
                }
                same(total, 2345L * 2346 / 2);
                statement.setMaxRows(10);
                same(count(statement.executeQuery("select generate_series(1, 1000)")), 10);
            }
            c.commit();
            c.setAutoCommit(true);
            try (Statement limited = c.createStatement()) {
                limited.setMaxRows(5); // a row limit outside a transaction: PortalSuspended, then Sync
                same(count(limited.executeQuery("select generate_series(1, 1000)")), 5);
            }
            same(value(c, "select 'after'"), "after");
        }
    }

    private void batches() throws Exception {
        for (String rewrite : List.of("false", "true")) {
            try (Connection c = connect("reWriteBatchedInserts=" + rewrite, "prepareThreshold=2")) {
                execute(c, "drop table if exists jdbc_batch; create table jdbc_batch (id int primary key, name text)");
                try (var insert = c.prepareStatement("insert into jdbc_batch values (?, ?)")) {
                    for (int n = 0; n < 3000; n++) {
                        insert.setInt(1, n);
                        insert.setString(2, "name " + n);
                        insert.addBatch();
                    }
                    same(insert.executeBatch().length, 3000);
                    for (int id : new int[] {5000, 5001, 7, 5002}) {
                        insert.setInt(1, id);
                        insert.setString(2, "late");
                        insert.addBatch();
                    }
                    try {
                        insert.executeBatch();
                        throw new AssertionError("no error");
                    } catch (BatchUpdateException problem) {
                        same(problem.getSQLState(), "23505");
                    }
                }
                same(value(c, "select count(*) from jdbc_batch"), "3000");
                execute(c, "drop table jdbc_batch");
            }
        }
    }

    private void generatedKeys() throws Exception {
        try (Connection c = connect()) {
            execute(c, "drop table if exists jdbc_keys; create table jdbc_keys (id serial primary key, name text)");
            try (var insert = c.prepareStatement("insert into jdbc_keys (name) values (?)", Statement.RETURN_GENERATED_KEYS)) {
                for (int n = 1; n <= 10; n++) {
                    insert.setString(1, "x");
                    insert.executeUpdate();
                    try (ResultSet keys = insert.getGeneratedKeys()) {
                        keys.next();
                        same(keys.getInt(1), n);
                    }
                }
            }
            try (CallableStatement call = c.prepareCall("{? = call upper(?)}")) {
                call.registerOutParameter(1, Types.VARCHAR);
                call.setString(2, "loud");
                call.execute();
                same(call.getString(1), "LOUD");
            }
            execute(c, "drop table jdbc_keys");
        }
    }

    private void copying() throws Exception {
        try (Connection c = connect()) {
            execute(c, "drop table if exists jdbc_copied; create table jdbc_copied (id int, name text)");
            CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
            var lines = new StringBuilder();
            for (int n = 0; n < 30000; n++) {
                lines.append(n).append("\tline ").append(n).append('\n');
            }
            same(copies.copyIn("copy jdbc_copied from stdin", new StringReader(lines.toString())), 30000L);
            var out = new StringWriter();
            same(copies.copyOut("copy jdbc_copied to stdout", out), 30000L);
            same(out.toString().contentEquals(lines), true);
            fails("22P02", () -> copies.copyIn("copy jdbc_copied from stdin", new StringReader("no number\tx\n".repeat(100000))));
            var given = copies.copyIn("copy jdbc_copied from stdin");
            given.writeToCopy("1\tx\n".getBytes(), 0, 4);
            given.cancelCopy();
            same(value(c, "select count(*) from jdbc_copied"), "30000");
            execute(c, "drop table jdbc_copied");
        }
    }

    private void cancelling() throws Exception {
        try (Connection c = connect(); Connection other = connect(); Statement statement = c.createStatement()) {
            for (int turn = 0; turn < 3; turn++) {
                var canceller = new Thread(() -> {
                    try {
                        Thread.sleep(200);
                        statement.cancel();
                    } catch (Exception problem) {
                        problem.printStackTrace();
                    }
                });
                canceller.start();
                fails("57014", () -> statement.execute("select pg_sleep(20)"));
                canceller.join();
                for (int n = 0; n < 20; n++) {
                    same(value(c, "select 1"), "1");
                    same(value(other, "select 2"), "2");
                }
            }
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.execute("select pg_sleep(20)"));
            statement.setQueryTimeout(0);
            same(value(c, "select 3"), "3");
        }
    }

    private void notices() throws Exception {
        try (Connection c = connect(); Statement statement = c.createStatement()) {
            statement.execute("do $$ begin for i in 1..20 loop raise notice 'number %', i; end loop; end $$");
            var heard = new ArrayList<String>();
            for (var warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
                heard.add(warning.getMessage());
            }
            same(heard.size(), 20);
            same(heard.get(19), "number 20");
        }
    }

    private void listen() throws Exception {
        try (Connection a = connect(); Connection b = connect()) {
            execute(a, "listen jdbc_channel");
            for (int n = 0; n < 3; n++) {
                execute(b, "notify jdbc_channel, '" + n + "'");
            }
            var heard = new ArrayList<String>();
            long end = System.nanoTime() + 10_000_000_000L;
            while (heard.size() < 3 && System.nanoTime() < end) {
                PGNotification[] some = a.unwrap(PGConnection.class).getNotifications(500);
                for (PGNotification one : some == null ? new PGNotification[0] : some) {
                    heard.add(one.getParameter());
                }
            }
            same(heard, List.of("0", "1", "2"));
        }
    }

    private void transactions() throws Exception {
        try (Connection c = connect("autosave=always"); Connection plain = connect()) {
            execute(c, "drop table if exists jdbc_item; create table jdbc_item (id int primary key)");
            c.setAutoCommit(false);
            execute(c, "insert into jdbc_item values (1)");
            fails("23505", () -> execute(c, "insert into jdbc_item values (1)"));
            execute(c, "insert into jdbc_item values (2)"); // the driver went back to a savepoint of its own
            c.commit();
            plain.setAutoCommit(false);
            execute(plain, "insert into jdbc_item values (3)");
            Savepoint savepoint = plain.setSavepoint("mine");
            fails("22012", () -> execute(plain, "select 1/0"));
            fails("25P02", () -> execute(plain, "select 1"));
            plain.rollback(savepoint);
            execute(plain, "insert into jdbc_item values (4)");
            plain.commit();
            same(value(c, "select string_agg(id::text, ',' order by id) from jdbc_item"), "1,2,3,4");
            c.commit();
            execute(plain, "drop table jdbc_item");
            plain.commit();
        }
    }

    private void readOnly() throws Exception {
        try (Connection a = connect(); Connection b = connect()) {
            a.setReadOnly(true);
            a.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            for (int n = 0; n < 5; n++) {
                a.setAutoCommit(false);
                same(value(a, "show transaction_read_only") + value(a, "show transaction_isolation"), "onserializable");
                a.commit();
                b.setAutoCommit(false);
                same(value(b, "show transaction_read_only") + value(b, "show transaction_isolation"), "offread committed");
                b.commit();
            }
        }
    }

    private void largeObjects() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            LargeObjectManager manager = c.unwrap(PGConnection.class).getLargeObjectAPI();
            long id = manager.createLO();
            try (LargeObject object = manager.open(id)) {
                object.write(new byte[300_000]);
                object.seek(0);
                same(object.read(300_000).length, 300_000);
            }
            manager.delete(id);
            c.commit();
        }
    }

    private void big() throws Exception {
        try (Connection c = connect(); Statement statement = c.createStatement()) {
            same(count(statement.executeQuery("select n, md5(n::text), repeat('y', 100) from generate_series(1, 50000) n")), 50000);
            byte[] blob = new byte[5 << 20];
            Arrays.setAll(new int[blob.length], i -> blob[i] = (byte) (i * 7));
            try (var query = c.prepareStatement("select ?::bytea")) {
                query.setBytes(1, blob);
                ResultSet row = query.executeQuery();
                row.next();
                same(Arrays.equals(row.getBytes(1), blob), true);
            }
        }
    }

    private void multi() throws Exception {
        try (Connection c = connect(); Statement statement = c.createStatement()) {
            same(statement.execute("select 1; create temp table multi (a int); insert into multi values (1), (2); select * from multi; drop table multi"), true);
            var found = new ArrayList<String>();
            while (true) {
                ResultSet rows = statement.getResultSet();
                found.add(rows != null ? "rows " + count(rows) : "count " + statement.getUpdateCount());
                if (!statement.getMoreResults() && statement.getUpdateCount() == -1) {
                    break;
                }
            }
            same(found, List.of("rows 1", "count 0", "count 2", "rows 2", "count 0"));
            fails("22012", () -> statement.execute("select 1; select 1/0; select 2"));
            same(value(c, "select 4"), "4");
        }
    }

    private void metadata() throws Exception {
        try (Connection c = connect()) {
            execute(c, "drop table if exists jdbc_meta; create table jdbc_meta (id int primary key, name varchar(12) not null, at timestamptz)");
            var columns = new ArrayList<String>();
            try (ResultSet rows = c.getMetaData().getColumns(null, null, "jdbc_meta", "%")) {
                while (rows.next()) {
                    columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME") + " " + rows.getString("IS_NULLABLE"));
                }
            }
            same(columns, List.of("id int4 NO", "name varchar NO", "at timestamptz YES"));
            try (var query = c.prepareStatement("select * from jdbc_meta where id = ?")) {
                same(query.getParameterMetaData().getParameterTypeName(1), "int4"); // a Describe of the statement alone
                same(query.getMetaData().getColumnTypeName(2), "varchar");
            }
            execute(c, "drop table jdbc_meta");
        }
    }

    private void settings() throws Exception {
        try (Connection a = connect("ApplicationName=jdbc a", "options=-c%20work_mem=5MB", "currentSchema=pg_temp"); Connection b = connect()) {
            execute(a, "set timezone to 'Asia/Tokyo'");
            execute(b, "set timezone to 'UTC'");
            for (int n = 0; n < 10; n++) {
                same(value(a, "show timezone") + value(b, "show timezone"), "Asia/TokyoUTC");
                same(value(a, "show work_mem") + value(a, "show application_name"), "5MBjdbc a");
                same(value(a, "show search_path"), "pg_temp");
                same(value(b, "show work_mem").equals("5MB"), false);
            }
            a.setClientInfo("ApplicationName", "renamed");
            same(value(a, "show application_name") + value(b, "show application_name"), "renamedPostgreSQL JDBC Driver");
        }
    }

    private void interleaved() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(10);
        try {
            var running = new ArrayList<Future<?>>();
            for (int thread = 0; thread < 10; thread++) {
                int number = thread;
                running.add(threads.submit(() -> {
                    try (Connection c = connect("prepareThreshold=2"); var query = c.prepareStatement("select ?::int * 1000 + ?::int")) {
                        execute(c, "set application_name to 'thread " + number + "'");
                        c.setAutoCommit(false);
                        for (int turn = 0; turn < 30; turn++) {
                            query.setInt(1, number);
                            query.setInt(2, turn);
                            same(number(query), number * 1000L + turn);
                            if (turn % 7 == 0) {
                                fails("22012", () -> execute(c, "select 1/0"));
                                c.rollback();
                            }
                            same(value(c, "show application_name"), "thread " + number);
                            c.commit();
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> one : running) {
                one.get();
            }
        } finally {
            threads.shutdownNow();
        }
    }

    private static int count(ResultSet rows) throws SQLException {
        int found = 0;
        while (rows.next()) {
            found++;
        }
        rows.close();
        return found;
    }
}
