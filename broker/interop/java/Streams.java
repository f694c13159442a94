import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/**
 * A Kafka Streams application, exactly_once_v2: clicks by user are counted in a KTable and in a windowed store, joined with a GlobalKTable of names,
 * and written out. It is stopped, loses its local state, and is restored from its changelogs.
 */
final class Streams {
    private static final int USERS = 20, CLICKS = 1000;
    private static final long WINDOW = 60_000, BASE = System.currentTimeMillis() / WINDOW * WINDOW - 10 * WINDOW;
    private static final String CLICKS_TOPIC = Driver.PREFIX + "-clicks", NAMES = Driver.PREFIX + "-names", OUT = Driver.PREFIX + "-out", APP = Driver.PREFIX + "-app";
    private static KafkaStreams app;

    public static void main(String[] arguments) {
        Driver.version();
        Driver.capability("ktable", Streams::counts);
        Driver.capability("windowed", Streams::windowed);
        Driver.capability("restore", Streams::restored);
        Driver.end();
    }

    private static KafkaStreams start() {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, APP);
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, Driver.ADDR);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.STATE_DIR_CONFIG, new File("state").getAbsolutePath());
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        p.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 8000); // the stopped application never leaves its group
        p.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 300);
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.String().getClass());
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.String().getClass());
        StreamsBuilder b = new StreamsBuilder();
        GlobalKTable<String, String> names = b.globalTable(NAMES, Materialized.as("names"));
        KStream<String, String> clicks = b.stream(CLICKS_TOPIC, Consumed.with(Serdes.String(), Serdes.String()));
        KTable<String, Long> counts = clicks.groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.<String, Long, org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes, byte[]>>as("counts").withCachingDisabled());
        clicks.groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(WINDOW), Duration.ofDays(1)))
            .count(Materialized.<String, Long, org.apache.kafka.streams.state.WindowStore<org.apache.kafka.common.utils.Bytes, byte[]>>as("windows").withRetention(Duration.ofDays(2)));
        counts.toStream().join(names, (user, count) -> user, (count, name) -> name + " " + count).to(OUT, Produced.with(Serdes.String(), Serdes.String()));
        KafkaStreams streams = new KafkaStreams(b.build(), p);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    private static void click(int from, int n) throws Exception {
        try (KafkaProducer<String, String> p = new KafkaProducer<>(Map.of("bootstrap.servers", Driver.ADDR), new StringSerializer(), new StringSerializer())) {
            for (int i = from; i < from + n; i++) p.send(new ProducerRecord<>(CLICKS_TOPIC, null, BASE + i * 500L, "user-" + i % USERS, "click"));
        }
    }

    /** The output of a partition under read_committed: each user's counts rise by one, whatever happened meanwhile. */
    private static void exact(int clicks) throws Exception {
        Map<String, Integer> last = new HashMap<>();
        try (KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", Driver.ADDR, "isolation.level", "read_committed"), new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> both = List.of(new TopicPartition(OUT, 0), new TopicPartition(OUT, 1));
            c.assign(both);
            c.seekToBeginning(both);
            int n = 0;
            for (long end = System.currentTimeMillis() + 60_000; n < clicks; ) {
                Driver.check(System.currentTimeMillis() < end, "%d of %d outputs came; the application is %s", n, clicks, app.state());
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200))) {
                    int count = Integer.parseInt(r.value().replaceAll(".* ", ""));
                    Driver.check(r.value().equals("name of " + r.key() + " " + count), "%s was joined with %s", r.key(), r.value());
                    Driver.check(count == last.getOrDefault(r.key(), 0) + 1, "%s went from %s to %d", r.key(), last.get(r.key()), count);
                    last.put(r.key(), count);
                    n++;
                }
            }
            for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(500))) throw new AssertionError("one too many: " + r.key() + " " + r.value());
        }
        Driver.check(last.size() == USERS && last.values().stream().allMatch(c -> c == clicks / USERS), "the last counts are %s", last);
    }

    private static void counts() throws Exception {
        Driver.topic(CLICKS_TOPIC, 2, Map.of());
        Driver.topic(OUT, 2, Map.of());
        Driver.topic(NAMES, 1, Map.of("cleanup.policy", "compact"));
        try (KafkaProducer<String, String> p = new KafkaProducer<>(Map.of("bootstrap.servers", Driver.ADDR), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < USERS; i++) p.send(new ProducerRecord<>(NAMES, "user-" + i, "name of user-" + i)).get();
        }
        click(0, CLICKS);
        app = start();
        exact(CLICKS);
        Driver.check(stored().size() == USERS, "the KTable has %s", stored());
    }

    private static Map<String, Long> stored() throws Exception {
        Map<String, Long> all = new TreeMap<>();
        Driver.until("the store can be read", () -> {
            all.clear();
            try (KeyValueIterator<String, Long> rows = app.store(StoreQueryParameters.fromNameAndType("counts", QueryableStoreTypes.<String, Long>keyValueStore())).all()) {
                while (rows.hasNext()) {
                    KeyValue<String, Long> row = rows.next();
                    all.put(row.key, row.value);
                }
            }
            return true;
        });
        return all;
    }

    private static Map<String, Long> windows() throws Exception {
        Map<String, Long> all = new TreeMap<>();
        Driver.until("the window store can be read", () -> {
            all.clear();
            try (KeyValueIterator<Windowed<String>, Long> rows = app.store(StoreQueryParameters.fromNameAndType("windows", QueryableStoreTypes.<String, Long>windowStore())).all()) {
                while (rows.hasNext()) {
                    KeyValue<Windowed<String>, Long> row = rows.next();
                    all.put(row.key.key() + "@" + (row.key.window().start() - BASE) / WINDOW, row.value);
                }
            }
            return true;
        });
        return all;
    }

    private static Map<String, Long> expectedWindows(int clicks) {
        Map<String, Long> all = new TreeMap<>();
        for (int i = 0; i < clicks; i++) all.merge("user-" + i % USERS + "@" + i * 500L / WINDOW, 1L, Long::sum);
        return all;
    }

    private static void windowed() throws Exception {
        Driver.until("the windows are counted", () -> windows().equals(expectedWindows(CLICKS)));
        String changelog = APP + "-windows-changelog";
        try (Admin admin = Driver.admin()) {
            ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, changelog);
            String policy = admin.describeConfigs(List.of(r)).all().get().get(r).get("cleanup.policy").value();
            Driver.check(policy.contains("compact") && policy.contains("delete"), "the changelog's cleanup.policy is %s", policy);
        }
    }

    private static void restored() throws Exception {
        Map<String, Long> counts = stored(), windows = windows();
        Driver.check(app.close(Duration.ofSeconds(30)), "the application did not stop within 30 s");
        List<Path> files = new ArrayList<>();
        try (Stream<Path> walk = Files.walk(Path.of("state"))) {
            walk.sorted(Comparator.reverseOrder()).forEach(files::add);
        }
        for (Path f : files) Files.delete(f);
        app = start();
        Driver.within(60, "it runs again", () -> app.state() == KafkaStreams.State.RUNNING);
        Driver.until("the KTable is as before", () -> stored().equals(counts));
        Driver.until("the windows are as before", () -> windows().equals(windows));
        click(CLICKS, CLICKS);
        exact(2 * CLICKS);
        Driver.until("the windows went on", () -> windows().equals(expectedWindows(2 * CLICKS)));
        Driver.check(app.close(Duration.ofSeconds(30)), "the application did not stop within 30 s");
        Driver.note(counts.size() + " counts and " + windows.size() + " windows restored");
    }
}
