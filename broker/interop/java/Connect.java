import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Runs Kafka Connect standalone, with a file source and a file sink, in a process of its own. */
final class Connect {
    public static void main(String[] arguments) {
        Driver.version();
        Driver.capability("file-connectors", Connect::files);
        Driver.capability("debezium", Connect::debezium);
        Driver.end();
    }

    private static Path properties(String name, Map<String, String> values) throws Exception {
        StringBuilder b = new StringBuilder();
        values.forEach((k, v) -> b.append(k).append('=').append(v).append('\n'));
        return Files.writeString(Path.of(name), b);
    }

    private static Path worker(String what) throws Exception {
        Map<String, String> c = new LinkedHashMap<>();
        c.put("bootstrap.servers", Driver.ADDR);
        c.put("key.converter", "org.apache.kafka.connect.storage.StringConverter");
        c.put("value.converter", "org.apache.kafka.connect.storage.StringConverter");
        c.put("offset.storage.file.filename", new File(what + ".offsets").getAbsolutePath());
        c.put("offset.flush.interval.ms", "200");
        c.put("listeners", "http://127.0.0.1:0");
        c.put("plugin.discovery", "service_load"); // a scan of the class path takes long
        c.put("topic.creation.enable", "false");
        c.put("consumer.auto.offset.reset", "earliest");
        return properties(what + "-worker.properties", c);
    }

    private static Path source(String what, Path file, String topic, String... more) throws Exception {
        Map<String, String> c = new LinkedHashMap<>(Map.of("name", what + "-source", "connector.class", "FileStreamSource", "tasks.max", "1", "file", file.toAbsolutePath().toString(), "topic", topic));
        for (int i = 0; i < more.length; i += 2) c.put(more[i], more[i + 1]);
        return properties(what + "-source.properties", c);
    }

    private static Path sink(String what, Path file, String topic) throws Exception {
        return properties(what + "-sink.properties", Map.of("name", what + "-sink", "connector.class", "FileStreamSink", "tasks.max", "1", "file", file.toAbsolutePath().toString(), "topics", topic));
    }

    private static Process start(Path... configs) throws Exception {
        List<String> words = new ArrayList<>(List.of("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"),
            "-cp", System.getProperty("java.class.path"), "org.apache.kafka.connect.cli.ConnectStandalone"));
        for (Path p : configs) words.add(p.toString());
        return new ProcessBuilder(words).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(new File("connect.log"))).start();
    }

    private static void stop(Process p) throws Exception {
        p.destroy();
        if (!p.waitFor(30, TimeUnit.SECONDS)) p.destroyForcibly();
    }

    private static void reads(Process p, Path file, List<String> lines) throws Exception {
        try {
            Driver.within(60, "the sink has all lines", () -> {
                if (!p.isAlive()) throw new IllegalStateException("Connect ended: " + tail());
                return Files.exists(file) && Files.readAllLines(file).equals(lines);
            });
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + "; it has " + (Files.exists(file) ? Files.readAllLines(file).size() : 0) + " of " + lines.size() + "; " + tail());
        }
    }

    private static String tail() throws Exception {
        List<String> all = Files.readAllLines(Path.of("connect.log"));
        return String.join(" ", all.subList(Math.max(0, all.size() - 4), all.size()));
    }

    private static void files() throws Exception {
        String topic = Driver.PREFIX + "-lines";
        Driver.topic(topic, 1, Map.of());
        Path in = Path.of("in.txt"), out = Path.of("out.txt");
        List<String> lines = new ArrayList<>();
        for (int run = 0; run < 2; run++) { // the second goes on from the offsets of the first
            List<String> more = new ArrayList<>();
            for (int i = 0; i < 200; i++) more.add("line " + run + " " + i);
            lines.addAll(more);
            Files.write(in, more, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            Process p = start(worker("files"), source("files", in, topic), sink("files", out, topic));
            try {
                reads(p, out, lines);
                TimeUnit.MILLISECONDS.sleep(500); // the offsets are flushed by every 200 ms
            } finally {
                stop(p);
            }
        }
    }

    private static String envelope(String op, int id, String name) {
        String row = "{\"id\":" + id + ",\"name\":\"" + name + "\"}";
        return "{\"before\":" + (op.equals("d") ? row : "null") + ",\"after\":" + (op.equals("d") ? "null" : row) + ",\"source\":{\"connector\":\"file\",\"table\":\"users\"},\"op\":\"" + op + "\",\"ts_ms\":" + (1_750_000_000_000L + id) + "}";
    }

    /** Envelopes through the source, keyed as Debezium does; on a broker of ours the topic folds them. */
    private static void debezium() throws Exception {
        String topic = Driver.PREFIX + "-users";
        Map<String, String> configs = new HashMap<>();
        for (String c : System.getenv("INTEROP_DEBEZIUM").split(",")) configs.put(c.split("=")[0], c.split("=")[1]);
        Driver.topic(topic, 1, configs);
        List<String> envelopes = new ArrayList<>();
        for (int i = 0; i < 10; i++) envelopes.add(envelope("c", i, "name " + i));
        for (int i = 0; i < 5; i++) envelopes.add(envelope("u", i, "new name " + i));
        envelopes.add(envelope("d", 9, "name 9"));
        Path in = Files.write(Path.of("envelopes.json"), envelopes), out = Path.of("envelopes.out");
        Process p = start(worker("debezium"), source("debezium", in, topic, "transforms", "key", "transforms.key.type", "IdKey"), sink("debezium", out, topic));
        try {
            reads(p, out, envelopes);
        } finally {
            stop(p);
        }
        try (KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", Driver.ADDR), new StringDeserializer(), new StringDeserializer())) {
            TopicPartition at = new TopicPartition(topic, 0);
            c.assign(List.of(at));
            c.seekToBeginning(List.of(at));
            List<String> got = new ArrayList<>();
            for (long end = System.currentTimeMillis() + 20_000; got.size() < envelopes.size() && System.currentTimeMillis() < end; )
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200))) got.add(r.value());
            Driver.check(got.equals(envelopes), "%d of %d envelopes in the topic", got.size(), envelopes.size());
        }
        folded(topic);
    }

    /** What the broker folded them to: the rows after the last change. */
    private static void folded(String topic) throws Exception {
        String keyframe = System.getenv("INTEROP_KEYFRAME");
        if (keyframe == null || keyframe.isEmpty()) return;
        List<String> words = new ArrayList<>(List.of(keyframe, "state", "scan", topic, "--state-url", System.getenv("INTEROP_STATE_URL"), "--format", "jsonl"));
        Process p = new ProcessBuilder(words).redirectErrorStream(true).start();
        String rows = new String(p.getInputStream().readAllBytes());
        Driver.check(p.waitFor() == 0, "state scan: %s", rows);
        Driver.check(rows.lines().count() == 9 && !rows.contains("name 9"), "other rows than 0 to 8: %s", rows);
        for (int i = 0; i < 9; i++) Driver.check(rows.contains((i < 5 ? "new name " : "\\\"name ") + i) || rows.contains((i < 5 ? "new name " : "\"name ") + i), "row %d is not as changed last: %s", i, rows);
        Driver.check(!rows.contains("before"), "rows are envelopes still: %s", rows);
        Driver.note("folded to 9 rows");
    }
}
