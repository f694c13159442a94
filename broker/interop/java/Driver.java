import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.utils.AppInfoParser;

/** What the Java drivers share. What a capability means, and what a driver is given and prints, stands in ../capabilities.txt. */
final class Driver {
    static final String ADDR = System.getenv("INTEROP_ADDR");
    static final String PREFIX = System.getenv("INTEROP_PREFIX");
    private static final PrintStream OUT = System.out; // a tool's output is taken from System.out meanwhile
    private static final List<String> NOTES = new ArrayList<>();
    private static final ExecutorService THREADS = Executors.newCachedThreadPool(r -> {
        Thread t = new Thread(r);
        t.setDaemon(true);
        return t;
    });

    /** What the client or the broker does not have. */
    static final class Skip extends Exception {
        Skip(String why) {
            super(why);
        }
    }

    interface Body {
        void run() throws Exception;
    }

    static void version() {
        OUT.printf("interop\tversion\tinfo\t0\t%s%n", AppInfoParser.getVersion());
    }

    static void note(String text) {
        NOTES.add(text);
    }

    static void capability(String name, Body body) {
        String only = System.getenv("INTEROP_ONLY");
        if (only != null && !only.isEmpty() && !Set.of(only.split(",")).contains(name)) return;
        NOTES.clear();
        long began = System.currentTimeMillis();
        String result = "pass", reason;
        Future<?> running = THREADS.submit((Callable<Void>) () -> {
            body.run();
            return null;
        });
        try {
            running.get(150, TimeUnit.SECONDS);
            reason = String.join("; ", NOTES);
        } catch (TimeoutException e) {
            running.cancel(true);
            result = "fail";
            reason = "hangs: no end after 150 s";
        } catch (ExecutionException | InterruptedException e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            if (cause instanceof Skip) {
                result = "skip";
                reason = cause.getMessage();
            } else {
                cause.printStackTrace();
                result = "fail";
                reason = cause.getClass().getSimpleName() + ": " + cause.getMessage();
            }
        }
        OUT.printf("interop\t%s\t%s\t%d\t%s%n", name, result, System.currentTimeMillis() - began, reason.replaceAll("\\s+", " "));
    }

    static void end() {
        OUT.flush();
        Runtime.getRuntime().halt(0); // whatever a client left running
    }

    static void check(boolean ok, String message, Object... arguments) {
        if (!ok) throw new AssertionError(String.format(message, arguments));
    }

    static void until(String what, Callable<Boolean> ready) throws Exception {
        within(30, what, ready);
    }

    static void within(int seconds, String what, Callable<Boolean> ready) throws Exception {
        Exception last = null;
        for (long end = System.currentTimeMillis() + seconds * 1000L; System.currentTimeMillis() < end; Thread.sleep(50)) {
            try {
                if (ready.call()) return;
                last = null;
            } catch (InterruptedException e) {
                throw e;
            } catch (Exception e) {
                last = e; // counts only when the time is up
            }
        }
        throw new AssertionError("never: " + what + (last == null ? "" : ": " + last));
    }

    static Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", ADDR));
    }

    static void topic(String name, int partitions, Map<String, String> configs) throws Exception {
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
            until("the topic is listed", () -> admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size() == partitions);
        }
    }
}
