import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Drives the Java client: KafkaProducer, KafkaConsumer, Admin. */
final class Client {
    public static void main(String[] arguments) {
        Driver.version();
        Driver.capability("produce", Client::produce);
        Driver.capability("consume", Client::consume);
        Driver.capability("codecs", Client::codecs);
        Driver.capability("headers", Client::headers);
        Driver.capability("groups", () -> groups("groups", "classic"));
        Driver.capability("rebalance", () -> rebalance("rebalance", "classic"));
        Driver.capability("static", Client::staticMember);
        Driver.capability("groups848", () -> {
            groups("groups848", "consumer");
            rebalance("groups848-moves", "consumer");
        });
        Driver.capability("idempotence", Client::idempotence);
        Driver.capability("transactions", Client::transactions);
        Driver.capability("admin", Client::admin);
        Driver.capability("bootstrap", Client::bootstrap);
        Driver.end();
    }

    private static String name(String what) {
        return Driver.PREFIX + "-" + what;
    }

    private static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.ISO_8859_1);
    }

    private static KafkaProducer<byte[], byte[]> producer(String... more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", Driver.ADDR, "acks", "all", "enable.idempotence", "false"));
        for (int i = 0; i < more.length; i += 2) c.put(more[i], more[i + 1]);
        if (c.containsKey("transactional.id")) c.put("enable.idempotence", "true");
        return new KafkaProducer<>(c, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String... more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", Driver.ADDR, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "fetch.max.wait.ms", "100", "metadata.max.age.ms", "2000"));
        for (int i = 0; i < more.length; i += 2) c.put(more[i], more[i + 1]);
        return new KafkaConsumer<>(c, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static KafkaConsumer<byte[], byte[]> assigned(String topic, int partition, Long offset, boolean committed) {
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

    private static List<ProducerRecord<byte[], byte[]>> numbered(String topic, int n, int partitions, long from) {
        List<ProducerRecord<byte[], byte[]>> all = new ArrayList<>();
        for (int i = 0; i < n; i++) all.add(new ProducerRecord<>(topic, i % partitions, from + i, bytes("key-" + i), bytes("value-" + i)));
        return all;
    }

    private static ProducerRecord<byte[], byte[]> one(String topic, int partition, String value) {
        return new ProducerRecord<>(topic, partition, bytes("k"), bytes(value));
    }

    private static List<RecordMetadata> send(KafkaProducer<byte[], byte[]> p, Collection<ProducerRecord<byte[], byte[]>> records) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> r : records) sent.add(p.send(r));
        p.flush();
        List<RecordMetadata> all = new ArrayList<>();
        for (Future<RecordMetadata> f : sent) all.add(f.get());
        return all;
    }

    private static void sendOnce(Collection<ProducerRecord<byte[], byte[]>> records, String... more) throws Exception {
        try (KafkaProducer<byte[], byte[]> p = producer(more)) {
            send(p, records);
        }
    }

    private static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> c, int n) {
        List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
        for (long end = System.currentTimeMillis() + 30_000; all.size() < n; ) {
            Driver.check(System.currentTimeMillis() < end, "%d of %d records came within 30 s", all.size(), n);
            c.poll(Duration.ofMillis(200)).forEach(all::add);
        }
        return all;
    }

    private static void nothing(KafkaConsumer<byte[], byte[]> c, long ms) {
        for (long end = System.currentTimeMillis() + ms; System.currentTimeMillis() < end; )
            for (ConsumerRecord<byte[], byte[]> g : c.poll(Duration.ofMillis(200)))
                throw new AssertionError("offset " + g.offset() + " came, where nothing should: " + text(g.value()));
    }

    private static void expect(KafkaConsumer<byte[], byte[]> c, String... values) {
        List<String> got = take(c, values.length).stream().map(g -> text(g.value())).collect(Collectors.toList());
        Driver.check(got.equals(Arrays.asList(values)), "%s came, not %s", got, Arrays.toString(values));
    }

    private static void inOrder(List<ProducerRecord<byte[], byte[]>> sent, List<ConsumerRecord<byte[], byte[]>> got) {
        Map<Integer, List<String>> want = new HashMap<>(), have = new HashMap<>();
        for (ProducerRecord<byte[], byte[]> s : sent) want.computeIfAbsent(s.partition(), p -> new ArrayList<>()).add(text(s.key()) + "=" + text(s.value()));
        for (ConsumerRecord<byte[], byte[]> g : got) have.computeIfAbsent(g.partition(), p -> new ArrayList<>()).add(text(g.key()) + "=" + text(g.value()));
        Driver.check(want.equals(have), "%d records were sent, %d came, and they are not the same", sent.size(), got.size());
    }

    private static void produce() throws Exception {
        String topic = name("produce");
        Driver.topic(topic, 3, Map.of());
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            List<RecordMetadata> all = send(p, numbered(topic, 300, 3, System.currentTimeMillis()));
            for (int i = 0; i < 300; i++) Driver.check(all.get(i).offset() == i / 3, "record %d was acknowledged with offset %d", i, all.get(i).offset());
        }
    }

    private static void consume() throws Exception {
        String topic = name("consume");
        long from = System.currentTimeMillis() - 3_600_000;
        Driver.topic(topic, 2, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = numbered(topic, 400, 2, from);
        sendOnce(sent);
        TopicPartition first = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> c = consumer()) {
            List<TopicPartition> both = List.of(first, new TopicPartition(topic, 1));
            c.assign(both);
            c.seekToBeginning(both);
            List<ConsumerRecord<byte[], byte[]>> got = take(c, 400);
            inOrder(sent, got);
            for (ConsumerRecord<byte[], byte[]> g : got) Driver.check(g.timestamp() == from + 2 * g.offset() + g.partition(), "offset %d has timestamp %d", g.offset(), g.timestamp());
            Driver.check(c.beginningOffsets(both).get(first) == 0 && c.endOffsets(both).get(first) == 200, "first or last offset");
            for (long[] want : new long[][] {{from, 0}, {from + 200, 100}, {from + 199, 100}})
                Driver.check(c.offsetsForTimes(Map.of(first, want[0])).get(first).offset() == want[1], "offset for timestamp %d", want[0]);
        }
        try (KafkaConsumer<byte[], byte[]> c = assigned(topic, 0, 150L, false)) {
            Driver.check(take(c, 50).get(0).offset() == 150, "the first is not 150");
        }
        try (KafkaConsumer<byte[], byte[]> c = assigned(topic, 1, null, false)) {
            nothing(c, 1500);
            sendOnce(List.of(one(topic, 1, "late")));
            expect(c, "late");
        }
    }

    private static void codecs() throws Exception {
        String topic = name("codecs");
        Driver.topic(topic, 1, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int i = 0; i < 50; i++) records.add(new ProducerRecord<>(topic, 0, bytes("k" + i), bytes((codec + " " + i + " ").repeat(100))));
            sendOnce(records, "compression.type", codec);
            sent.addAll(records);
        }
        try (KafkaConsumer<byte[], byte[]> c = assigned(topic, 0, 0L, false)) {
            inOrder(sent, take(c, sent.size()));
        }
        Driver.note("none gzip snappy lz4 zstd");
    }

    private static String shown(Iterable<Header> headers) {
        StringBuilder b = new StringBuilder();
        for (Header h : headers) b.append(h.key()).append('=').append(Arrays.toString(h.value())).append(' ');
        return b.toString();
    }

    private static void headers() throws Exception {
        String topic = name("headers");
        Driver.topic(topic, 1, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = List.of(one(topic, 0, "v"), one(topic, 0, "v"), new ProducerRecord<>(topic, 0, null, bytes("no key")),
            new ProducerRecord<>(topic, 0, bytes("no value"), null), new ProducerRecord<>(topic, 0, new byte[0], new byte[0]));
        sent.get(0).headers().add("a", bytes("1")).add("b", new byte[] {0, -1}).add("a", bytes("2"));
        sent.get(1).headers().add("empty", new byte[0]).add("null", null);
        sendOnce(sent);
        try (KafkaConsumer<byte[], byte[]> c = assigned(topic, 0, 0L, false)) {
            List<ConsumerRecord<byte[], byte[]>> got = take(c, sent.size());
            for (int i = 0; i < sent.size(); i++) {
                ProducerRecord<byte[], byte[]> s = sent.get(i);
                ConsumerRecord<byte[], byte[]> g = got.get(i);
                Driver.check(Arrays.equals(s.key(), g.key()) && Arrays.equals(s.value(), g.value()), "record %d: %s=%s came", i, text(g.key()), text(g.value()));
                Driver.check(shown(s.headers()).equals(shown(g.headers())), "record %d: headers %s came, %s were sent", i, shown(g.headers()), shown(s.headers()));
            }
        }
    }

    private static String[] member(String group, String protocol, String... more) {
        List<String> c = new ArrayList<>(List.of("group.id", group, "group.protocol", protocol, "auto.commit.interval.ms", "500"));
        if (protocol.equals("classic")) c.addAll(List.of("session.timeout.ms", "8000", "heartbeat.interval.ms", "300"));
        c.addAll(List.of(more));
        return c.toArray(String[]::new);
    }

    private static void groups(String what, String protocol) throws Exception {
        String topic = name(what), group = name(what + "-group");
        Driver.topic(topic, 4, Map.of());
        for (int n : new int[] {400, 80}) {
            List<ProducerRecord<byte[], byte[]>> records = numbered(topic, n, 4, System.currentTimeMillis());
            sendOnce(records);
            try (KafkaConsumer<byte[], byte[]> c = consumer(member(group, protocol))) {
                c.subscribe(List.of(topic));
                inOrder(records, take(c, n));
                c.commitSync();
            }
        }
        try (Admin admin = Driver.admin()) {
            Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            for (int p = 0; p < 4; p++) Driver.check(offsets.get(new TopicPartition(topic, p)).offset() == 120, "committed offsets are %s", offsets);
            String type = admin.describeConsumerGroups(List.of(group)).all().get().get(group).type().toString();
            Driver.check(type.equalsIgnoreCase(protocol), "the group's type is %s", type);
        }
    }

    /** Keeps who consumed what: members of one group over four partitions, each polled by a thread of its own. */
    private static final class Board {
        final String topic, group, protocol;
        final Map<String, String> seen = new ConcurrentHashMap<>();
        final Set<String> twice = ConcurrentHashMap.newKeySet();
        final Map<String, Thread> members = new HashMap<>();
        final Set<Thread> leaving = ConcurrentHashMap.newKeySet();
        final KafkaProducer<byte[], byte[]> producer = producer();
        volatile Exception failed;
        int rounds;

        Board(String what, String protocol) throws Exception {
            topic = name(what);
            group = name(what + "-group");
            this.protocol = protocol;
            Driver.topic(topic, 4, Map.of());
        }

        void join(String name, String... more) {
            Thread t = new Thread(() -> {
                try (KafkaConsumer<byte[], byte[]> c = consumer(member(group, protocol, more))) {
                    c.subscribe(List.of(topic));
                    while (!leaving.contains(Thread.currentThread())) {
                        for (ConsumerRecord<byte[], byte[]> g : c.poll(Duration.ofMillis(100)))
                            if (seen.putIfAbsent(text(g.value()), name) != null) twice.add(text(g.value()));
                        c.commitAsync();
                    }
                } catch (Exception e) {
                    failed = e;
                }
            });
            members.put(name, t);
            t.start();
        }

        void leave(String name) throws Exception {
            Thread t = members.remove(name);
            leaving.add(t);
            t.join(15_000);
        }

        int round() throws Exception {
            rounds++;
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int p = 0; p < 4; p++) records.add(one(topic, p, rounds + "-" + p));
            send(producer, records);
            return rounds;
        }

        List<String> who(int round, long ms) throws Exception {
            for (long end = System.currentTimeMillis() + ms; ; Thread.sleep(20)) {
                List<String> who = new ArrayList<>();
                for (int p = 0; p < 4; p++) who.add(seen.getOrDefault(round + "-" + p, ""));
                if (failed != null) throw failed;
                if (!who.contains("") || System.currentTimeMillis() > end) return who;
            }
        }

        List<String> converge(String what, java.util.function.Predicate<List<String>> right) throws Exception {
            List<String> last = new ArrayList<>();
            Driver.within(50, what, () -> {
                last.clear();
                last.addAll(who(round(), 5000));
                return right.test(last);
            });
            return last;
        }

        void complete() throws Exception {
            for (int n = 1; n <= rounds; n++) Driver.check(!who(n, 10_000).contains(""), "round %d of %d was not all consumed", n, rounds);
            if (!twice.isEmpty()) Driver.note(twice.size() + " of " + 4 * rounds + " records came again after a move");
            for (String name : Set.copyOf(members.keySet())) leave(name);
            producer.close();
        }
    }

    private static void rebalance(String what, String protocol) throws Exception {
        Board b = new Board(what, protocol);
        List<String> all = List.of("a", "a", "a", "a");
        b.join("a");
        b.converge("a has all", all::equals);
        b.join("b");
        b.converge("both have some", who -> who.containsAll(List.of("a", "b")));
        b.leave("b");
        b.converge("a has all again", all::equals);
        b.complete();
    }

    private static void staticMember() throws Exception {
        Board b = new Board("static", "classic");
        b.join("a", "group.instance.id", "instance-a");
        b.join("b", "group.instance.id", "instance-b");
        List<String> previous = new ArrayList<>(); // one round may fall into a move
        List<String> before = b.converge("both have some, twice the same", who -> {
            boolean same = previous.equals(who);
            previous.clear();
            previous.addAll(who);
            return same && !who.contains("") && who.containsAll(List.of("a", "b"));
        });
        b.leave("a");
        int away = b.round();
        List<String> who = b.who(away, 2000);
        for (int p = 0; p < 4; p++) Driver.check(before.get(p).equals("b") || who.get(p).isEmpty(), "partition %d went to %s while its static member was away", p, who.get(p));
        b.join("a", "group.instance.id", "instance-a");
        List<String> after = b.who(away, 20_000);
        Driver.check(after.equals(before), "partitions were with %s, and are with %s after a came back", before, after);
        b.complete();
    }

    private static void idempotence() throws Exception {
        String topic = name("idempotence");
        Driver.topic(topic, 3, Map.of());
        List<ProducerRecord<byte[], byte[]>> sent = numbered(topic, 3000, 3, System.currentTimeMillis());
        sendOnce(sent, "enable.idempotence", "true", "batch.size", "4096");
        try (KafkaConsumer<byte[], byte[]> c = consumer()) {
            c.assign(List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1), new TopicPartition(topic, 2)));
            c.seekToBeginning(c.assignment());
            inOrder(sent, take(c, sent.size()));
        }
    }

    private static void transactions() throws Exception {
        String topic = name("transactions"), input = name("transactions-input"), group = name("transactions-group"), id = name("transactions-id");
        Driver.topic(topic, 1, Map.of());
        Driver.topic(input, 1, Map.of());
        sendOnce(numbered(input, 10, 1, System.currentTimeMillis()));
        TopicPartition in = new TopicPartition(input, 0);
        KafkaProducer<byte[], byte[]> p = producer("transactional.id", id);
        p.initTransactions();
        try (KafkaConsumer<byte[], byte[]> reader = consumer(member(group, "classic")); KafkaConsumer<byte[], byte[]> committed = assigned(topic, 0, 0L, true)) {
            reader.subscribe(List.of(input));
            take(reader, 10);
            Object[][] steps = {{"committed", true, 4L}, {"aborted", false, 9L}, {"committed too", true, 7L}, {"aborted too", false, 0L}};
            for (Object[] step : steps) {
                p.beginTransaction();
                send(p, List.of(one(topic, 0, (String) step[0]), one(topic, 0, (String) step[0])));
                if ((Long) step[2] > 0) p.sendOffsetsToTransaction(Map.of(in, new OffsetAndMetadata((Long) step[2])), reader.groupMetadata());
                if ((Boolean) step[1]) p.commitTransaction();
                else p.abortTransaction();
            }
            expect(committed, "committed", "committed", "committed too", "committed too");
            p.beginTransaction();
            send(p, List.of(one(topic, 0, "open")));
            sendOnce(List.of(one(topic, 0, "behind it")));
            nothing(committed, 1500);
            p.commitTransaction();
            expect(committed, "open", "behind it");
        }
        try (KafkaConsumer<byte[], byte[]> all = assigned(topic, 0, 0L, false); Admin admin = Driver.admin()) {
            expect(all, "committed", "committed", "aborted", "aborted", "committed too", "committed too", "aborted too", "aborted too", "open", "behind it");
            long offset = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(in).offset();
            Driver.check(offset == 7, "the group's offset is %d, the last committed transaction says 7", offset);
        }
        p.beginTransaction();
        send(p, List.of(one(topic, 0, "of the old one")));
        try (KafkaProducer<byte[], byte[]> second = producer("transactional.id", id)) {
            second.initTransactions();
            second.beginTransaction();
            send(second, List.of(one(topic, 0, "of the new one")));
            second.commitTransaction();
        }
        boolean fenced = false;
        try {
            p.commitTransaction();
        } catch (KafkaException e) {
            fenced = true;
        }
        Driver.check(fenced, "the fenced producer committed");
        p.close(Duration.ZERO);
        try (KafkaConsumer<byte[], byte[]> last = assigned(topic, 0, 0L, true)) {
            expect(last, "committed", "committed", "committed too", "committed too", "open", "behind it", "of the new one");
        }
    }

    private static String config(Admin admin, ConfigResource topic, String name) throws Exception {
        return admin.describeConfigs(List.of(topic)).all().get().get(topic).get(name).value();
    }

    private static void alter(Admin admin, ConfigResource topic, String name, String value) throws Exception {
        admin.incrementalAlterConfigs(Map.of(topic, List.of(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)))).all().get();
    }

    private static void admin() throws Exception {
        String topic = name("admin"), group = name("admin-group");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Driver.topic(topic, 2, Map.of("retention.ms", "3600000"));
        try (Admin admin = Driver.admin()) {
            Driver.until("retention.ms is told", () -> config(admin, resource, "retention.ms").equals("3600000"));
            alter(admin, resource, "retention.ms", "7200000");
            Driver.until("retention.ms is changed", () -> config(admin, resource, "retention.ms").equals("7200000"));
            boolean refused = false;
            try {
                alter(admin, resource, "cleanup.policy", "nonsense");
            } catch (Exception e) {
                refused = true;
            }
            Driver.check(refused, "cleanup.policy=nonsense was accepted");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
            Driver.until("three partitions are told", () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 3);
            sendOnce(numbered(topic, 60, 3, System.currentTimeMillis()));
            TopicPartition second = new TopicPartition(topic, 1);
            admin.deleteRecords(Map.of(second, RecordsToDelete.beforeOffset(5))).all().get();
            Driver.check(admin.listOffsets(Map.of(second, OffsetSpec.earliest())).all().get().get(second).offset() == 5, "earliest is not 5 after deleteRecords");
            try (KafkaConsumer<byte[], byte[]> c = consumer(member(group, "classic"))) {
                c.subscribe(List.of(topic));
                take(c, 55);
                c.commitSync();
            }
            Driver.check(admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)), "the group is not listed");
            Driver.until("the group is empty", () -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState() == GroupState.EMPTY);
            admin.deleteConsumerGroupOffsets(group, Set.of(second)).all().get();
            Driver.check(!admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().containsKey(second), "the offset is still there");
            admin.deleteConsumerGroups(List.of(group)).all().get();
            Driver.check(admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(group)), "the group is still listed");
            Driver.check(admin.describeCluster().nodes().get().size() == 1, "more than one node");
            Driver.check(!admin.describeFeatures().featureMetadata().get().finalizedFeatures().isEmpty(), "no finalized feature");
            Driver.check(!admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).isEmpty(), "no log dir");
            admin.describeProducers(List.of(second)).all().get();
            admin.listTransactions().all().get();
            admin.listPartitionReassignments().reassignments().get();
            admin.describeClientQuotas(org.apache.kafka.common.quota.ClientQuotaFilter.all()).entities().get();
            admin.deleteTopics(List.of(topic)).all().get();
            Driver.until("the topic is gone", () -> !admin.listTopics().names().get().contains(topic));
        }
    }

    private static void bootstrap() {
        String topic = System.getenv("INTEROP_BOOTSTRAP");
        int fewest = 2501;
        Object[][] cases = {{0L, false}, {0L, true}, {1L, true}, {1500L, true}, {1500L, false}};
        for (Object[] one : cases) {
            try {
                fewest = Math.min(fewest, readCompacted(topic, (Long) one[0], (Boolean) one[1]));
            } catch (AssertionError e) {
                throw new AssertionError("from offset " + one[0] + ", read_committed " + one[1] + ": " + e.getMessage());
            }
        }
        Driver.note(fewest + " of 2501 records were left");
    }

    private static String header(ConsumerRecord<byte[], byte[]> g, String name) {
        return text(g.headers().lastHeader(name).value());
    }

    private static int readCompacted(String topic, long from, boolean committed) {
        Map<String, ConsumerRecord<byte[], byte[]>> state = new HashMap<>();
        int n = 0;
        try (KafkaConsumer<byte[], byte[]> c = assigned(topic, 0, from, committed)) {
            for (long next = from; next < 2501; ) {
                for (ConsumerRecord<byte[], byte[]> g : take(c, 1)) {
                    Driver.check(g.offset() >= next, "offset %d came after %d", g.offset(), next - 1);
                    Driver.check(header(g, "time").equals(Long.toString(g.timestamp())), "offset %d has timestamp %d, and %s in its header", g.offset(), g.timestamp(), header(g, "time"));
                    next = g.offset() + 1;
                    n++;
                    state.put(text(g.key()), g);
                }
            }
        }
        for (int i = 0; i < 600; i++) {
            ConsumerRecord<byte[], byte[]> g = state.get(String.format("key-%04d", i));
            Driver.check(g != null, "nothing of key %d came", i);
            String round = i < 20 ? "4" : i % 10 == 3 ? "deleted" : "3";
            Driver.check(header(g, "round").equals(round), "key %d ends with round %s, not %s (offset %d)", i, header(g, "round"), round, g.offset());
            String value = round.equals("deleted") ? null : "value-" + i + "-" + round + "-" + "x".repeat(2000);
            Driver.check(java.util.Objects.equals(value, text(g.value())), "key %d has another value", i);
        }
        return n;
    }
}
