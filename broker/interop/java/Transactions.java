import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** Transactions, with a group's offsets in them. */
final class Transactions {
    static void transactions() throws Exception {
        String topic = Client.name("transactions"), input = Client.name("transactions-input"), group = Client.name("transactions-group"), id = Client.name("transactions-id");
        Driver.topic(topic, 1, Map.of());
        Driver.topic(input, 1, Map.of());
        Client.sendOnce(Client.numbered(input, 10, 1, System.currentTimeMillis()));
        TopicPartition in = new TopicPartition(input, 0);
        KafkaProducer<byte[], byte[]> p = Client.producer("transactional.id", id);
        p.initTransactions();
        try (KafkaConsumer<byte[], byte[]> reader = Client.consumer(Groups.member(group, "classic")); KafkaConsumer<byte[], byte[]> committed = Client.assigned(topic, 0, 0L, true)) {
            reader.subscribe(List.of(input));
            Client.take(reader, 10);
            Object[][] steps = {{"committed", true, 4L}, {"aborted", false, 9L}, {"committed too", true, 7L}, {"aborted too", false, 0L}};
            for (Object[] step : steps) {
                p.beginTransaction();
                Client.send(p, List.of(Client.one(topic, 0, (String) step[0]), Client.one(topic, 0, (String) step[0])));
                if ((Long) step[2] > 0) p.sendOffsetsToTransaction(Map.of(in, new OffsetAndMetadata((Long) step[2])), reader.groupMetadata());
                if ((Boolean) step[1]) p.commitTransaction();
                else p.abortTransaction();
            }
            Client.expect(committed, "committed", "committed", "committed too", "committed too");
            p.beginTransaction();
            Client.send(p, List.of(Client.one(topic, 0, "open")));
            Client.sendOnce(List.of(Client.one(topic, 0, "behind it")));
            Client.nothing(committed, 1500);
            p.commitTransaction();
            Client.expect(committed, "open", "behind it");
        }
        try (KafkaConsumer<byte[], byte[]> all = Client.assigned(topic, 0, 0L, false); Admin admin = Driver.admin()) {
            Client.expect(all, "committed", "committed", "aborted", "aborted", "committed too", "committed too", "aborted too", "aborted too", "open", "behind it");
            long offset = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(in).offset();
            Driver.check(offset == 7, "the group's offset is %d, the last committed transaction says 7", offset);
        }
        p.beginTransaction();
        Client.send(p, List.of(Client.one(topic, 0, "of the old one")));
        try (KafkaProducer<byte[], byte[]> second = Client.producer("transactional.id", id)) {
            second.initTransactions();
            second.beginTransaction();
            Client.send(second, List.of(Client.one(topic, 0, "of the new one")));
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
        try (KafkaConsumer<byte[], byte[]> last = Client.assigned(topic, 0, 0L, true)) {
            Client.expect(last, "committed", "committed", "committed too", "committed too", "open", "behind it", "of the new one");
        }
    }
}
