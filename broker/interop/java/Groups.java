import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Groups of both protocols, and their members. */
final class Groups {
    static String[] member(String group, String protocol, String... more) {
        List<String> c = new ArrayList<>(List.of("group.id", group, "group.protocol", protocol, "auto.commit.interval.ms", "500"));
        if (protocol.equals("classic")) c.addAll(List.of("session.timeout.ms", "8000", "heartbeat.interval.ms", "300"));
        c.addAll(List.of(more));
        return c.toArray(String[]::new);
    }

    static void groups(String what, String protocol) throws Exception {
        String topic = Client.name(what), group = Client.name(what + "-group");
        Driver.topic(topic, 4, Map.of());
        for (int n : new int[] {400, 80}) {
            List<ProducerRecord<byte[], byte[]>> records = Client.numbered(topic, n, 4, System.currentTimeMillis());
            Client.sendOnce(records);
            try (KafkaConsumer<byte[], byte[]> c = Client.consumer(member(group, protocol))) {
                c.subscribe(List.of(topic));
                Client.inOrder(records, Client.take(c, n));
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
        final KafkaProducer<byte[], byte[]> producer = Client.producer();
        volatile Exception failed;
        int rounds;

        Board(String what, String protocol) throws Exception {
            topic = Client.name(what);
            group = Client.name(what + "-group");
            this.protocol = protocol;
            Driver.topic(topic, 4, Map.of());
        }

        void join(String name, String... more) {
            Thread t = new Thread(() -> {
                try (KafkaConsumer<byte[], byte[]> c = Client.consumer(member(group, protocol, more))) {
                    c.subscribe(List.of(topic));
                    while (!leaving.contains(Thread.currentThread())) {
                        for (ConsumerRecord<byte[], byte[]> g : c.poll(Duration.ofMillis(100)))
                            if (seen.putIfAbsent(Client.text(g.value()), name) != null) twice.add(Client.text(g.value()));
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
            for (int p = 0; p < 4; p++) records.add(Client.one(topic, p, rounds + "-" + p));
            Client.send(producer, records);
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

    static void rebalance(String what, String protocol) throws Exception {
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

    static void staticMember() throws Exception {
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
}
