import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;

/** Readings of topics that others wrote; ../capabilities.txt has the form of their files. */
final class Readings {
    private static final long EARLIEST = -2;

    static void readings(String variable) throws Exception {
        String path = System.getenv(variable);
        if (path == null || path.isEmpty()) throw new Driver.Skip("not of this broker");
        for (String line : Files.readAllLines(Path.of(path))) {
            String[] fields = line.split("\t");
            try {
                reading(fields[0], fields[1], fields[2].equals("earliest") ? EARLIEST : Long.parseLong(fields[2]), fields[3]);
            } catch (AssertionError | RuntimeException e) {
                throw new AssertionError(String.join(" ", List.of(fields).subList(0, 3)) + ": " + e, e);
            }
        }
    }

    private static void reading(String kind, String topic, long offset, String want) throws Exception {
        switch (kind) {
            case "earliest":
                TopicPartition at = new TopicPartition(topic, 0);
                try (KafkaConsumer<byte[], byte[]> c = Client.consumer()) {
                    Map<TopicPartition, Long> is = c.beginningOffsets(List.of(at));
                    Driver.check(is.get(at) == offset, "the earliest offset is %s", is);
                }
                break;
            case "read":
                read(topic, offset, want, "earliest");
                break;
            case "out-of-range":
                boolean refused = false;
                try {
                    read(topic, offset, want, "none");
                } catch (OffsetOutOfRangeException e) {
                    refused = true;
                }
                Driver.check(refused, "is served, and is out of range");
                read(topic, offset, want, "earliest");
                break;
            default:
                throw new AssertionError("no kind of reading that is known");
        }
    }

    /** To the end, and compares. */
    private static void read(String topic, long offset, String want, String reset) throws Exception {
        List<String> lines = new ArrayList<>(Files.readAllLines(Path.of(want)));
        TopicPartition at = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> c = Client.consumer("auto.offset.reset", reset)) {
            c.assign(List.of(at));
            if (offset == EARLIEST) c.seekToBeginning(List.of(at));
            else c.seek(at, offset);
            int next = 0;
            while (next < lines.size())
                for (ConsumerRecord<byte[], byte[]> g : Client.take(c, 1)) next = behind(lines, next, shown(g));
        }
    }

    /** The place behind a line that came, of what is wanted from next on. */
    private static int behind(List<String> want, int next, String line) {
        for (; next < want.size(); next++) {
            String w = want.get(next);
            if (w.substring(1).equals(line)) return next + 1;
            Driver.check(w.charAt(0) != '=', "%.120s came, not %.120s", line, w.substring(1));
        }
        throw new AssertionError(String.format("%.120s came behind the end", line));
    }

    private static String shown(ConsumerRecord<byte[], byte[]> g) {
        List<String> headers = new ArrayList<>();
        for (Header h : g.headers()) headers.add(h.key() + "=" + Client.text(h.value()));
        String value = g.value() == null ? "" : Client.text(g.value());
        int size = g.value() == null ? -1 : g.value().length;
        return String.join("\t", "" + g.offset(), "" + g.timestamp(), "" + size, String.join(",", headers), value, Client.text(g.key()));
    }
}
