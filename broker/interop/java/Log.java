import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;

/** What goes into a log and comes out. */
final class Log {
    static void produce() throws Exception {
        String topic = Client.name("produce");
        Driver.topic(topic, 3, Map.of());
        try (KafkaProducer<byte[], byte[]> p = Client.producer()) {
            List<RecordMetadata> all = Client.send(p, Client.numbered(topic, 300, 3, System.currentTimeMillis()));
            for (int i = 0; i < 300; i++) Driver.check(all.get(i).offset() == i / 3, "record %d was acknowledged with offset %d", i, all.get(i).offset());
        }
    }

    static void consume() throws Exception {
        String topic = Client.name("consume");
        long from = System.currentTimeMillis() - 3_600_000;
        Driver.topic(topic, 2, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = Client.numbered(topic, 400, 2, from);
        Client.sendOnce(sent);
        TopicPartition first = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> c = Client.consumer()) {
            List<TopicPartition> both = List.of(first, new TopicPartition(topic, 1));
            c.assign(both);
            c.seekToBeginning(both);
            List<ConsumerRecord<byte[], byte[]>> got = Client.take(c, 400);
            Client.inOrder(sent, got);
            for (ConsumerRecord<byte[], byte[]> g : got) Driver.check(g.timestamp() == from + 2 * g.offset() + g.partition(), "offset %d has timestamp %d", g.offset(), g.timestamp());
            Driver.check(c.beginningOffsets(both).get(first) == 0 && c.endOffsets(both).get(first) == 200, "first or last offset");
            for (long[] want : new long[][] {{from, 0}, {from + 200, 100}, {from + 199, 100}})
                Driver.check(c.offsetsForTimes(Map.of(first, want[0])).get(first).offset() == want[1], "offset for timestamp %d", want[0]);
        }
        try (KafkaConsumer<byte[], byte[]> c = Client.assigned(topic, 0, 150L, false)) {
            Driver.check(Client.take(c, 50).get(0).offset() == 150, "the first is not 150");
        }
        try (KafkaConsumer<byte[], byte[]> c = Client.assigned(topic, 1, null, false)) {
            Client.nothing(c, 1500);
            Client.sendOnce(List.of(Client.one(topic, 1, "late")));
            Client.expect(c, "late");
        }
    }

    static void codecs() throws Exception {
        String topic = Client.name("codecs");
        Driver.topic(topic, 1, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int i = 0; i < 50; i++) records.add(new ProducerRecord<>(topic, 0, Client.bytes("k" + i), Client.bytes((codec + " " + i + " ").repeat(100))));
            Client.sendOnce(records, "compression.type", codec);
            sent.addAll(records);
        }
        try (KafkaConsumer<byte[], byte[]> c = Client.assigned(topic, 0, 0L, false)) {
            Client.inOrder(sent, Client.take(c, sent.size()));
        }
        Driver.note("none gzip snappy lz4 zstd");
    }

    private static String shown(Iterable<Header> headers) {
        StringBuilder b = new StringBuilder();
        for (Header h : headers) b.append(h.key()).append('=').append(Arrays.toString(h.value())).append(' ');
        return b.toString();
    }

    static void headers() throws Exception {
        String topic = Client.name("headers");
        Driver.topic(topic, 1, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = List.of(Client.one(topic, 0, "v"), Client.one(topic, 0, "v"), new ProducerRecord<>(topic, 0, null, Client.bytes("no key")),
            new ProducerRecord<>(topic, 0, Client.bytes("no value"), null), new ProducerRecord<>(topic, 0, new byte[0], new byte[0]));
        sent.get(0).headers().add("a", Client.bytes("1")).add("b", new byte[] {0, -1}).add("a", Client.bytes("2"));
        sent.get(1).headers().add("empty", new byte[0]).add("null", null);
        Client.sendOnce(sent);
        try (KafkaConsumer<byte[], byte[]> c = Client.assigned(topic, 0, 0L, false)) {
            List<ConsumerRecord<byte[], byte[]>> got = Client.take(c, sent.size());
            for (int i = 0; i < sent.size(); i++) {
                ProducerRecord<byte[], byte[]> s = sent.get(i);
                ConsumerRecord<byte[], byte[]> g = got.get(i);
                Driver.check(Arrays.equals(s.key(), g.key()) && Arrays.equals(s.value(), g.value()), "record %d: %s=%s came", i, Client.text(g.key()), Client.text(g.value()));
                Driver.check(shown(s.headers()).equals(shown(g.headers())), "record %d: headers %s came, %s were sent", i, shown(g.headers()), shown(s.headers()));
            }
        }
    }

    static void idempotence() throws Exception {
        String topic = Client.name("idempotence");
        Driver.topic(topic, 3, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = Client.numbered(topic, 3000, 3, System.currentTimeMillis());
        Client.sendOnce(sent, "enable.idempotence", "true", "batch.size", "4096");
        try (KafkaConsumer<byte[], byte[]> c = Client.consumer()) {
            c.assign(List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1), new TopicPartition(topic, 2)));
            c.seekToBeginning(c.assignment());
            Client.inOrder(sent, Client.take(c, sent.size()));
        }
    }
}
