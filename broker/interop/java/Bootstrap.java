import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** Reads the compacted topic of the runner. */
final class Bootstrap {
    static void bootstrap() {
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
        return Client.text(g.headers().lastHeader(name).value());
    }

    private static int readCompacted(String topic, long from, boolean committed) {
        Map<String, ConsumerRecord<byte[], byte[]>> state = new HashMap<>();
        int n = 0;
        try (KafkaConsumer<byte[], byte[]> c = Client.assigned(topic, 0, from, committed)) {
            for (long next = from; next < 2501; ) {
                for (ConsumerRecord<byte[], byte[]> g : Client.take(c, 1)) {
                    Driver.check(g.offset() >= next, "offset %d came after %d", g.offset(), next - 1);
                    Driver.check(header(g, "time").equals(Long.toString(g.timestamp())), "offset %d has timestamp %d, and %s in its header", g.offset(), g.timestamp(), header(g, "time"));
                    next = g.offset() + 1;
                    n++;
                    state.put(Client.text(g.key()), g);
                }
            }
        }
        for (int i = 0; i < 600; i++) {
            ConsumerRecord<byte[], byte[]> g = state.get(String.format("key-%04d", i));
            Driver.check(g != null, "nothing of key %d came", i);
            String round = i < 20 ? "4" : i % 10 == 3 ? "deleted" : "3";
            Driver.check(header(g, "round").equals(round), "key %d ends with round %s, not %s (offset %d)", i, header(g, "round"), round, g.offset());
            String value = round.equals("deleted") ? null : "value-" + i + "-" + round + "-" + "x".repeat(2000);
            Driver.check(java.util.Objects.equals(value, Client.text(g.value())), "key %d has another value", i);
        }
        return n;
    }
}
