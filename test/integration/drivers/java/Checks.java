import java.io.PrintWriter;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** The frame: HOST PORT USER DB [NAME...]; one line a check, exit status 0 when all pass. */
abstract class Checks {
    interface Body {
        void run() throws Exception;
    }

    private String[] arguments;
    private boolean failed;

    abstract void all();

    void run(String[] given) {
        arguments = given;
        if (given.length < 4) {
            System.err.println("HOST PORT USER DB [NAME...]");
            System.exit(2);
        }
        all();
        System.exit(failed ? 1 : 0);
    }

    void check(String name, Body body) {
        if (arguments.length > 4 && Arrays.stream(arguments, 4, arguments.length).noneMatch(name::contains)) {
            return;
        }
        long began = System.nanoTime();
        Throwable problem = null;
        var thread = Executors.newSingleThreadExecutor(work -> {
            var daemon = new Thread(work);
            daemon.setDaemon(true);
            return daemon;
        });
        try {
            thread.submit(() -> {
                body.run();
                return null;
            }).get(60, TimeUnit.SECONDS);
        } catch (ExecutionException wrapped) {
            problem = wrapped.getCause();
        } catch (Exception other) {
            problem = other;
        }
        thread.shutdownNow();
        String seconds = String.format(Locale.ROOT, "(%.2f s)", (System.nanoTime() - began) / 1e9);
        if (problem == null) {
            System.out.println("ok   " + name + " " + seconds);
        } else {
            failed = true;
            var trace = new StringWriter();
            problem.printStackTrace(new PrintWriter(trace, true));
            System.out.println("FAIL " + name + " " + seconds + "\n       " + trace.toString().strip().replace("\n", "\n       "));
        }
    }

    Connection connect(String... options) throws SQLException {
        String url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[3] + "?user=" + arguments[2]
            + "&sslmode=disable&connectTimeout=20&" + String.join("&", options);
        return DriverManager.getConnection(url);
    }

    static void same(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) {
            throw new AssertionError("found " + found + ", wanted " + wanted);
        }
    }

    static void fails(String state, Body body) throws Exception {
        try {
            body.run();
        } catch (SQLException problem) {
            if (!state.equals(problem.getSQLState())) {
                throw problem;
            }
            return;
        }
        throw new AssertionError("no error, wanted " + state);
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static String value(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            row.next();
            return row.getString(1);
        }
    }

    static long number(PreparedStatement query) throws SQLException {
        try (ResultSet row = query.executeQuery()) {
            row.next();
            return row.getLong(1);
        }
    }
}
