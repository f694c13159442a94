import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The admin client. */
final class Administration {
    private static String config(Admin admin, ConfigResource topic, String name) throws Exception {
        return admin.describeConfigs(List.of(topic)).all().get().get(topic).get(name).value();
    }

    private static void alter(Admin admin, ConfigResource topic, String name, String value) throws Exception {
        admin.incrementalAlterConfigs(Map.of(topic, List.of(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)))).all().get();
    }

    static void admin() throws Exception {
        String topic = Client.name("admin"), group = Client.name("admin-group");
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
            Client.sendOnce(Client.numbered(topic, 60, 3, System.currentTimeMillis()));
            TopicPartition second = new TopicPartition(topic, 1);
            admin.deleteRecords(Map.of(second, RecordsToDelete.beforeOffset(5))).all().get();
            Driver.check(admin.listOffsets(Map.of(second, OffsetSpec.earliest())).all().get().get(second).offset() == 5, "earliest is not 5 after deleteRecords");
            try (KafkaConsumer<byte[], byte[]> c = Client.consumer(Groups.member(group, "classic"))) {
                c.subscribe(List.of(topic));
                Client.take(c, 55);
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
}
