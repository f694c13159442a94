import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Drives the Java client: KafkaProducer, KafkaConsumer, Admin. A file for each subject; what they share is here. */
final class Client {
    public static void main(String[] arguments) {
        Driver.version();
        Driver.capability("produce", Log::produce);
        Driver.capability("consume", Log::consume);
        Driver.capability("codecs", Log::codecs);
        Driver.capability("headers", Log::headers);
        Driver.capability("groups", () -> Groups.groups("groups", "classic"));
        Driver.capability("rebalance", () -> Groups.rebalance("rebalance", "classic"));
        Driver.capability("static", Groups::staticMember);
        Driver.capability("groups848", () -> {
            Groups.groups("groups848", "consumer");
            Groups.rebalance("groups848-moves", "consumer");
        });
        Driver.capability("idempotence", Log::idempotence);
        Driver.capability("transactions", Transactions::transactions);
        Driver.capability("admin", Administration::admin);
        Driver.capability("bootstrap", Bootstrap::bootstrap);
        Driver.capability("log-start", () -> Readings.readings("INTEROP_LOG_START"));
        Driver.capability("folds", () -> Readings.readings("INTEROP_FOLDS"));
        Driver.capability("stale", () -> Readings.readings("INTEROP_STALE"));
        Driver.end();
    }

    static String name(String what) {
        return Driver.PREFIX + "-" + what;
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.ISO_8859_1);
    }

    static KafkaProducer<byte[], byte[]> producer(String... more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", Driver.ADDR, "acks", "all", "enable.idempotence", "false"));
        for (int i = 0; i < more.length; i += 2) c.put(more[i], more[i + 1]);
        if (c.containsKey("transactional.id")) c.put("enable.idempotence", "true");
        return new KafkaProducer<>(c, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String... more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", Driver.ADDR, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "fetch.max.wait.ms", "100", "metadata.max.age.ms", "2000"));
        for (int i = 0; i < more.length; i += 2) c.put(more[i], more[i + 1]);
        return new KafkaConsumer<>(c, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static KafkaConsumer<byte[], byte[]> assigned(String topic, int partition, Long offset, boolean committed) {
        KafkaConsumer<byte[], byte[]> c = consumer("isolation.level", committed ? "read_committed" : "read_uncommitted");
        TopicPartition at = new TopicPartition(topic, partition);
        c.assign(List.of(at));
        if (offset == null) {
            c.seekToEnd(List.of(at));
            c.position(at);
        } else {
            c.seek(at, offset);
        }
        return c;
    }

    static List<ProducerRecord<byte[], byte[]>> numbered(String topic, int n, int partitions, long from) {
        List<ProducerRecord<byte[], byte[]>> all = new ArrayList<>();
        for (int i = 0; i < n; i++) all.add(new ProducerRecord<>(topic, i % partitions, from + i, bytes("key-" + i), bytes("value-" + i)));
        return all;
    }

    static ProducerRecord<byte[], byte[]> one(String topic, int partition, String value) {
        return new ProducerRecord<>(topic, partition, bytes("k"), bytes(value));
    }

    static List<RecordMetadata> send(KafkaProducer<byte[], byte[]> p, Collection<ProducerRecord<byte[], byte[]>> records) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> r : records) sent.add(p.send(r));
        p.flush();
        List<RecordMetadata> all = new ArrayList<>();
        for (Future<RecordMetadata> f : sent) all.add(f.get());
        return all;
    }

    static void sendOnce(Collection<ProducerRecord<byte[], byte[]>> records, String... more) throws Exception {
        try (KafkaProducer<byte[], byte[]> p = producer(more)) {
            send(p, records);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> c, int n) {
        List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
        for (long end = System.currentTimeMillis() + 30_000; all.size() < n; ) {
            Driver.check(System.currentTimeMillis() < end, "%d of %d records came within 30 s", all.size(), n);
            c.poll(Duration.ofMillis(200)).forEach(all::add);
        }
        return all;
    }

    static void nothing(KafkaConsumer<byte[], byte[]> c, long ms) {
        for (long end = System.currentTimeMillis() + ms; System.currentTimeMillis() < end; )
            for (ConsumerRecord<byte[], byte[]> g : c.poll(Duration.ofMillis(200)))
                throw new AssertionError("offset " + g.offset() + " came, where nothing should: " + text(g.value()));
    }

    static void expect(KafkaConsumer<byte[], byte[]> c, String... values) {
        List<String> got = take(c, values.length).stream().map(g -> text(g.value())).collect(Collectors.toList());
        Driver.check(got.equals(Arrays.asList(values)), "%s came, not %s", got, Arrays.toString(values));
    }

    static void inOrder(List<ProducerRecord<byte[], byte[]>> sent, List<ConsumerRecord<byte[], byte[]>> got) {
        Map<Integer, List<String>> want = new HashMap<>(), have = new HashMap<>();
        for (ProducerRecord<byte[], byte[]> s : sent) want.computeIfAbsent(s.partition(), p -> new ArrayList<>()).add(text(s.key()) + "=" + text(s.value()));
        for (ConsumerRecord<byte[], byte[]> g : got) have.computeIfAbsent(g.partition(), p -> new ArrayList<>()).add(text(g.key()) + "=" + text(g.value()));
        Driver.check(want.equals(have), "%d records were sent, %d came, and they are not the same", sent.size(), got.size());
    }
}
